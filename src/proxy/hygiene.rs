//! Session hygiene on its way: what [`crate::command::ttl`] says of a request is done, and counted by the reply.

use crate::command::keys::touched;
use crate::command::table::{Access, Kind};
use crate::command::ttl::exec::{self, Outcome};
use crate::command::ttl::{Context, Finding, Found, Rules, Verdict};
use crate::failover::replay::refusal;
use crate::id::{ClientId, LinkId};
use crate::metrics::TtlFinding;
use crate::repair::marking::When;
use crate::resp::request::{Parsed, parse};
use crate::resp::{Words, encode, value};
use crate::upstream::link::{Form, Lane, Proof, What, Wrapped};

use super::Proxy;
use super::durable::Acknowledgement;
use super::flights::Whole;
use super::owed::split;
use super::repair::marked::{Unit, without_front};
use super::replies::{ReplyError, Step};
use super::requests::{Request, Taken};

/// Keys of one transaction that are asked about behind its EXEC.
const ASKED_MAX: usize = 64;

/// For how long nothing is wrapped after the server refused what gives the expiry: it costs a round trip each time.
const REFUSED_FOR: std::time::Duration = std::time::Duration::from_secs(60);

/// What is asked of sessions, and how far the server lets us.
pub(super) struct Hygiene {
    /// The rules.
    pub(super) rules: Rules,
    /// Nothing is wrapped before that time.
    wrapped_from: Option<tokio::time::Instant>,
    /// The finding of the request in hand.
    pub(super) found: Option<Found>,
}

impl Hygiene {
    /// Makes it, if anything is asked.
    pub(super) fn new(rules: Rules) -> Option<Box<Self>> {
        rules.is_on().then(|| {
            Box::new(Self {
                rules,
                wrapped_from: None,
                found: None,
            })
        })
    }
}

impl Proxy {
    /// Judges a request that writes, and sends it as that says.
    #[cold]
    pub(super) fn dispatch_judged(&mut self, request: Request<'_>) -> Taken {
        let client = &self.clients[request.client as usize];
        let multi = client.held.multi;
        let context = match multi || client.held.watch {
            true => Context::Held,
            false => Context::Free,
        };
        let wall = self.server_wall(request.client);
        let now = self.now;
        let Some(hygiene) = &mut self.hygiene else {
            return self.dispatch_plain(request);
        };
        let words: Vec<&[u8]> = request.words_from(0).collect();
        let verdict = hygiene.rules.judge(&words, context, Some(wall));
        let wraps = hygiene.wrapped_from.is_none_or(|from| from <= now);
        match verdict {
            Verdict::Fine => self.dispatch_plain(request),
            Verdict::Counted(found) => self.send_found(request, found, multi),
            Verdict::Replaced {
                request: bytes,
                found,
            } => {
                let mut words = Words::default();
                match parse(&bytes, &mut words) {
                    Parsed::Whole(_) => {
                        let (bytes, words) = (&bytes[..], &words);
                        let replaced = Request {
                            bytes,
                            words,
                            ..request
                        };
                        self.send_found(replaced, found, multi)
                    }
                    _ => self.dispatch_plain(request),
                }
            }
            Verdict::Ask { key } => self.send_asking(request, key, multi),
            Verdict::Transaction { behind, replies } if wraps => {
                self.send_wrapped(request, &behind, replies)
            }
            Verdict::Transaction { .. } => self.send_asking(request, 1, multi),
        }
    }

    /// The server's clock if it is known, else ours: what is compared with it are days.
    pub(super) fn server_wall(&mut self, client: u32) -> u64 {
        let link = self.tracked(client);
        let clock = link.and_then(|link| self.links[link.index as usize].probing.clock);
        match clock {
            Some((time, _, answered_at)) => time + self.boot.saturating_sub(answered_at),
            None => self.clock.wall(),
        }
    }

    fn send_found(&mut self, request: Request<'_>, found: Found, multi: bool) -> Taken {
        if let Some(hygiene) = &mut self.hygiene {
            hygiene.found = Some(found).filter(|_| !multi);
        }
        let taken = self.dispatch_plain(request);
        if let Some(hygiene) = &mut self.hygiene {
            hygiene.found = None;
        }
        // Whether a queued request did something stands deep in EXEC's reply: it is taken for granted.
        if multi && matches!(taken, Taken::Bytes(_)) {
            self.count_finding(found.finding, found.count_if_done());
        }
        taken
    }

