//! A link is lost, or could not be opened: what is awaited of it is taken back, or gets a clear answer.

use crate::cache::core::Tracking;
use crate::downstream::client::{Barrier, Stall};
use crate::failover::machine::{Event, Scope};
use crate::id::{ClientId, LinkId};
use crate::metrics::{CloseCause, DialOutcome, ErrorKind};
use crate::resp::Protocol;
use crate::upstream::connect::ConnectError;
use crate::upstream::link::{Awaited, Lane, Link, Settle, What};
use crate::upstream::registry::Health;

use super::Proxy;
use super::owed::Owed;

impl Proxy {
    /// The primary answers.
    pub(super) fn became_reachable(&mut self) {
        if self.registry.health != Health::Up {
            tracing::info!(address = %self.address(), "primary reached");
            self.registry.health = Health::Up;
        }
        self.failover.primaries += 1;
        self.failover_event(Event::LinkUp);
    }

    /// A dial came to nothing: what was queued on the link was not sent.
    pub fn dial_failed(&mut self, index: u32, error: &ConnectError) {
        let outcome = match error {
            ConnectError::Refused {
                command: "HELLO", ..
            } => DialOutcome::Auth,
            _ => DialOutcome::Failed,
        };
        self.counters.link_dials[outcome.index()] += 1;
        let link = &self.links[index as usize];
        if matches!(link.lane, Lane::Replica | Lane::Repair) {
            return self.end_link(index, Fate::TakenBack);
        }
        let probe = link.lane == Lane::Tracked && link.database == 0;
        if probe {
            let reason = with_cause(error);
            let news = !matches!(&self.registry.health, Health::Down { reason: old, .. } if *old == reason);
            self.registry.note_failure(reason, self.now);
            if news && let Health::Down { reason, .. } = &self.registry.health {
                let address = self.address();
                tracing::warn!(%address, %reason, "waiting for the primary");
            }
            self.failover_event(Event::LinkLost);
        }
        self.servers_words = error.servers_words().map(str::to_owned);
        match error {
            // The server itself has answered: so is whoever asked.
            ConnectError::Refused { .. } if !probe || self.servers_words.is_some() => {
                if self.servers_words.is_none() {
                    self.registry.note_refusal(with_cause(error), self.now);
                }
                self.end_link(index, Fate::Told);
            }
            _ => {
                if !probe {
                    self.failover_event(Event::Refused(Scope::All));
                }
                self.end_link(index, Fate::TakenBack);
            }
        }
        self.servers_words = None;
        if probe {
            self.server_is_gone();
            self.end_greeting();
        }
    }

    /// A link that was up is gone.
    pub fn link_lost(&mut self, index: u32, cause: &dyn std::error::Error) {
        let link = &self.links[index as usize];
        let lane = link.lane;
        self.counters.links_lost[lane.metric().index()] += 1;
        if lane != Lane::Pinned {
            tracing::info!(lane = lane.metric().as_str(), database = link.database, %cause, "link lost");
        }
        let probe = lane == Lane::Tracked && link.database == 0;
        self.note_link_gone(index);
        // Told before anybody is taken back: who is waits then.
        if probe {
            self.failover_event(Event::LinkLost);
        }
        self.fail_link(index);
        if probe {
            self.server_is_gone();
            if self.may_dial() {
                self.open_shared(Lane::Tracked, Protocol::Resp3, 0);
            }
        }
    }

    /// Removes a link: what is awaited of it is taken back, or, where nobody will dial any more, answered.
    pub(super) fn fail_link(&mut self, index: u32) {
        let fate = match self.is_draining() {
            true => Fate::Told,
            false => Fate::TakenBack,
        };
        self.end_link(index, fate);
    }

