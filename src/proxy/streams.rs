//! Bytes that pass without being read as requests: large requests on their way, and clients that have a connection to the
//! server of their own.

use crate::command::keys::Touched;
use crate::command::table::{Access, Kind};
use crate::downstream::client::QueuedKeys;
use crate::error;
use crate::id::LinkId;
use crate::metrics::{ClearCause, CloseCause, ErrorKind};
use crate::resp::request::{Parsed, WHOLE_BYTES_MAX, parse};
use crate::resp::{Scanner, Words};
use crate::upstream::link::{Lane, Settle, What};

use super::requests::Taken;
use super::{LINK_OUTPUT_SOFT, Proxy};

impl Proxy {
    /// A request longer than what we wait for: over the client's own link, as it arrives.
    pub(super) fn begin_upload(&mut self, index: u32, input: &[u8], words: &Words) -> Taken {
        let kind = words
            .get(input, 0)
            .map_or(Kind::Unknown, |name| self.table.find(name).kind);
        let stateless = matches!(
            kind,
            Kind::Tracked
                | Kind::General
                | Kind::Pinned
                | Kind::Rescue
                | Kind::Script
                | Kind::Blocking
        );
        if !stateless {
            return match input.len() <= WHOLE_BYTES_MAX {
                true => Taken::Stalled,
                false => self.leave_to_server(index, input),
            };
        }
        if self.may_wait() {
            self.hold_client(index, input.len());
            return Taken::Stalled;
        }
        let Some(link) = (match self.own_link(index) {
            Ok(link) => link,
            Err(taken) => return self.skip_refused(index, taken),
        }) else {
            return Taken::Stalled;
        };
        let client = &mut self.clients[index as usize];
        client.need = 0;
        client.upload = Some(Scanner::default());
        client.inflight += 1;
        client.lane = Some(link);
        client.blocking |= kind == Kind::Blocking;
        let id = client.id(index);
        let multi = client.held.multi;
        client.script_queued |= multi && kind == Kind::Script;
        let what = match kind {
            Kind::Script if !multi => {
                self.scripts += 1;
                What::Settle(Settle::Script)
            }
            _ => What::Replies {
                count: 1,
                write: true,
                as_resp2: false,
            },
        };
        self.counters.requests[Lane::Pinned.metric().index()] += 1;
        self.links[link.index as usize].expect(id, what);
        self.note_upload(index, link, input, words);
        self.stream_through(index, input)
    }

    /// A large request that can't be sent is not buffered to be refused politely: the client is told and closed.
    pub(super) fn skip_refused(&mut self, index: u32, kind: ErrorKind) -> Taken {
        self.refuse(index, kind);
        self.close_after_flush(index, CloseCause::UpstreamLost);
        Taken::Stalled
    }

    /// Passes bytes on over the client's own link: all of them (raw), or up to the end of a large request.
    pub(super) fn stream_through(&mut self, index: u32, input: &[u8]) -> Taken {
        let client = &mut self.clients[index as usize];
        let Some(own) = client.own else {
            return Taken::Stalled;
        };
        // Who knows what it changes: it waits like a write.
        if client.stranger && self.failover.gate.is_some() && !self.failover.sheds {
            self.hold_client(index, input.len());
            return Taken::Stalled;
        }
        let link = &mut self.links[own.index as usize];
        if link.output.len() > LINK_OUTPUT_SOFT {
            self.congest(index, own);
            return Taken::Stalled;
        }
        let count = match &mut client.upload {
            None => input.len(),
            Some(scanner) => match scanner.run(input, 1) {
                Ok(run) => {
                    if run.frames == 1 {
                        client.upload = None;
                    }
                    run.consumed
                }
                Err(_) => {
                    client.upload = None;
                    return self.leave_to_server(index, input);
                }
            },
        };
        if client.upload.is_none() && !client.raw {
            // The entry was queued before its bytes: it ends here.
            link.push_bytes(&input[..count], &mut self.pool);
            let end = link.output.queued();
            if let Some(last) = link.awaited.back_mut() {
                last.end = end;
            }
            link.end_upload(end);
            match self.clients[index as usize].held.multi {
                true => self.note_queued_upload(index, own),
                false => self.look_behind_upload(own),
            }
        } else {
            link.push_bytes(&input[..count], &mut self.pool);
            if self.clients[index as usize].raw {
                self.watch_stranger(index, &input[..count]);
            }
        }
        self.touch_link(own);
        Taken::Bytes(count)
    }

    /// A large request has been queued in a transaction.
    fn note_queued_upload(&mut self, index: u32, own: LinkId) {
        let request = self.links[own.index as usize]
            .newest_requests()
            .map(<[u8]>::to_vec);
        match request {
            Some(request) => self.note_transcript(index, &request),
            None => {
                if let Some(transcript) = &mut self.clients[index as usize].transcript {
                    transcript.cut = true;
                }
            }
        }
    }

    /// Gives a client a connection to the server for good: its bytes pass unread from here on.
    pub(super) fn go_raw(&mut self, index: u32, bytes: &[u8], length: usize) -> Taken {
        let found = self.own_link(index);
        let link = match self.found_link(found, index, length) {
            Ok(link) => link,
            Err(taken) => return taken,
        };
        self.introduce(index, link);
        self.clients[index as usize].subscriptions = Some(Box::default());
        self.make_raw(index, link);
        self.watch_stranger(index, bytes);
        self.links[link.index as usize].push_bytes(bytes, &mut self.pool);
        self.touch_link(link);
        Taken::Bytes(length)
    }