    /// Tells whether the request in hand is counted by its reply.
    #[inline]
    pub(super) fn has_found(&self) -> bool {
        let hygiene = self.hygiene.as_ref();
        hygiene.is_some_and(|hygiene| hygiene.found.is_some())
    }

    /// Returns the finding of the request that is being sent.
    #[inline]
    pub(super) fn take_found(&mut self) -> Option<Found> {
        self.hygiene.as_mut()?.found.take()
    }

    /// Sends a request, and asks behind it whether its key has an expiry.
    fn send_asking(&mut self, request: Request<'_>, key: usize, multi: bool) -> Taken {
        let before = self.clients[request.client as usize].inflight;
        let taken = self.dispatch_plain(request);
        let client = &mut self.clients[request.client as usize];
        let (true, Some(link), Some(key)) =
            (client.inflight > before, client.lane, request.word(key))
        else {
            return taken;
        };
        if !multi {
            self.ask_ttl(link, key);
            return taken;
        }
        let keys = &mut client.asked_keys;
        if keys.len() < ASKED_MAX && !keys.iter().any(|known| **known == *key) {
            keys.push(key.into());
        }
        taken
    }

    pub(super) fn ask_ttl(&mut self, link: LinkId, key: &[u8]) {
        self.send_ours(link, &[&b"PTTL"[..], key], What::Lifetime);
    }

    /// An EXEC was sent just now: asks about the keys that its transaction leaves open.
    pub(super) fn ask_behind_exec(&mut self, index: u32, link: LinkId) {
        for key in std::mem::take(&mut self.clients[index as usize].asked_keys) {
            self.ask_ttl(link, &key);
        }
    }

    /// PTTL of a key that was written is answered.
    pub(super) fn lifetime_answered(&mut self, reply: &[u8]) {
        if value::integer(reply) == Some(-1) {
            self.count_finding(Finding::NoExpiry, 1);
        }
    }

    /// Counts what was found.
    pub(super) fn count_finding(&mut self, finding: Finding, count: u32) {
        let kind = match finding {
            Finding::NoExpiry => TtlFinding::NoExpiry,
            Finding::TooLong => TtlFinding::TooLong,
        };
        self.counters.ttl_findings[kind.index()] += u64::from(count);
    }

    /// Sends a request between MULTI and what gives its keys an expiry.
    fn send_wrapped(&mut self, request: Request<'_>, behind: &[u8], replies: u32) -> Taken {
        let (marks, when) = self
            .marks_of(&request)
            .unwrap_or((Vec::new(), When::Together));
        let unit = Unit {
            marks,
            when,
            behind,
            replies,
            found: None,
        };
        self.send_unit(&request, unit)
    }

    /// Finds the link over which a request would go by itself.
    pub(super) fn link_for(&mut self, request: &Request<'_>) -> Result<LinkId, Taken> {
        let client = &self.clients[request.client as usize];
        let shares = !client.held.takes_everything() && !self.is_paused();
        let lane = match request.command.kind {
            Kind::Tracked if shares => Lane::Tracked,
            Kind::General if shares => Lane::General,
            _ => {
                let found = self.own_link(request.client);
                return self.found_link(found, request.client, request.length);
            }
        };
        let Some(link) = self.shared(lane, request.client) else {
            return Err(self.no_link(request));
        };
        match self.may_send(request.client, link) {
            true => Ok(link),
            false => Err(Taken::Stalled),
        }
    }

    /// A reply among those to a wrapped request.
    pub(super) fn pass_wrapped(&mut self, index: u32, bytes: &[u8]) -> Result<Step, ReplyError> {
        // As large as the server's own bound on a value lets it be: it is the client's.
        let (count, frame) = match self.collect(index, bytes, usize::MAX)? {
            Whole::Starved => return Ok(Step::Starved),
            Whole::Partly(count) => return Ok(Step::Consumed(count)),
            Whole::Yes(count, frame) => (count, frame.unwrap_or_default()),
        };
        let link = &mut self.links[index as usize];
        let Some(What::Wrapped(wrapped)) = link.awaited.front_mut().map(|front| &mut front.what)
        else {
            return Err(ReplyError::Unexpected);
        };
        wrapped.came.extend_from_slice(&frame);
        wrapped.left -= 1;
        let whole = wrapped.left == 0;
        let (_, waits) = self.alike(index, 1);
        let acknowledged = self.journal_replies(index, 1, &frame, true);
        self.note_replied(index, 1);
        if whole
            && let link = &mut self.links[index as usize]
            && let Some(front) = link.pop_awaited()
            && let What::Wrapped(wrapped) = front.what
        {
            let waiting = acknowledged.if_waiting(waits);
            self.unwrap_reply(index, front.client, &wrapped, waiting)?;
        }
        Ok(Step::Consumed(count))
    }

