//! Bytes that wait to be written to a socket.

mod kept;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use crate::seam::BoxStream;

use self::kept::Kept;
pub use self::kept::Ticket;

/// An emptied buffer up to this size is kept by its owner's pool; a larger one goes back to the allocator.
const KEPT_BYTES_MAX: usize = 128 * 1024;

/// Buffers that a pool keeps.
const KEPT_COUNT_MAX: usize = 256;

/// A queue of bytes towards one socket. Empty, it owns no memory: buffers come from a [`Pool`] and go back to it.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    written: usize,
    /// What may not be written yet; everything that is appended goes there while there is something.
    kept: Option<Box<Kept>>,
}

impl Outbox {
    /// Returns the number of bytes that wait.
    pub fn len(&self) -> usize {
        let kept = self.kept.as_ref().map_or(0, |kept| kept.bytes.len());
        self.writable() + kept
    }

    /// Returns the number of bytes that wait for the socket alone.
    pub fn writable(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Tells whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the buffer to append to, one from the pool if there is none yet.
    #[inline]
    pub fn writer(&mut self, pool: &mut Pool) -> &mut Vec<u8> {
        if let Some(kept) = &mut self.kept {
            return &mut kept.bytes;
        }
        if self.bytes.capacity() == 0 {
            self.bytes = pool.take();
        }
        &mut self.bytes
    }

    /// The bytes that are appended next, up to [`Outbox::keep_until`], may not be written yet, nor what follows them.
    pub fn keep_back(&mut self, pool: &mut Pool) {
        let kept = self.kept.get_or_insert_with(|| {
            let bytes = pool.take();
            Box::new(Kept::new(bytes))
        });
        kept.open();
    }

    /// The bytes appended since [`Outbox::keep_back`] wait until this ticket is settled.
    pub fn keep_until(&mut self, ticket: Ticket) {
        if let Some(kept) = &mut self.kept {
            kept.close(ticket);
        }
    }

    /// The bytes appended since [`Outbox::keep_back`] need not wait.
    pub fn keep_no_more(&mut self, pool: &mut Pool) {
        if let Some(kept) = &mut self.kept {
            kept.cancel();
            self.let_go(pool);
        }
    }

    /// What waits for this ticket may be written now, or what `replace` makes of it, with what follows.
    pub fn settle(
        &mut self,
        ticket: Ticket,
        pool: &mut Pool,
        replace: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>,
    ) {
        if let Some(kept) = &mut self.kept {
            kept.settle(ticket, replace);
            self.let_go(pool);
        }
    }

    fn let_go(&mut self, pool: &mut Pool) {
        let Some(mut kept) = self.kept.take() else {
            return;
        };
        match kept.let_go(self.writer(pool)) {
            true => pool.give(kept.bytes),
            false => self.kept = Some(kept),
        }
    }

    /// Tells whether whole replies wait that may not be written yet.
    pub fn waits(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.waits())
    }

    /// Tells whether the rest of a reply is awaited that may not be written yet.
    pub fn is_open(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.is_open())
    }

    /// Writes what the socket takes; ready when nothing is left that may be written, or when it fails. Returns the bytes written.
    pub fn poll_flush(
        &mut self,
        stream: &mut BoxStream,
        pool: &mut Pool,
        cx: &mut Context<'_>,
    ) -> (u64, Poll<io::Result<()>>) {
        let mut total = 0;
        while self.written < self.bytes.len() {
            match Pin::new(&mut *stream).poll_write(cx, &self.bytes[self.written..]) {
                Poll::Ready(Ok(0)) => {
                    return (total, Poll::Ready(Err(io::ErrorKind::WriteZero.into())));
                }
                Poll::Ready(Ok(count)) => {
                    self.written += count;
                    total += count as u64;
                }
                Poll::Ready(Err(error)) => return (total, Poll::Ready(Err(error))),
                Poll::Pending => {
                    self.compact();
                    return (total, Poll::Pending);
                }
            }
        }
        pool.give(std::mem::take(&mut self.bytes));
        self.written = 0;
        (total, Poll::Ready(Ok(())))
    }

    /// Drops the written part once it is the larger one, so that a slow reader costs no more than what it has not read.
    fn compact(&mut self) {
        if self.written > self.bytes.len() / 2 {
            self.bytes.drain(..self.written);
            self.written = 0;
            if self.bytes.capacity() > 4 * self.bytes.len() + KEPT_BYTES_MAX {
                self.bytes.shrink_to(2 * self.bytes.len());
            }
        }
    }

    /// Gives the memory back without writing.
    pub fn discard(&mut self, pool: &mut Pool) {
        pool.give(std::mem::take(&mut self.bytes));
        self.written = 0;
        if let Some(kept) = self.kept.take() {
            pool.give(kept.bytes);
        }
    }
}

/// Empty buffers for whoever needs one in this turn: idle connections hold none.
#[derive(Debug, Default)]
pub struct Pool {
    buffers: Vec<Vec<u8>>,
}