    /// A client whose bytes pass unread may change keys, and read what is newer than the cache: unless it does nothing but
    /// subscribe, whatever comes back to it empties the cache, and it can't be moved to another link.
    fn watch_stranger(&mut self, index: u32, bytes: &[u8]) {
        if self.clients[index as usize].stranger {
            return;
        }
        match self.read_harmless(index, bytes) {
            Some(true) => {}
            Some(false) => self.clients[index as usize].subscriptions = None,
            None => {
                let client = &mut self.clients[index as usize];
                client.stranger = true;
                client.subscriptions = None;
                self.clear_cache(ClearCause::OwnConnection);
            }
        }
    }

    /// Reads bytes as requests that neither change nor read keys; tells whether they only subscribe, `None` where they are
    /// something else.
    fn read_harmless(&mut self, index: u32, mut bytes: &[u8]) -> Option<bool> {
        let mut words = Words::default();
        let mut subscribes = true;
        while !bytes.is_empty() {
            let Parsed::Whole(length) = parse(bytes, &mut words) else {
                return None;
            };
            let line: Vec<&[u8]> = words.iter(bytes, 0).collect();
            let name = line.first().copied().unwrap_or_default();
            let named = name.to_ascii_lowercase().ends_with(b"subscribe");
            if !named && !matches!(self.table.find(name).kind, Kind::Ping | Kind::Monitor) {
                return None;
            }
            let noted = self.clients[index as usize].subscriptions.as_mut();
            subscribes &= noted.is_some_and(|subscriptions| subscriptions.sent(&line));
            bytes = &bytes[length..];
        }
        Some(subscribes)
    }

    /// Gives a client that had a connection of its own, and did nothing but subscribe, another one, and subscribes there.
    pub fn resubscribe(&mut self, index: u32) {
        let client = &self.clients[index as usize];
        if !client.raw || client.own.is_some() || client.closing.is_some() {
            return;
        }
        // It asks nothing that could be refused: it waits, however long that takes.
        if self.failover.gate.is_some() {
            return self.hold_client(index, 0);
        }
        match self.own_link(index) {
            Ok(Some(link)) => {
                let client = &mut self.clients[index as usize];
                let id = client.id(index);
                let restored = client
                    .subscriptions
                    .as_mut()
                    .map_or_else(Vec::new, |subscriptions| subscriptions.restore());
                self.introduce(index, link);
                let target = &mut self.links[link.index as usize];
                target.expect(id, What::Rest);
                target.push_bytes(&restored, &mut self.pool);
                self.touch_link(link);
            }
            Ok(None) => {}
            Err(_) => self.close_after_flush(index, CloseCause::UpstreamLost),
        }
    }

    /// The keys of a large request, as far as its words have come.
    fn note_upload(&mut self, index: u32, link: LinkId, input: &[u8], words: &Words) {
        self.clients[index as usize].newest = self.links[link.index as usize].asked;
        let command = words.get(input, 0).map(|name| self.table.find(name));
        let one_key = command.filter(|command| {
            let keys = command.keys;
            keys.first == 1 && keys.last == 1 && words.len() > 1
        });
        let multi = self.clients[index as usize].is_queueing();
        let found = match one_key {
            Some(_) => Touched::Keys {
                first: 1,
                count: 1,
                step: 1,
            },
            None => Touched::Everything,
        };
        if !multi
            && let Some(command) = command
            && command.access == Access::Write
        {
            let replicated = self.is_replicated_by(&command, found, input, words);
            self.journal_sent(link, 0, replicated);
        }
        match multi {
            true => {
                self.clients[index as usize].queued_keys = Some(Box::new(QueuedKeys::Everything))
            }
            false => self.begin_pending(link, found, |word| words.get(input, word)),
        }
    }

    /// Declares that everything from here on passes unread.
    pub(super) fn make_raw(&mut self, index: u32, link: LinkId) {
        let client = &mut self.clients[index as usize];
        client.raw = true;
        client.need = 0;
        let id = client.id(index);
        self.links[link.index as usize].expect(id, What::Rest);
    }

    /// A client with a connection of its own has sent all that it will: the server answers what it has, and closes.
    pub fn finish_raw(&mut self, index: u32) {
        if let Some(own) = self.clients[index as usize].own {
            self.links[own.index as usize].finished = true;
            self.touch_link(own);
        }
    }

    /// What is not plainly well formed is for the server to judge; without a server, in general words.
    pub(super) fn leave_to_server(&mut self, index: u32, input: &[u8]) -> Taken {
        match self.own_link(index) {
            Ok(None) => Taken::Stalled,
            Ok(Some(_)) => self.go_raw(index, input, input.len()),
            Err(_) if self.may_wait() => {
                self.hold_client(index, input.len());
                Taken::Stalled
            }
            Err(_) => self.refuse_input(index),
        }
    }

    /// Refuses what can't be read, in general words, and closes.
    pub(super) fn refuse_input(&mut self, index: u32) -> Taken {
        self.answer(index, |out| {
            out.extend_from_slice(error::UNREADABLE);
        });
        self.close_after_flush(index, CloseCause::ProtocolError);
        Taken::Stalled
    }
}
