//! What is done with a socket that is ready: accept, read, hand over, write.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::turn::{DataPlane, PUBLISH_EVERY};
use crate::downstream::client::Stall;
use crate::error;
use crate::metrics::{CloseCause, DialOutcome, RejectReason, Side};
use crate::outbox::Outbox;
use crate::proxy::CLIENT_OUTPUT_SOFT;
use crate::seam::BoxStream;
use crate::upstream::link::{Awaited, Socket, What};

/// What one read call takes: enough for a deep pipeline, small enough to stay in the processor's cache.
pub(super) const READ_BYTES: usize = 64 * 1024;

/// Reads of one socket in one turn, so that a busy one does not starve the others.
const READS_A_TURN: usize = 4;

/// Connections taken of one listener in one turn.
const ACCEPTS_A_TURN: usize = 64;

/// Requests of a stalled client that are read ahead; the kernel's buffer holds the rest.
const INPUT_BYTES_MAX: usize = 128 * 1024;

impl DataPlane {
    pub(super) fn listener_ready(&mut self, index: u32) {
        for _ in 0..ACCEPTS_A_TURN {
            let Some(door) = self.doors.get_mut(index as usize) else {
                return;
            };
            door.bell.silence();
            let waker = door.waker.clone();
            match door.listener.poll_accept(&mut Context::from_waker(&waker)) {
                Poll::Pending => return,
                Poll::Ready(Ok(stream)) => {
                    door.failed = false;
                    if let Err(stream) = self.proxy.admit(stream) {
                        self.turn_away(stream);
                    }
                }
                Poll::Ready(Err(error)) => {
                    door.retry_at = Some(self.proxy.now + PUBLISH_EVERY);
                    if !std::mem::replace(&mut door.failed, true) {
                        tracing::warn!(listener = door.listener.name(), %error, "cannot accept");
                    }
                    return;
                }
            }
        }
        if let Some(door) = self.doors.get(index as usize) {
            door.bell.ring();
        }
    }

    pub(super) fn turn_away(&mut self, mut stream: BoxStream) {
        self.proxy.counters.clients_rejected[RejectReason::ClientsMax.index()] += 1;

        // A fresh socket has room for one line; if not, there is nobody to tell.
        let cx = &mut Context::from_waker(Waker::noop());
        let _ = Pin::new(&mut stream).poll_write(cx, error::TOO_MANY_CLIENTS);
    }

    pub(super) fn link_ready(&mut self, index: u32) {
        let Some(link) = self.proxy.links.get_mut(index as usize) else {
            return;
        };
        link.bell.silence();
        let waker = link.waker.clone();
        let cx = &mut Context::from_waker(&waker);
        if let Socket::Dialing(establishing) = &mut link.socket {
            match establishing.as_mut().poll(cx) {
                Poll::Pending => return,
                Poll::Ready(Err(error)) => return self.proxy.dial_failed(index, &error),
                Poll::Ready(Ok(established)) => {
                    link.socket = Socket::Up(established.stream);
                    self.proxy.counters.link_dials[DialOutcome::Ok.index()] += 1;
                    self.proxy.greeted(index, established.facts);
                }
            }
        }
        self.read_link(index, cx);
    }

    pub(super) fn read_link(&mut self, index: u32, cx: &mut Context<'_>) {
        for _ in 0..READS_A_TURN {
            let Some(link) = self.proxy.links.get_mut(index as usize) else {
                return;
            };
            // Its owner reads slower than Redis writes: let the kernel, and then Redis, hold the rest.
            if let Some(owner) = link.owner
                && let Some(client) = self.proxy.clients.get(owner.index as usize)
                && is_full(&client.output)
            {
                return;
            }
            if !link.output.is_empty() && !link.dirty {
                link.dirty = true;
                self.proxy.dirty_links.push(index);
            }
            let Socket::Up(stream) = &mut link.socket else {
                return;
            };
            let left = bring_left_over(&mut self.scratch, &mut link.input);
            let read = poll_read(stream, &mut self.scratch[left..], cx);
            let count = match read {
                Poll::Pending => {
                    link.input.extend_from_slice(&self.scratch[..left]);
                    if link.broken {
                        let error = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
                        self.proxy.link_lost(index, &error);
                    }
                    return;
                }
                Poll::Ready(Ok(0)) => {
                    let error = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                    return self.proxy.link_lost(index, &error);
                }
                Poll::Ready(Ok(count)) => count,
                Poll::Ready(Err(error)) => return self.proxy.link_lost(index, &error),
            };
            self.proxy.counters.received_bytes[Side::Upstream.index()] += count as u64;
            let bytes = &self.scratch[..left + count];
            match self.proxy.deliver(index, bytes) {
                Err(error) => return self.proxy.link_lost(index, &error),
                Ok(consumed) => {
                    if let Some(link) = self.proxy.links.get_mut(index as usize) {
                        link.input.extend_from_slice(&bytes[consumed..]);
                    }
                }
            }
        }
        if let Some(link) = self.proxy.links.get(index as usize) {
            link.bell.ring();
        }
    }

