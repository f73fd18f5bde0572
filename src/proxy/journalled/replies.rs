//! The replies to writes, told apart.

use crate::journal::ring::{LOOK_BYTES_MAX, REPLY_BYTES_MAX, SINGLE_REPLY_BYTES_MAX};
use crate::resp::Scanner;
use crate::upstream::link::Write;

/// Replies that have come.
pub(super) struct Replies<'a> {
    /// The place of the first.
    pub(super) next: u64,
    /// The place of the last.
    pub(super) last: u64,
    pub(super) bytes: &'a [u8],
    /// Whether the bytes begin with a reply.
    pub(super) begins: bool,
    /// Whether there may be errors among them.
    pub(super) may_err: bool,
}

impl<'a> Replies<'a> {
    /// Tells whether they are all that a write waits for, and nothing else, and short, and no errors.
    pub(super) fn are_those_to(&self, write: &Write) -> bool {
        let count = u64::from(write.count);
        self.begins
            && write.place == self.next
            && write.place + count == self.last + 1
            && self.bytes.len() <= kept_max(write)
            && !(self.may_err && self.bytes.iter().any(|byte| matches!(byte, b'-' | b'!')))
    }

    /// Returns the reply with this place, and leaves those behind it; nothing is known of one that had begun before.
    pub(super) fn to(&mut self, place: u64) -> &'a [u8] {
        let mut reply = &b""[..];
        while self.begins && self.next <= place {
            let Ok(run) = Scanner::default().run(self.bytes, 1) else {
                break;
            };
            (reply, self.bytes) = self.bytes.split_at(run.consumed);
            self.next += 1;
        }
        reply
    }
}

/// Bytes of the replies to such writes that are kept.
pub(super) fn kept_max(write: &Write) -> usize {
    match (write.is_look, write.count) {
        (true, _) => LOOK_BYTES_MAX,
        (false, 1) => SINGLE_REPLY_BYTES_MAX,
        (false, _) => REPLY_BYTES_MAX,
    }
}