    fn end_link(&mut self, index: u32, fate: Fate) {
        let serial = self.links[index as usize].serial;
        let id = LinkId { index, serial };
        self.registry.forget(id);
        let mut link = self.links.remove(index as usize);
        match link.lane {
            Lane::Pinned => self.registry.pinned -= 1,
            Lane::Repair => self.repair_link_gone(id),
            Lane::Tracked | Lane::General | Lane::Replica => {}
        }
        let half_sent = match link.scanner.at_boundary() || link.in_push {
            true => None,
            false => link.awaited.front().map(|awaited| awaited.client),
        };
        // Nobody has got half of what was ours.
        let half_sent = half_sent.filter(|client| *client != ClientId::NOBODY);
        for awaited in &link.awaited {
            self.forget(&awaited.what);
        }
        let foreseen = self.take_foreseen(&mut link);
        self.end_all_pending(&mut link);
        // It must not arrive when it has been asked elsewhere, or answered.
        if fate == Fate::TakenBack && !link.awaited.is_empty() {
            link.abort();
        }
        let owed = Owed::of(&mut link);
        match link.owner {
            Some(owner) => self.own_link_lost(owner, &link, owed, half_sent.is_some(), fate),
            None => {
                // Half a reply is out: nothing can follow it on that connection.
                for client in half_sent
                    .into_iter()
                    .chain(std::mem::take(&mut link.joined))
                {
                    if self.client(client).is_some() {
                        self.close_after_flush(client.index, CloseCause::UpstreamLost);
                    }
                }
                match fate {
                    Fate::TakenBack => self.rewind_shared(owed, half_sent),
                    Fate::Told => self.fail_awaited(owed, half_sent),
                }
            }
        }
        self.keep_foreseen(foreseen);
        self.uncongest();
        self.wake_waiter();
    }

    /// Leaves every link, whatever its health.
    pub(super) fn fail_all_links(&mut self) {
        self.fail_links(|_| true);
        self.server_is_gone();
    }

    /// Leaves the links that clients share; those with a link of their own go on waiting.
    pub(super) fn leave_shared_links(&mut self) {
        self.registry.health = Health::Starting;
        self.failover_event(Event::LinkLost);
        self.fail_links(|lane| matches!(lane, Lane::Tracked | Lane::General));
    }

    fn fail_links(&mut self, is_left: impl Fn(Lane) -> bool) {
        let id = |(index, link): (usize, &Link)| LinkId {
            index: index as u32,
            serial: link.serial,
        };
        let left = self.links.iter().filter(|(_, link)| is_left(link.lane));
        let left: Vec<LinkId> = left.map(id).collect();
        for link in left {
            if self.link(link).is_some() {
                self.note_link_gone(link.index);
                self.fail_link(link.index);
            }
        }
    }

    /// Answers what was awaited of a lost link, but for the client that got half a reply, which is closed: to it our text
    /// would be the other half.
    fn fail_awaited(&mut self, owed: Owed, half_sent: Option<ClientId>) {
        let sent = owed.output.written();
        let mut start = owed.answered;
        for Awaited { client, what, end } in owed.awaited {
            let unsent = start >= sent;
            start = end;
            for reader in self.abandon(&what) {
                self.fail_read(reader);
            }
            if half_sent == Some(client) || self.client(client).is_none() {
                continue;
            }
            let (count, write) = match what {
                What::Replies { count, write, .. } => (count, write),
                What::Head { count } => (count, true),
                What::Flight { .. } | What::Flights { .. } | What::InDoubt { .. } => (1, false),
                What::Proof { write, .. } => (1, write),
                What::Counted { .. }
                | What::Refreshed { .. }
                | What::Claim { .. }
                | What::Exec { .. } => (1, true),
                What::Wrapped(wrapped) => (wrapped.answers(), true),
                What::Settle(_) => (1, true),
                // The request that waits behind it is still in the client's input.
                What::Barrier => {
                    if let Some(client) = self.client(client) {
                        client.barrier = Barrier::None;
                    }
                    self.answered(client, 1);
                    continue;
                }
                What::Local(answer) => {
                    self.write_to_client(client.index, |out| out.extend_from_slice(&answer));
                    self.answered(client, 1);
                    continue;
                }
                What::Swallow
                | What::Named
                | What::Verdict
                | What::Landing(_)
                | What::Lifetime
                | What::Looks { .. }
                | What::Touched(_)
                | What::PutBack(_)
                | What::Tracking { .. }
                | What::Probe { .. }
                | What::Fields { .. }
                | What::Check(_)
                | What::Whether(_)
                | What::Repair(_)
                | What::Rest => continue,
            };
            let kind = match unsent || !write {
                true => ErrorKind::Masterdown,
                false => ErrorKind::OutcomeUnknown,
            };
            self.tell_failure(client, kind, count);
        }
    }