    pub(super) fn client_ready(&mut self, index: u32) {
        let Some(client) = self.proxy.clients.get_mut(index as usize) else {
            return;
        };
        client.bell.silence();
        if client.output.writable() > 0 && !client.dirty {
            client.dirty = true;
            self.proxy.dirty_clients.push(index);
        }
        let waker = client.waker.clone();
        let cx = &mut Context::from_waker(&waker);
        for _ in 0..READS_A_TURN {
            let draining = self.proxy.is_draining();
            let client = &mut self.proxy.clients[index as usize];
            if client.eof || client.closing.is_some() || draining {
                return;
            }
            client.unread = client.stall != Stall::None && client.input.len() >= INPUT_BYTES_MAX;
            if client.unread {
                return;
            }
            let left = bring_left_over(&mut self.scratch, &mut client.input);
            let read = poll_read(&mut client.stream, &mut self.scratch[left..], cx);
            let total = match read {
                Poll::Ready(Ok(count)) if count > 0 => left + count,
                other => {
                    client.input.extend_from_slice(&self.scratch[..left]);
                    match other {
                        Poll::Pending => {}
                        Poll::Ready(Ok(_)) => self.client_ended(index),
                        Poll::Ready(Err(_)) => self.proxy.remove_client(index, CloseCause::Client),
                    }
                    return;
                }
            };
            self.proxy.counters.received_bytes[Side::Downstream.index()] += (total - left) as u64;
            let consumed = self.proxy.serve(index, &self.scratch[..total]);
            if consumed < total {
                let input = &mut self.proxy.clients[index as usize].input;
                if input.capacity() == 0 {
                    *input = self.proxy.pool.take();
                }
                input.extend_from_slice(&self.scratch[consumed..total]);
                self.proxy.note_input(index);
            }
        }
        self.proxy.clients[index as usize].bell.ring();
    }

    /// The client will send nothing more; what it has sent is still answered, unless it waits for somebody else.
    pub(super) fn client_ended(&mut self, index: u32) {
        let client = &mut self.proxy.clients[index as usize];
        client.eof = true;
        if client.raw {
            return self.proxy.finish_raw(index);
        }
        if client.stall == Stall::Held {
            return self.proxy.give_up(index);
        }
        if client.blocking || client.stall == Stall::Pinned {
            return self.proxy.remove_client(index, CloseCause::Client);
        }
        // It goes on at the end of this turn: what it has sent is answered first.
        let id = client.id(index);
        if self.proxy.resume.contains(&id) {
            return;
        }
        self.close_if_ended(index);
    }

    pub(super) fn close_if_ended(&mut self, index: u32) {
        let client = &self.proxy.clients[index as usize];
        // The rest of a large request will not come, and nobody takes what a blocking command may bring one day.
        let served = client.inflight == 0 || client.upload.is_some();
        if client.eof && !client.raw && (client.blocking || served && client.stall == Stall::None) {
            self.proxy.close_after_flush(index, CloseCause::Client);
        }
    }

