//! Tells clients that have asked for it (CLIENT MAINT_NOTIFICATIONS) when a hold begins and when it is over, so that they
//! give their requests more time meanwhile.
//!
//! The pushes are those of a failover in Redis's cloud; redis-py, node-redis and go-redis ask for them by themselves where
//! they speak RESP3. None of them heeds the time in `FAILING_OVER`; node-redis and go-redis count beginnings and ends. So
//! what a client has been told is kept (`Client::notified`), and it is told what differs from that: never twice the same,
//! and nothing of a hold that began and ended while it could not be told.
//!
//! A push stands between two frames, never within one. To a client that has got a part of a reply it is written when that
//! reply ends.

use crate::command::local::{self, Maint};
use crate::id::ClientId;
use crate::resp::Protocol;
use crate::resp::encode;
use crate::upstream::link::Link;

use super::Proxy;
use super::requests::{Request, Taken};

/// How many pushes there were: what they are numbered by.
#[derive(Debug, Default)]
pub(super) struct Notices {
    number: i64,
}

impl Proxy {
    /// Answers CLIENT MAINT_NOTIFICATIONS.
    pub(super) fn maint_notifications(&mut self, request: Request<'_>) -> Taken {
        let client = &self.clients[request.client as usize];
        // Without pushes it would be promised something that does not come.
        if client.protocol == Protocol::Resp2 || !self.config.listen.maint_notifications {
            return self.unknown_client_word(request, request.word(1).unwrap_or_default());
        }
        // What is answered behind other replies must not be overtaken by its own push.
        if let Some(stalled) = self.stall_in_flight(request.client) {
            return stalled;
        }
        let words = request.words_from(2);
        let wanted = match local::maint(words) {
            Ok(wanted) => wanted,
            Err(refusal) => {
                return self.reply(request, |out| out.extend_from_slice(refusal));
            }
        };
        let client = &mut self.clients[request.client as usize];
        client.notified = match wanted {
            Maint::On => Some(client.notified.unwrap_or(false)),
            Maint::Off => None,
        };
        let id = client.id(request.client);
        let taken = self.reply(request, |out| out.extend_from_slice(b"+OK\r\n"));
        self.notify(id);
        taken
    }

    /// A hold has begun, or is over: whoever wants to know is told.
    pub(super) fn notify_hold(&mut self, began: bool) {
        self.notices.number += 1;
        let concerned: Vec<ClientId> = self
            .clients
            .iter()
            .filter(|(_, client)| client.notified == Some(!began))
            .map(|(index, client)| client.id(index as u32))
            .collect();
        for id in concerned {
            self.notify(id);
        }
    }

    /// Tells a client whether requests are held, if it wants to know that and does not yet; not in the middle of a frame,
    /// at whose end this is called again.
    pub(super) fn notify(&mut self, id: ClientId) {
        let holds = self.is_holding();
        let Some(client) = self.client(id) else {
            return;
        };
        let speaks_for_itself = client.raw || client.closing.is_some();
        if client.notified != Some(!holds) || speaks_for_itself || self.is_amid_frame(id) {
            return;
        }
        self.clients[id.index as usize].notified = Some(holds);
        let (number, seconds) = (self.notices.number, self.hold_seconds_left());
        self.write_to_client(id.index, |out| match holds {
            true => {
                encode::header(out, b'>', 3);
                encode::bulk(out, b"FAILING_OVER");
                encode::header(out, b':', number);
                encode::header(out, b':', seconds);
            }
            false => {
                encode::header(out, b'>', 2);
                encode::bulk(out, b"FAILED_OVER");
                encode::header(out, b':', number);
            }
        });
    }

    /// Tells whether a client may have got the beginning of a frame whose end is still to come.
    fn is_amid_frame(&mut self, id: ClientId) -> bool {
        let client = &self.clients[id.index as usize];
        let carries = |link: &mut Link| {
            let reads = match link.in_push {
                true => link.owner == Some(id),
                false => {
                    let front = link.awaited.front().map(|front| front.client);
                    front == Some(id) || link.joined.contains(&id)
                }
            };
            reads && !link.scanner.at_boundary()
        };
        let links = [client.lane, client.own];
        links
            .into_iter()
            .flatten()
            .any(|link| self.link(link).is_some_and(carries))
    }

    /// Whole seconds, at least one, until what is held is refused.
    fn hold_seconds_left(&self) -> i64 {
        let left = self.hold_left();
        i64::try_from(left.as_millis().div_ceil(1000)).map_or(i64::MAX, |seconds| seconds.max(1))
    }
}
