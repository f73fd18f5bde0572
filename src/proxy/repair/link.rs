//! The link over which a primary is joined and repaired: what is asked over it, and what is answered.

use crate::id::{ClientId, LinkId};
use crate::repair::marks::AppWrite;
use crate::repair::script::Cause as Opening;
use crate::repair::stamp::Stamp;
use crate::resp::{Protocol, encode};
use crate::upstream::connect::Profile;
use crate::upstream::link::{Lane, RepairAsk, What};
use crate::upstream::registry::Health;

use super::{Arrival, FORGET_MS, RETRY, Stage, Wanted};
use crate::proxy::Proxy;

impl Proxy {
    /// Opens the link where there is none, and its time has come.
    pub(in crate::proxy) fn keep_repair_link(&mut self) {
        let (now, may_dial) = (self.now, self.may_dial());
        let Some(repairing) = &mut self.repairing else {
            return;
        };
        let is_wanted = repairing.link.is_none() && repairing.due.dial <= now;
        if !is_wanted || self.registry.health != Health::Up || !may_dial {
            return;
        }
        repairing.due.dial = now + RETRY;
        let profile = Profile {
            protocol: Protocol::Resp3,
            database: 0,
            run_id: self.run_id.clone(),
            replica: false,
            name: Some("gripfast-repair"),
        };
        let link = self.open(Lane::Repair, profile);
        if let Some(repairing) = &mut self.repairing {
            repairing.link = Some(link);
            repairing.selected = 0;
            repairing.is_loaded = false;
            repairing.is_asking = true;
            repairing.unanswered = 0;
            repairing.clock_asked = 0;
        }
        self.greet_repair(link);
    }

    /// The first words on the link: the script that marks, so that it is there, and the clock.
    fn greet_repair(&mut self, link: LinkId) {
        self.load_mark_script(link);
        self.ask_clock(link);
    }

    /// Asks for the time: one question after the other, so that a pause of this process, or of the network, spoils one alone.
    pub(super) fn ask_clock(&mut self, link: LinkId) {
        self.look_at_clock();
        let sent_at = self.boot_micros;
        self.ask_repair(link, RepairAsk::Time { sent_at }, |out| {
            encode::request(out, &["TIME"]);
        });
    }

    /// Asks whose history the primary has.
    pub(super) fn ask_lineage(&mut self, link: LinkId) {
        self.ask_repair(link, RepairAsk::Lineage, |out| {
            encode::request(out, &["INFO", "replication"]);
        });
    }

    /// Has the server know the script that marks: it is called by its name, in transactions, where it would be too late to learn
    /// that it is not there.
    fn load_mark_script(&mut self, link: LinkId) {
        let Some(repairing) = &self.repairing else {
            return;
        };
        let names = repairing.names.clone();
        self.ask_repair(link, RepairAsk::Loaded, |out| {
            names.mark(0, &[], &AppWrite::Value, Stamp(0)).by_body(out);
        });
    }

    /// The script that marks was not there.
    pub(in crate::proxy) fn reload_mark_script(&mut self) {
        let link = self.repairing.as_ref().and_then(|repairing| repairing.link);
        if let Some(link) = link {
            self.load_mark_script(link);
        }
    }

    pub(super) fn ask_repair(
        &mut self,
        link: LinkId,
        ask: RepairAsk,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let target = &mut self.links[link.index as usize];
        write(target.output.writer(&mut self.pool));
        target.expect(ClientId::NOBODY, What::Repair(ask));
        self.touch_link(link);
    }

    /// A script of ours about round and peers.
    pub(super) fn ask_round(&mut self, link: LinkId, call: impl FnOnce(&Self, &mut Vec<u8>)) {
        let mut request = Vec::new();
        call(self, &mut request);
        self.select_repair(link, 0);
        if let Some(repairing) = &mut self.repairing {
            repairing.is_asking = true;
        }
        self.ask_repair(link, RepairAsk::Round, |out| {
            out.extend_from_slice(&request)
        });
    }

