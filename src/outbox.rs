//! Bytes that wait to be written to a socket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use crate::seam::BoxStream;

/// An emptied buffer up to this size is kept by its owner's pool; a larger one goes back to the allocator.
const KEPT_BYTES_MAX: usize = 128 * 1024;

/// Buffers that a pool keeps.
const KEPT_COUNT_MAX: usize = 256;

/// A queue of bytes towards one socket. Empty, it owns no memory: buffers come from a [`Pool`] and go back to it.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    written: usize,
}

impl Outbox {
    /// Returns the number of bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Tells whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the buffer to append to, one from the pool if there is none yet.
    #[inline]
    pub fn writer(&mut self, pool: &mut Pool) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = pool.take();
        }
        &mut self.bytes
    }

    /// Writes what the socket takes; ready when nothing is left, or when it fails. Returns the bytes written.
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
}
