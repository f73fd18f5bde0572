//! Replies to looks: into the journal, and nowhere else.

use crate::journal::ring::LOOK_BYTES_MAX;
use crate::metrics::Looked;
use crate::proxy::Proxy;
use crate::proxy::owed::split;
use crate::proxy::replies::{ReplyError, Step};
use crate::resp::frame::Run;
use crate::resp::{Scanner, value};
use crate::upstream::link::What;

impl Proxy {
    /// Replies to looks.
    pub(in crate::proxy) fn pass_looks(
        &mut self,
        index: u32,
        bytes: &[u8],
    ) -> Result<Step, ReplyError> {
        let link = &mut self.links[index as usize];
        let Some(What::Looks { count, is_payload }) = link.awaited.front().map(|front| &front.what)
        else {
            return Err(ReplyError::Unexpected);
        };
        let (left, is_payload) = (*count, *is_payload);
        let begins = link.scanner.at_boundary();
        // Of one too large to be held back the end comes alone.
        let most = if begins { left } else { 1 };
        let run = link.scanner.run_whole(bytes, most, LOOK_BYTES_MAX)?;
        if run.consumed == 0 {
            return Ok(Step::Starved);
        }
        if run.frames == 0 {
            return Ok(Step::Consumed(run.consumed));
        }
        let is_void = link.replied < link.void_to;
        let seen = &bytes[..run.consumed];
        match begins {
            _ if is_void => self.forget_looks(run.frames, is_payload),
            true => self.judge_looks(index, left, is_payload, run, seen),
            false => {
                self.leave_large_alone(index, left);
                self.forget_looks(1, is_payload);
            }
        }
        let is_of_use = begins && !is_void;
        self.journal_looks(index, run.frames, seen, is_of_use, run.errors);
        let link = &mut self.links[index as usize];
        if run.frames == left {
            link.pop_awaited();
        } else if let Some(front) = link.awaited.front_mut()
            && let What::Looks { count, .. } = &mut front.what
        {
            *count -= run.frames;
        }
        self.note_replied(index, run.frames);
        Ok(Step::Consumed(run.consumed))
    }

    /// Counts what looks have brought, and heeds refusals; `left` of the entry are to come, with these.
    fn judge_looks(&mut self, index: u32, left: u32, is_payload: bool, run: Run, bytes: &[u8]) {
        let mut failed = 0;
        if run.errors || bytes.len() > LOOK_BYTES_MAX {
            failed = self.judge_one_by_one(index, left, is_payload, bytes);
        }
        if let Some(journal) = &mut self.journal
            && is_payload
        {
            journal.looks.count(Looked::Captured, run.frames - failed);
            journal.looks.count(Looked::Ignored, failed);
        }
    }

    /// Returns how many of these replies tell nothing.
    #[cold]
    fn judge_one_by_one(
        &mut self,
        index: u32,
        left: u32,
        is_payload: bool,
        mut bytes: &[u8],
    ) -> u32 {
        let now = self.now;
        let (mut seen, mut failed) = (0, 0);
        while let Ok(run) = Scanner::default().run(bytes, 1)
            && run.frames == 1
        {
            let (frame, rest) = bytes.split_at(run.consumed);
            bytes = rest;
            let is_large = frame.len() > LOOK_BYTES_MAX;
            if is_large {
                self.leave_large_alone(index, left - seen);
            } else if let Some(journal) = &mut self.journal
                && is_refusal(frame)
            {
                journal.looks.refused(is_payload, now);
            }
            failed += u32::from(is_large || value::is_error(frame));
            seen += 1;
        }
        failed
    }

    /// The reply to a look, with which so many are to come, was too large to be kept: so may be the next one of its key.
    #[cold]
    fn leave_large_alone(&mut self, index: u32, left: u32) {
        let link = &self.links[index as usize];
        let end = link.awaited.front().map_or(0, |front| front.end);
        let requests = link.output.between(link.answered, end).unwrap_or_default();
        let requests = split(requests, 0);
        let place = requests.len().checked_sub(left as usize);
        let request = place.and_then(|place| requests.get(place));
        let key = request.and_then(|request| request.words.get(request.bytes, 1));
        let (database, now) = (link.database, self.now);
        if let (Some(key), Some(journal)) = (key, &mut self.journal) {
            journal.looks.leave_alone(database, key, now);
        }
    }

    /// Looks that will not be answered, or not to any purpose.
    pub(in crate::proxy) fn forget_looks(&mut self, count: u32, is_payload: bool) {
        if let Some(journal) = &mut self.journal
            && is_payload
        {
            journal.looks.count(Looked::Ignored, count);
        }
    }
}

/// Tells whether an error means that the like of it will be refused, too.
fn is_refusal(error: &[u8]) -> bool {
    error.starts_with(b"-NOPERM") || error.starts_with(b"-ERR unknown command")
}