    /// Answers so many requests with an error.
    pub(super) fn tell_failure(&mut self, client: ClientId, kind: ErrorKind, count: u32) {
        let text = match (&self.servers_words, kind) {
            (Some(words), ErrorKind::Masterdown) => format!("-{words}\r\n"),
            _ => self.error_text(kind),
        };
        self.counters.error_replies[kind.index()] += u64::from(count);
        for _ in 0..count {
            self.write_to_client(client.index, |out| out.extend_from_slice(text.as_bytes()));
        }
        self.answered(client, count);
    }

    /// A read that was under way is not answered any more: nothing of it is kept. Returns who joined it.
    pub(super) fn abandon(&mut self, what: &What) -> Vec<ClientId> {
        let Some(cached) = &mut self.cached else {
            return Vec::new();
        };
        match what {
            What::Flight { flight, .. } => {
                // The entry of its PTTL follows.
                cached.core.arrives(*flight, Tracking::default())
            }
            What::Landing(flight) => cached.core.abandoned(*flight),
            What::Check(check) => cached.core.abandoned(check.flight),
            _ => Vec::new(),
        }
    }

    fn fail_read(&mut self, reader: ClientId) {
        if self.client(reader).is_some() {
            self.tell_failure(reader, ErrorKind::Masterdown, 1);
        }
    }

    /// A client's own link is lost. If the server lives, somebody closed that one connection, and the client's is closed
    /// as Redis would have closed it; if not, the client keeps its connection and what it asked is asked again.
    fn own_link_lost(
        &mut self,
        owner: ClientId,
        link: &Link,
        mut owed: Owed,
        half_sent: bool,
        fate: Fate,
    ) {
        let probe = self.registry.shared(Lane::Tracked, Protocol::Resp3, 0);
        let probe = probe.filter(|probe| self.links[probe.index as usize].is_up());
        let Some(client) = self.client(owner) else {
            return;
        };
        client.own = None;
        let movable = fate == Fate::TakenBack
            && client
                .subscriptions
                .as_ref()
                .is_some_and(|all| !all.is_lost() && !all.is_within_frame());
        if client.raw && !movable || half_sent {
            self.close_after_flush(owner.index, CloseCause::LinkKilled);
            return;
        }
        owed.refused = link.demoted;
        match (fate, probe) {
            (Fate::Told, _) => self.tell_loss(owner, owed),
            // The link that watches the server answers, or is lost as well: both decide.
            (Fate::TakenBack, Some(probe)) if link.is_up() && !link.demoted && !self.in_doubt => {
                self.clients[owner.index as usize].stall = Stall::Verdict;
                self.verdicts.push(Verdict {
                    client: owner,
                    owed,
                });
                self.send_ours(probe, &["PING"], What::Verdict);
            }
            (Fate::TakenBack, _) => self.rewind_own(owner, owed),
        }
    }

    /// The server answers: whoever lost a link lost it to somebody who closed it.
    pub(super) fn server_lives(&mut self) {
        for verdict in std::mem::take(&mut self.verdicts) {
            if self.client(verdict.client).is_some() {
                self.close_after_flush(verdict.client.index, CloseCause::LinkKilled);
            }
        }
    }

    /// The server does not answer: what was asked of it is asked again of whoever is the primary.
    pub(super) fn server_is_gone(&mut self) {
        let told = self.is_draining();
        for Verdict { client, owed } in std::mem::take(&mut self.verdicts) {
            match told {
                true => self.tell_loss(client, owed),
                false => self.rewind_own(client, owed),
            }
        }
    }

    fn tell_loss(&mut self, id: ClientId, owed: Owed) {
        let Some(client) = self.client(id) else {
            return;
        };
        // An EXEC or DISCARD in flight has its own answer below; there is nothing left to be ended.
        let ended = owed.awaited.last().is_some_and(|last| {
            matches!(
                last.what,
                What::Settle(Settle::Exec { .. } | Settle::Discard { .. })
            )
        });
        client.poisoned = (client.held.multi || client.held.watch) && !ended;
        client.forget_held();
        client.lane = None;
        client.stall = Stall::None;
        let upload = client.upload.is_some();
        self.fail_awaited(owed, None);
        if upload {
            self.close_after_flush(id.index, CloseCause::UpstreamLost);
        }
        self.resume.push(id);
    }
}

/// What becomes of those who await something of a link that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// What they asked is asked again.
    TakenBack,
    /// They get an error.
    Told,
}

/// What a client awaited of its own link, which was lost.
#[derive(Debug)]
pub(super) struct Verdict {
    client: ClientId,
    owed: Owed,
}

/// An error and what caused it, in one line.
fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