    /// All replies to a wrapped request have come; `waiting` is what waits for replicas of one that takes no marks.
    fn unwrap_reply(
        &mut self,
        index: u32,
        id: ClientId,
        wrapped: &Wrapped,
        waiting: Acknowledgement,
    ) -> Result<(), ReplyError> {
        if let Form::Block(queued) = wrapped.form {
            return self.unwrap_block(index, id, wrapped, queued as usize);
        }
        let outcome = match wrapped.form {
            Form::Alone => Some(Outcome::Answered {
                reply: &wrapped.came,
                given: 0,
                front: Vec::new(),
            }),
            _ => exec::read(&wrapped.came, wrapped.front()),
        };
        match outcome {
            None => Err(ReplyError::Unexpected),
            // For now: the like of it is taken back.
            Some(Outcome::Answered { reply, .. }) if refusal(reply).is_some() => {
                self.send_unwrapped(index, id, wrapped);
                Ok(())
            }
            Some(Outcome::Answered {
                reply,
                given,
                front,
            }) => {
                self.count_finding(Finding::NoExpiry, given);
                for (_, found) in &wrapped.found {
                    self.count_finding(found.finding, found.count(reply));
                }
                let link = self.link_at(index);
                let waiting = match &wrapped.marked {
                    Some(marked) => self.note_marked(link, wrapped, marked, &front, reply),
                    None => waiting,
                };
                self.answer_wrapped(id, wrapped, reply, waiting);
                Ok(())
            }
            Some(Outcome::NotRun) => {
                self.doubt_wrapping(wrapped);
                self.send_unwrapped(index, id, wrapped);
                Ok(())
            }
        }
    }

    /// The replies to a transaction of the client's own, with our requests in front.
    fn unwrap_block(
        &mut self,
        index: u32,
        id: ClientId,
        wrapped: &Wrapped,
        queued: usize,
    ) -> Result<(), ReplyError> {
        let front = wrapped.front();
        let frames = exec::frames(&wrapped.came).ok_or(ReplyError::Unexpected)?;
        let (Some((multi, ours, own)), Some(exec)) = (
            frames.split_first().and_then(|(multi, rest)| {
                let (ours, rest) = rest.split_at_checked(front)?;
                Some((multi, ours, rest.get(..queued)?))
            }),
            frames.last(),
        ) else {
            return Err(ReplyError::Unexpected);
        };
        let refused = [exec]
            .into_iter()
            .chain(own)
            .any(|one| refusal(one).is_some());
        if refused || ours.iter().any(|one| value::is_error(one)) {
            self.send_block_unwrapped(index, id, wrapped, queued);
            return Ok(());
        }
        let mut waiting = Acknowledgement::default();
        let mut reply = exec.to_vec();
        if let Some((stamps, exec)) = without_front(exec, front) {
            self.count_block(&wrapped.found, &exec);
            if let Some(marked) = &wrapped.marked {
                let link = self.link_at(index);
                waiting = self.note_marked(link, wrapped, marked, &stamps, &exec);
            }
            reply = exec;
        }
        // What was queued waits for nothing.
        if self.client(id).is_some() {
            let head = [*multi].into_iter().chain(own.iter().copied());
            let head: Vec<u8> = head.flatten().copied().collect();
            self.write_to_client(id.index, |out| out.extend_from_slice(&head));
        }
        self.answer_wrapped(id, wrapped, &reply, waiting);
        Ok(())
    }

    /// Nothing has run, as our requests were refused: the transaction is sent as it came.
    fn send_block_unwrapped(&mut self, index: u32, id: ClientId, wrapped: &Wrapped, queued: usize) {
        let link = self.link_at(index);
        let target = &mut self.links[index as usize];
        target.expect(
            id,
            What::Head {
                count: queued as u32 + 1,
            },
        );
        target.push_bytes(&wrapped.request, &mut self.pool);
        target.expect(
            id,
            What::Exec {
                proof: Proof(0),
                found: wrapped.found.clone(),
                as_resp2: wrapped.as_resp2,
            },
        );
        let requests = split(&wrapped.request, 0);
        let replicated = self.is_block_replicated(&requests);
        self.journal_sent(link, wrapped.request.len(), replicated);
        self.note_block_looks(link, &requests);
        self.note_block(id.index, link, &wrapped.request);
        self.touch_link(link);
    }