    /// What is asked next over the link is asked of that database.
    pub(super) fn select_repair(&mut self, link: LinkId, database: u32) {
        let Some(repairing) = &mut self.repairing else {
            return;
        };
        if std::mem::replace(&mut repairing.selected, database) == database {
            return;
        }
        let database = database.to_string();
        self.ask_repair(link, RepairAsk::Loaded, |out| {
            encode::request(out, &["SELECT", &database]);
        });
    }

    /// The link is lost, or could not be opened.
    pub(in crate::proxy) fn repair_link_gone(&mut self, link: LinkId) {
        let now = self.now;
        let Some(repairing) = &mut self.repairing else {
            return;
        };
        if repairing.link != Some(link) {
            return;
        }
        repairing.link = None;
        repairing.due.dial = now + RETRY;
        repairing.unanswered = 0;
        // It may not have arrived.
        repairing.has_checked = false;
        for (id, work) in &mut repairing.works {
            if std::mem::take(&mut work.is_sent) {
                repairing.order.push_front(id.clone());
            }
        }
        // Whether somebody has put their keys back is not asked again.
        if matches!(repairing.stage, Stage::Idle) && !repairing.pending.is_empty() {
            self.end_account();
        }
    }

    pub(super) fn write_opening(&self, out: &mut Vec<u8>) {
        let Some(repairing) = &self.repairing else {
            return;
        };
        match (&repairing.stage, repairing.arrival) {
            (Stage::Idle, _) | (_, Arrival::First) => {
                repairing.names.beat(&repairing.id, FORGET_MS).by_body(out);
            }
            (_, Arrival::Returned { opens: false, .. }) if !repairing.reopens => {
                repairing.names.look().by_body(out);
            }
            (_, arrival @ (Arrival::Switched { .. } | Arrival::Returned { .. })) => {
                let cause = match arrival.is_return() || repairing.reopens {
                    true => Opening::Returned,
                    false => Opening::Switched,
                };
                let window = repairing.window_ms(self.failover.deadline());
                let databases = self.databases_in_use();
                let names = &repairing.names;
                names
                    .open(
                        &repairing.history,
                        cause,
                        window,
                        repairing.horizon(),
                        &databases,
                    )
                    .by_body(out);
            }
        }
    }

    /// Databases that may have marks, as far as this sidecar knows.
    pub(super) fn databases_in_use(&self) -> Vec<u32> {
        let known = (0..).zip(&self.known_databases);
        known
            .filter_map(|(database, is_known)| is_known.then_some(database))
            .collect()
    }

    /// Asks for what is due, where nothing is being asked.
    pub(in crate::proxy) fn ask_what_is_due(&mut self) {
        let now = self.now;
        let Some(repairing) = &mut self.repairing else {
            return;
        };
        let (Some(link), false) = (repairing.link, repairing.is_asking) else {
            return;
        };
        let Some(wanted) = repairing.take_due(now) else {
            return;
        };
        self.ask_round(link, |proxy, out| proxy.write_wanted(wanted, out));
    }

    fn write_wanted(&self, wanted: Wanted, out: &mut Vec<u8>) {
        let Some(repairing) = &self.repairing else {
            return;
        };
        let names = &repairing.names;
        let databases = self.databases_in_use();
        match wanted {
            Wanted::Check => names.checked(&repairing.id, repairing.round, &databases),
            Wanted::Report => names.report(&repairing.id, repairing.round, &databases),
            Wanted::Look => names.look(),
            Wanted::Beat => names.beat(&repairing.id, FORGET_MS),
        }
        .by_body(out);
    }

    /// Asks again over another link, a moment later.
    pub(super) fn leave_repair_link(&mut self) {
        let link = self.repairing.as_ref().and_then(|it| it.link);
        // Not at once: an answer of it is being read.
        self.condemned.extend(link);
        if let Some(link) = link {
            self.repair_link_gone(link);
        }
    }
}
