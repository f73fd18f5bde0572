//! Bytes for a client that may not be written yet: from the first reply on that waits for something, in order.
//!
//! A *mark* is a piece of those bytes that waits. What stands behind a mark waits for it, too: a client gets its replies in the
//! order of its requests.

use std::collections::VecDeque;

/// What a mark waits for: marks with the same ticket are told together.
pub type Ticket = u64;

/// A piece that waits; places are counted from the first byte ever kept here.
#[derive(Debug)]
struct Mark {
    /// `None` until its last byte has come.
    ticket: Option<Ticket>,
    start: u64,
    end: u64,
    /// It waits no more, but for what stands in front of it.
    settled: bool,
}

/// Bytes that may not be written yet.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) bytes: Vec<u8>,
    /// The place of the first of them.
    base: u64,
    marks: VecDeque<Mark>,
}

impl Kept {
    /// Makes it empty, in this memory.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            base: 0,
            marks: VecDeque::new(),
        }
    }

    fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// The bytes that are appended next wait, up to [`Kept::close`].
    pub(super) fn open(&mut self) {
        if self.is_open() {
            return;
        }
        let end = self.end();
        self.marks.push_back(Mark {
            ticket: None,
            start: end,
            end,
            settled: false,
        });
    }

    /// Tells whether the newest mark lacks bytes.
    pub(super) fn is_open(&self) -> bool {
        self.marks.back().is_some_and(|mark| mark.ticket.is_none())
    }

    /// Tells whether a mark waits that has all its bytes.
    pub(super) fn waits(&self) -> bool {
        self.marks.front().is_some_and(|mark| mark.ticket.is_some())
    }

    /// The newest mark has all its bytes, and waits for this.
    pub(super) fn close(&mut self, ticket: Ticket) {
        let end = self.end();
        if let Some(mark) = self.marks.back_mut().filter(|mark| mark.ticket.is_none()) {
            mark.ticket = Some(ticket);
            mark.end = end;
        }
    }

    /// The newest mark need not wait.
    pub(super) fn cancel(&mut self) {
        if self.is_open() {
            self.marks.pop_back();
        }
    }

    /// What waits for this ticket waits no more, and gives way to what `replace` makes of it.
    pub(super) fn settle(
        &mut self,
        ticket: Ticket,
        replace: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>,
    ) {
        for at in 0..self.marks.len() {
            let mark = &mut self.marks[at];
            if mark.ticket != Some(ticket) {
                continue;
            }
            mark.settled = true;
            let range = (mark.start - self.base) as usize..(mark.end - self.base) as usize;
            let Some(other) = replace(&self.bytes[range.clone()]) else {
                continue;
            };
            let moved = |place: u64| place - range.len() as u64 + other.len() as u64;
            mark.end = moved(mark.end);
            for later in self.marks.iter_mut().skip(at + 1) {
                (later.start, later.end) = (moved(later.start), moved(later.end));
            }
            self.bytes.splice(range, other);
        }
    }

    /// Hands over what waits for nothing; tells whether nothing is left.
    pub(super) fn let_go(&mut self, into: &mut Vec<u8>) -> bool {
        while self.marks.front().is_some_and(|mark| mark.settled) {
            self.marks.pop_front();
        }
        let free = match self.marks.front() {
            Some(mark) => (mark.start - self.base) as usize,
            None => self.bytes.len(),
        };
        into.extend_from_slice(&self.bytes[..free]);
        self.bytes.drain(..free);
        self.base += free as u64;
        self.bytes.is_empty() && self.marks.is_empty()
    }
}