    pub(super) fn flush_links(&mut self) {
        let mut dirty = std::mem::take(&mut self.proxy.dirty_links);
        let mut drained = false;
        for index in dirty.drain(..) {
            if !self.proxy.links.contains(index as usize) {
                continue;
            }
            self.proxy.ask_looks(index);
            let link = &mut self.proxy.links[index as usize];
            link.dirty = false;
            let Socket::Up(stream) = &mut link.socket else {
                continue;
            };
            let cx = &mut Context::from_waker(&link.waker);
            let (count, state) = link.output.poll_flush(stream, cx);
            self.proxy.counters.sent_bytes[Side::Upstream.index()] += count;
            drained |= count > 0;
            let state = match state {
                Poll::Ready(Ok(())) if link.finished => Pin::new(stream).poll_shutdown(cx),
                state => state,
            };
            if let Some(Awaited {
                what: What::Rest, ..
            }) = link.awaited.front()
            {
                // Unread bytes are never sent again.
                link.output.answered(link.output.written());
            }
            if let Poll::Ready(Err(_)) = state {
                // What the server answered before is still to be read; then the reading fails, too.
                link.broken = true;
                link.bell.ring();
            }
        }
        dirty.append(&mut self.proxy.dirty_links);
        self.proxy.dirty_links = dirty;
        if drained {
            self.proxy.uncongest();
        }
    }

    pub(super) fn flush_clients(&mut self) {
        let mut dirty = std::mem::take(&mut self.proxy.dirty_clients);
        for index in dirty.drain(..) {
            let Some(client) = self.proxy.clients.get_mut(index as usize) else {
                continue;
            };
            client.dirty = false;
            let cx = &mut Context::from_waker(&client.waker);
            let (count, state) =
                client
                    .output
                    .poll_flush(&mut client.stream, &mut self.proxy.pool, cx);
            self.proxy.counters.sent_bytes[Side::Downstream.index()] += count;
            match state {
                Poll::Ready(Err(_)) => {
                    self.proxy.remove_client(index, CloseCause::Client);
                    continue;
                }
                Poll::Ready(Ok(())) => {
                    // A drain waits for the server, but not for another client that a blocked one waits for.
                    if let Some(cause) = client.closing
                        && !client.output.waits()
                        && (client.inflight == 0 || client.blocking || cause != CloseCause::Drain)
                    {
                        self.proxy.remove_client(index, cause);
                        continue;
                    }
                }
                Poll::Pending => {}
            }
            // What is not written is not read by the client, or waits for replicas.
            if client.output.len() > self.output_bytes_max {
                tracing::warn!(
                    bytes = client.output.len(),
                    waits = client.output.waits(),
                    "client does not read its replies, closing it"
                );
                self.proxy.remove_client(index, CloseCause::OutputLimit);
                continue;
            }
            if count > 0 && client.output.len() <= CLIENT_OUTPUT_SOFT {
                self.read_on(index);
            }
        }
        dirty.append(&mut self.proxy.dirty_clients);
        self.proxy.dirty_clients = dirty;
    }

    /// A client has read enough: whatever waited for that goes on.
    pub(super) fn read_on(&mut self, index: u32) {
        let client = &mut self.proxy.clients[index as usize];
        if let Some(own) = client.own {
            self.proxy.links[own.index as usize].bell.ring();
        }
        if client.stall == Stall::Output {
            client.stall = Stall::None;
            let id = client.id(index);
            self.proxy.resume.push(id);
        }
    }
}

/// Tells whether nothing more is to be read for a client for the moment; the end of a reply that waits for replicas is, as they are
/// asked about it only then.
fn is_full(output: &Outbox) -> bool {
    let waiting = match output.is_open() {
        true => 0,
        false => output.len(),
    };
    output.writable().max(waiting) > CLIENT_OUTPUT_SOFT
}

/// Puts the unfinished rest of the last read in front of the next one; returns its length.
fn bring_left_over(scratch: &mut Vec<u8>, left: &mut Vec<u8>) -> usize {
    let length = left.len();
    if length > scratch.len() / 2 {
        scratch.resize((length * 2).next_power_of_two(), 0);
    }
    scratch[..length].copy_from_slice(left);
    left.clear();
    length
}

fn poll_read(
    stream: &mut BoxStream,
    into: &mut [u8],
    cx: &mut Context<'_>,
) -> Poll<std::io::Result<usize>> {
    let mut buffer = ReadBuf::new(into);
    match Pin::new(stream).poll_read(cx, &mut buffer) {
        Poll::Ready(Ok(())) => Poll::Ready(Ok(buffer.filled().len())),
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Pending,
    }
}
