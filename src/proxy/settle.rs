//! Replies that change what we know of a client or its link: SELECT, AUTH, EXEC and their like.

use crate::failover::scripts::is_unknown;
use crate::id::{ClientId, LinkId};
use crate::upstream::link::{Awaited, Settle, What};

use super::Proxy;
use super::replies::{HELD_BACK_MAX, ReplyError, Step};

impl Proxy {
    /// A reply that also changes our state: judged by its first bytes, applied once it is whole.
    pub(super) fn pass_settling(&mut self, index: u32, bytes: &[u8]) -> Result<Step, ReplyError> {
        let link = &mut self.links[index as usize];
        if let Some(What::Settle(Settle::Exec { marks: 1.., .. })) =
            link.awaited.front().map(|front| &front.what)
        {
            return self.pass_marked_exec(index, bytes);
        }
        let first = link.scanner.at_boundary();
        let before = link.scanner.clone();
        let run = link.scanner.run_whole(bytes, 1, HELD_BACK_MAX)?;
        if run.consumed == 0 {
            return Ok(Step::Starved);
        }
        if first
            && is_unknown(bytes)
            && let Some(front) = link.awaited.front()
            && let id = front.client
            && self.send_with_body(index, id)
        {
            // The reply is nobody's now.
            self.links[index as usize].scanner = before;
            return self.swallow(index, bytes);
        }
        let link = &mut self.links[index as usize];
        let Some(front) = link.awaited.front() else {
            return Err(ReplyError::Unexpected);
        };
        let id = front.client;
        if first {
            let refused = match &front.what {
                What::Settle(Settle::Unknown) => !bytes.starts_with(b"-ERR unknown command"),
                _ => bytes[0] == b'-',
            };
            // HELLO judges the user before it does anything, AUTH does nothing else.
            link.user_refused = match &front.what {
                What::Settle(Settle::Auth) => refused,
                What::Settle(Settle::Hello) => bytes.starts_with(b"-WRONGPASS"),
                _ => false,
            };
            link.settle_ok = !refused;
        }
        let ok = link.settle_ok;
        let voided = matches!(front.what, What::Settle(Settle::Voided { .. }));
        let exec = matches!(front.what, What::Settle(Settle::Exec { .. }));
        let (_, waits) = self.alike(index, 1);
        if waits {
            self.keep_back(id);
        }
        if let Some(client) = self.client(id) {
            let seen = match voided {
                true => client.protocol.null_array(),
                false => &bytes[..run.consumed],
            };
            self.write_to_client(id.index, |out| out.extend_from_slice(seen));
        }
        if run.frames == 1 {
            let seen = &bytes[..run.consumed];
            let acknowledged = self.journal_replies(index, 1, seen, first);
            if waits {
                let acknowledged = match exec {
                    true => acknowledged.by_exec(seen),
                    false => acknowledged,
                };
                self.wait_for_replicas(id, acknowledged, seen);
            }
            let link = &mut self.links[index as usize];
            let serial = link.serial;
            if let Some(Awaited {
                what: What::Settle(settle),
                ..
            }) = link.pop_awaited()
            {
                self.note_replied(index, 1);
                self.settle(LinkId { index, serial }, id, settle, ok);
            }
            self.answered(id, 1);
        }
        Ok(Step::Consumed(run.consumed))
    }

    pub(super) fn settle(&mut self, link: LinkId, id: ClientId, settle: Settle, ok: bool) {
        self.forget(&What::Settle(settle.clone()));
        let now = self.now;
        let sent_on = &mut self.links[link.index as usize];
        if std::mem::take(&mut sent_on.user_refused) {
            sent_on.spent = sent_on.was_spent;
        }
        match settle {
            Settle::Select(database) if ok => {
                let known = &mut self.known_databases;
                if known.len() <= database as usize {
                    known.resize(database as usize + 1, false);
                }
                known[database as usize] = true;
                self.links[link.index as usize].database = database;
                if let Some(client) = self.client(id) {
                    client.database = database;
                    self.warm(id.index);
                }
            }
            Settle::Pause(milliseconds) if ok => {
                self.paused_until = now.checked_add(std::time::Duration::from_millis(milliseconds));
            }
            Settle::Unpause if ok => self.paused_until = None,
            // A user of its own, or words that only the server understood.
            Settle::Auth | Settle::Hello if ok => {
                if self.client(id).is_some() {
                    self.make_raw(id.index, link);
                }
            }
            Settle::Unknown if !ok => {
                if self.client(id).is_some() {
                    self.make_raw(id.index, link);
                }
            }
            Settle::Exec { held, .. } | Settle::Voided { held } => {
                if let Some(client) = self.client(id) {
                    client.end_multi(held);
                }
            }
            Settle::Discard { held } => {
                if let Some(client) = self.client(id) {
                    match ok {
                        true => client.end_multi(held),
                        false => client.keep_multi(),
                    }
                }
            }
            Settle::Watch { held } => {
                if let Some(client) = self.client(id) {
                    match ok {
                        true => client.watches = true,
                        false => client.refuse_watch(held),
                    }
                }
            }
            Settle::Unwatch { held } if ok => {
                if let Some(client) = self.client(id) {
                    client.end_watch(held);
                }
            }
            Settle::Select(_)
            | Settle::Pause(_)
            | Settle::Unpause
            | Settle::Auth
            | Settle::Hello
            | Settle::Unknown
            | Settle::Unwatch { .. }
            | Settle::Script => {}
        }
    }
}
