//! The requests of a link: to be written, and written but not answered yet.
//!
//! What is written stays until it is answered: when the link is lost, it is from here that a request is sent again on
//! another one. Nothing is copied for that; memory is given up later, no more. A link that owes too much keeps only the newest part:
//! what is older can't be sent again.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use crate::outbox::Pool;
use crate::seam::BoxStream;

/// Answered bytes in front are dropped once they are this many, and the larger part: each byte is moved once at most.
const DROPPED_BYTES_MIN: usize = 16 * 1024;

/// An empty buffer that is larger than this part of what may be kept goes back to the allocator: 1 MiB of a shared link, which is
/// what a turn queues on it when 50 clients pipeline; 128 KiB of a pinned one.
const SPARE_PART: usize = 16;

/// Bytes from the first unanswered request on. Places are counted from the link's first byte.
#[derive(Debug)]
pub struct Unanswered {
    bytes: Vec<u8>,
    /// The place of the first byte that is still here.
    base: u64,
    /// The place up to which the socket has taken them.
    written: u64,
    /// Written and unanswered bytes that are kept.
    kept_max: usize,
}

impl Unanswered {
    /// Makes an empty one that keeps so many written bytes.
    pub fn new(kept_max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            base: 0,
            written: 0,
            kept_max,
        }
    }

    /// Returns the number of bytes that wait for the socket.
    #[inline]
    pub fn len(&self) -> usize {
        (self.queued() - self.written) as usize
    }

    /// Tells whether nothing waits for the socket.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of bytes ever queued.
    #[inline]
    pub fn queued(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// Returns the number of bytes ever written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Returns the buffer to append to.
    #[inline]
    pub fn writer(&mut self, pool: &mut Pool) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = pool.take();
        }
        &mut self.bytes
    }

    /// Returns the bytes between two places, if they are all still here.
    pub fn between(&self, start: u64, end: u64) -> Option<&[u8]> {
        let start = usize::try_from(start.checked_sub(self.base)?).ok()?;
        let end = usize::try_from(end.checked_sub(self.base)?).ok()?;
        self.bytes.get(start..end)
    }

    /// Writes what the socket takes; ready when nothing is left, or when it fails. Returns the bytes written.
    pub fn poll_flush(
        &mut self,
        stream: &mut BoxStream,
        cx: &mut Context<'_>,
    ) -> (u64, Poll<io::Result<()>>) {
        let before = self.written;
        let state = loop {
            let from = (self.written - self.base) as usize;
            if from == self.bytes.len() {
                break Poll::Ready(Ok(()));
            }
            match Pin::new(&mut *stream).poll_write(cx, &self.bytes[from..]) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => self.written += count as u64,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        let kept = (self.written - self.base) as usize;
        if kept > self.kept_max {
            self.drop_front(kept - self.kept_max / 2);
        }
        (self.written - before, state)
    }

    /// What stands before this place is answered.
    #[inline]
    pub fn answered(&mut self, place: u64) {
        let done = place.min(self.written).saturating_sub(self.base) as usize;
        if done == self.bytes.len() {
            self.base += done as u64;
            match self.bytes.capacity() > self.kept_max / SPARE_PART {
                true => self.bytes = Vec::new(),
                false => self.bytes.clear(),
            }
        } else if done >= DROPPED_BYTES_MIN && done > self.bytes.len() / 2 {
            self.drop_front(done);
        }
    }

    fn drop_front(&mut self, count: usize) {
        self.bytes.drain(..count);
        self.base += count as u64;
        if self.bytes.capacity() > 4 * self.bytes.len() + self.kept_max / SPARE_PART {
            self.bytes.shrink_to(2 * self.bytes.len());
        }
    }

    /// Gives the memory back.
    pub fn discard(&mut self, pool: &mut Pool) {
        self.base = self.queued();
        pool.give(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, DuplexStream, duplex};

    use super::*;

    fn flush(unanswered: &mut Unanswered, stream: &mut BoxStream) -> (u64, bool) {
        let cx = &mut Context::from_waker(Waker::noop());
        let (count, state) = unanswered.poll_flush(stream, cx);
        (count, state.is_ready())
    }

    fn pipe(bytes: usize) -> (BoxStream, DuplexStream) {
        let (near, far) = duplex(bytes);
        (Box::new(near), far)
    }

    #[tokio::test]
    async fn what_is_written_stays_until_it_is_answered() {
        let (mut stream, mut far) = pipe(8);
        let (mut kept, mut pool) = (Unanswered::new(1000), Pool::default());
        kept.writer(&mut pool).extend_from_slice(b"0123456789ab");
        assert_eq!(flush(&mut kept, &mut stream), (8, false));
        assert_eq!((kept.len(), kept.written(), kept.queued()), (4, 8, 12));
        assert_eq!(kept.between(2, 10), Some(&b"23456789"[..]));
        let mut seen = [0; 8];
        far.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"01234567");
        kept.answered(5);
        assert_eq!(flush(&mut kept, &mut stream), (4, true));
        assert_eq!(kept.between(5, 12), Some(&b"56789ab"[..]));
        kept.answered(12);
        assert_eq!((kept.queued(), kept.between(11, 12)), (12, None));
        kept.writer(&mut pool).extend_from_slice(b"xy");
        assert_eq!(kept.between(12, 14), Some(&b"xy"[..]));
        assert_eq!(kept.between(12, 15), None);
    }

    #[test]
    fn a_link_that_owes_too_much_keeps_the_newest_and_one_that_answers_keeps_little() {
        let (mut stream, _far) = pipe(1 << 20);
        let (mut kept, mut pool) = (Unanswered::new(1000), Pool::default());
        for _ in 0..100 {
            kept.writer(&mut pool).extend_from_slice(&[b'a'; 100]);
            assert!(flush(&mut kept, &mut stream).1);
            assert!(kept.bytes.len() <= 1000);
        }
        assert_eq!(kept.between(0, 100), None);
        assert!(kept.between(9_500, 10_000).is_some());

        let mut kept = Unanswered::new(1 << 20);
        for round in 1..1000 {
            kept.writer(&mut pool).extend_from_slice(&[b'a'; 100]);
            let (mut sink, _far) = pipe(1 << 10);
            assert!(flush(&mut kept, &mut sink).1);
            // One request is always under way.
            kept.answered((round - 1) * 100);
            assert!(kept.bytes.len() <= 2 * DROPPED_BYTES_MIN + 200);
        }
    }
}