    /// The server refuses what gives keys an expiry: it is not tried again for a while.
    fn doubt_wrapping(&mut self, wrapped: &Wrapped) {
        let until = self.now + REFUSED_FOR;
        if wrapped.marked.is_none()
            && let Some(hygiene) = &mut self.hygiene
            && hygiene.wrapped_from.replace(until).is_none()
        {
            tracing::warn!(
                "the server refuses MULTI, EXEC or EXPIRE: sessions without expiry are counted, not given one"
            );
        }
    }

    /// Nothing has run: the request is sent as it came.
    fn send_unwrapped(&mut self, index: u32, id: ClientId, wrapped: &Wrapped) {
        let link = self.link_at(index);
        let mut words = Words::default();
        let bytes = &wrapped.request[..];
        let target = &mut self.links[index as usize];
        target.send(bytes, id, true, wrapped.as_resp2, &mut self.pool);
        let replicated = self.is_block_replicated(&split(bytes, 0));
        self.journal_sent(link, bytes.len(), replicated);
        if let Parsed::Whole(_) = parse(bytes, &mut words) {
            let command = self.table.find(words.get(bytes, 0).unwrap_or_default());
            self.note_block_looks(link, &split(bytes, 0));
            let found = touched(&command, bytes, &words);
            self.begin_pending(link, found, |index| words.get(bytes, index));
            self.ask_unless_shared(link);
        }
        self.touch_link(link);
    }

    /// Judges the requests of a whole transaction: returns what to send in its place, what is counted of EXEC's elements,
    /// and the keys to be asked about; `None` when there is nothing to say.
    pub(super) fn judge_block(&mut self, client: u32, block: &[u8]) -> Option<JudgedBlock> {
        self.hygiene.as_ref()?;
        let wall = self.server_wall(client);
        let mut lines = Vec::new();
        let (mut words, mut rest) = (Words::default(), block);
        while let Parsed::Whole(bytes) = parse(rest, &mut words) {
            lines.push((words.iter(rest, 0).collect::<Vec<_>>(), &rest[..bytes]));
            rest = &rest[bytes..];
        }
        // The last one is EXEC.
        let queued: Vec<Vec<&[u8]>> = lines.iter().map(|(words, _)| words.clone()).collect();
        let queued = &queued[..queued.len().saturating_sub(1)];
        let verdicts = self.hygiene.as_ref()?.rules.judge_block(queued, Some(wall));
        let mut judged = JudgedBlock::default();
        for (place, (verdict, (words, bytes))) in verdicts.iter().zip(&lines).enumerate() {
            let sent = match verdict {
                Verdict::Replaced { request, found } => {
                    judged.found.push((place, *found));
                    &request[..]
                }
                Verdict::Counted(found) => {
                    judged.found.push((place, *found));
                    bytes
                }
                Verdict::Ask { key } => {
                    judged
                        .asked
                        .extend(words.get(*key).map(|key| Box::from(*key)));
                    bytes
                }
                Verdict::Fine | Verdict::Transaction { .. } => bytes,
            };
            judged.bytes.extend_from_slice(sent);
        }
        encode::request(&mut judged.bytes, &["EXEC"]);
        Some(judged)
    }

    /// A transaction's EXEC is answered with this.
    pub(super) fn count_block(&mut self, found: &[(usize, Found)], reply: &[u8]) {
        let Some(elements) = value::elements(reply) else {
            return;
        };
        let elements: Vec<&[u8]> = elements.collect();
        for (place, found) in found {
            if let Some(reply) = elements.get(*place) {
                self.count_finding(found.finding, found.count(reply));
            }
        }
    }

    /// Tells whether a request is to be judged.
    #[inline]
    pub(super) fn is_judged(&self, request: &Request<'_>) -> bool {
        self.hygiene.is_some() && request.command.access == Access::Write
    }
}

/// A whole transaction as it was judged.
#[derive(Debug, Default)]
pub(super) struct JudgedBlock {
    /// What is sent, EXEC included.
    pub(super) bytes: Vec<u8>,
    /// What is counted by which element of EXEC's reply.
    pub(super) found: Vec<(usize, Found)>,
    /// Keys whose expiry is asked for behind EXEC.
    pub(super) asked: Vec<Box<[u8]>>,
}
