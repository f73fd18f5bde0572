//! What may happen in a world.

use super::server::{GENERAL, TRACKED};

/// What a client does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Op {
    /// Reads on the tracked link, through the cache.
    Read { shape: u8 },
    /// Writes on the tracked link.
    Write,
    /// Deletes on the tracked link.
    Delete,
    /// Reads on a link that is not tracked.
    GeneralRead,
    /// Deletes there.
    GeneralDelete,
    /// Writes there, in a transaction.
    Transaction,
}

impl Op {
    pub(super) fn lane(self) -> usize {
        match self {
            Self::Read { .. } | Self::Write | Self::Delete => TRACKED,
            Self::GeneralRead | Self::GeneralDelete | Self::Transaction => GENERAL,
        }
    }

    pub(super) fn writes(self) -> bool {
        !matches!(self, Self::Read { .. } | Self::GeneralRead)
    }
}

/// What the data path does around the cache; each may be left out.
#[derive(Clone, Debug)]
pub(super) struct Shell {
    /// A request waits while its client has one unanswered on another link.
    pub wait_for_lane: bool,
    /// A client with a request unanswered is not served from the cache.
    pub wait_for_own: bool,
    /// Check and insert are one step.
    pub insert_at_once: bool,
    /// Nothing is kept before the server has agreed to track.
    pub await_tracking: bool,
    /// The fence is checked when PTTL's reply comes, not when the value does.
    pub end_at_ttl: bool,
    /// After a switch nothing of the old links is listened to.
    pub drop_old_answers: bool,
    /// A transaction's write ends with EXEC's reply, not with QUEUED.
    pub spoil_at_exec: bool,
    /// What another link read spoils.
    pub spoil_by_other_reads: bool,
    /// Where nothing is announced, a read that is no flight counts as a change until it is answered.
    pub passes_are_changes: bool,
}

impl Default for Shell {
    fn default() -> Self {
        Self {
            wait_for_lane: true,
            wait_for_own: true,
            insert_at_once: true,
            await_tracking: true,
            end_at_ttl: true,
            drop_old_answers: true,
            spoil_at_exec: true,
            spoil_by_other_reads: true,
            passes_are_changes: true,
        }
    }
}

/// Two programs, and what else may happen how often.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub programs: [&'static [Op]; 2],
    pub foreign_writes: u8,
    pub losses: u8,
    pub switches: u8,
    pub expires: bool,
    /// A link that is dialled anew is not tracked.
    pub refuses: bool,
    /// The server announces nothing from the beginning, and replies are kept all the same, for a while.
    pub untracked: bool,
    pub shell: Shell,
}