impl Pool {
    /// Hands out an empty buffer.
    pub fn take(&mut self) -> Vec<u8> {
        self.buffers
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(1024))
    }

    /// Takes a buffer back.
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        if (1..=KEPT_BYTES_MAX).contains(&buffer.capacity()) && self.buffers.len() < KEPT_COUNT_MAX
        {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn what_a_full_socket_does_not_take_waits_in_order() {
        let (near, mut far) = tokio::io::duplex(8);
        let mut stream: BoxStream = Box::new(near);
        let (mut outbox, mut pool) = (Outbox::default(), Pool::default());
        let cx = &mut Context::from_waker(Waker::noop());
        outbox.writer(&mut pool).extend_from_slice(b"0123456789ab");
        let (written, state) = outbox.poll_flush(&mut stream, &mut pool, cx);
        assert_eq!((written, state.is_pending(), outbox.len()), (8, true, 4));
        let mut seen = [0u8; 8];
        let mut buffer = tokio::io::ReadBuf::new(&mut seen);
        let _ = tokio::io::AsyncRead::poll_read(Pin::new(&mut far), cx, &mut buffer);
        assert_eq!(buffer.filled(), b"01234567");
        outbox.writer(&mut pool).extend_from_slice(b"cd");
        let (written, state) = outbox.poll_flush(&mut stream, &mut pool, cx);
        assert_eq!(
            (written, state.is_ready(), outbox.is_empty()),
            (6, true, true)
        );
    }

    /// Appends bytes, as a reply that waits for a ticket where one is given.
    fn append(outbox: &mut Outbox, pool: &mut Pool, bytes: &[u8], ticket: Option<Ticket>) {
        if ticket.is_some() {
            outbox.keep_back(pool);
        }
        outbox.writer(pool).extend_from_slice(bytes);
        if let Some(ticket) = ticket {
            outbox.keep_until(ticket);
        }
    }

    /// Writes what may be written.
    fn written(outbox: &mut Outbox, pool: &mut Pool) -> String {
        let (near, mut far) = tokio::io::duplex(1024);
        let mut stream: BoxStream = Box::new(near);
        let cx = &mut Context::from_waker(Waker::noop());
        let (count, state) = outbox.poll_flush(&mut stream, pool, cx);
        assert!(state.is_ready());
        let mut seen = vec![0; count as usize];
        let mut buffer = tokio::io::ReadBuf::new(&mut seen);
        if count > 0 {
            let _ = tokio::io::AsyncRead::poll_read(Pin::new(&mut far), cx, &mut buffer);
        }
        String::from_utf8(seen).unwrap()
    }

    #[test]
    fn what_waits_keeps_back_what_follows_and_nothing_else() {
        let (mut outbox, mut pool) = (Outbox::default(), Pool::default());
        append(&mut outbox, &mut pool, b"a", None);
        append(&mut outbox, &mut pool, b"B", Some(1));
        append(&mut outbox, &mut pool, b"c", None);
        append(&mut outbox, &mut pool, b"D", Some(2));
        append(&mut outbox, &mut pool, b"e", None);
        assert_eq!(written(&mut outbox, &mut pool), "a");
        assert_eq!(
            (outbox.len(), outbox.writable(), outbox.waits()),
            (4, 0, true)
        );
        // The later one first: it has to wait for its turn.
        outbox.settle(2, &mut pool, &mut |_| None);
        assert_eq!(written(&mut outbox, &mut pool), "");
        outbox.settle(1, &mut pool, &mut |_| None);
        assert_eq!(written(&mut outbox, &mut pool), "BcDe");
        assert!(outbox.is_empty() && !outbox.waits());
        append(&mut outbox, &mut pool, b"f", None);
        assert_eq!(written(&mut outbox, &mut pool), "f");
    }

    #[test]
    fn what_waited_in_vain_gives_way_to_something_else() {
        let (mut outbox, mut pool) = (Outbox::default(), Pool::default());
        for (bytes, ticket) in [
            ("A", Some(1)),
            ("b", None),
            ("C", Some(1)),
            ("D", Some(2)),
            ("e", None),
        ] {
            append(&mut outbox, &mut pool, bytes.as_bytes(), ticket);
        }
        let seen = &mut Vec::new();
        outbox.settle(1, &mut pool, &mut |bytes| {
            seen.push(bytes.to_vec());
            Some(b"<no>".to_vec())
        });
        assert_eq!(*seen, [b"A", b"C"]);
        assert_eq!(written(&mut outbox, &mut pool), "<no>b<no>");
        outbox.settle(2, &mut pool, &mut |bytes| {
            assert_eq!(bytes, b"D");
            Some(Vec::new())
        });
        assert_eq!(written(&mut outbox, &mut pool), "e");
    }

    #[test]
    fn a_reply_that_comes_in_parts_waits_from_its_first_one() {
        let (mut outbox, mut pool) = (Outbox::default(), Pool::default());
        for part in [b"A1", b"A2"] {
            outbox.keep_back(&mut pool);
            outbox.writer(&mut pool).extend_from_slice(part);
            assert!(outbox.is_open() && !outbox.waits());
        }
        outbox.keep_until(7);
        assert!(outbox.waits() && !outbox.is_open());
        // An error, as it turns out: nothing was written.
        outbox.keep_back(&mut pool);
        outbox.writer(&mut pool).extend_from_slice(b"-E");
        outbox.keep_no_more(&mut pool);
        assert_eq!(written(&mut outbox, &mut pool), "");
        outbox.settle(7, &mut pool, &mut |_| None);
        assert_eq!(written(&mut outbox, &mut pool), "A1A2-E");
        outbox.keep_back(&mut pool);
        outbox.keep_no_more(&mut pool);
        assert!(outbox.kept.is_none());
    }
}
