//! Acknowledged writes whose replies wait until so many replicas have them, in groups: pure.
//!
//! What is acknowledged in one turn of the loop is a group, and has one *ticket*; one replication barrier is enough for all groups up
//! to the newest one when it was asked for.
//!
//! # Why a barrier proves it
//! A write stands in the primary's stream before it is acknowledged, and a group's ticket is published after that. So a barrier that
//! is asked for with that ticket in hand stands behind the write in the same stream, and whoever has acknowledged the barrier has
//! the write. It proves nothing of another primary's writes: a group waits for barriers of the primary that acknowledged it.
//!
//! # Another primary
//! A group that the other primary is known to have inherited is its own from there on: its replicas have what it began with. What is
//! in doubt is known to be nowhere; it waits until it has been put back ([`Waits::put_back`]), or its time is over.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Seq;
use crate::id::ClientId;
use crate::outbox::Ticket;

/// Replies that wait together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What its replies are marked with.
    pub ticket: Ticket,
    /// The ticket that a barrier must cover.
    behind: Ticket,
    /// The era of the primary that has it.
    generation: u64,
    /// Its oldest and its newest record; `None` where one of its writes is in no record, or none that can be put back.
    records: Option<(Seq, Seq)>,
    /// Since when it waits.
    pub since: Duration,
    /// How many writes it is.
    pub writes: u64,
    /// Whose they are.
    pub who: Vec<ClientId>,
}

/// All groups that wait.
#[derive(Debug)]
pub struct Waits {
    groups: VecDeque<Group>,
    /// The newest ticket that is published; the next group has the one behind it.
    published: Ticket,
    /// The newest ticket that somebody waits for.
    newest: Ticket,
    timeout: Duration,
}

impl Waits {
    /// Makes it empty; nothing waits longer than `timeout`.
    pub fn new(timeout: Duration) -> Self {
        Self {
            groups: VecDeque::new(),
            published: 0,
            newest: 0,
            timeout,
        }
    }

    /// So many writes of a client were acknowledged by the primary of this era: they wait with this turn's group, whose ticket is
    /// returned. `newest` is the record of the last, if each is in one; the others' stand right before it.
    pub fn join(
        &mut self,
        who: ClientId,
        writes: u64,
        generation: u64,
        newest: Option<Seq>,
        now: Duration,
    ) -> Ticket {
        let ticket = self.published + 1;
        self.newest = ticket;
        let records = newest.map(|newest| ((newest + 1).saturating_sub(writes), newest));
        match self
            .groups
            .back_mut()
            .filter(|group| group.ticket == ticket)
        {
            Some(group) => {
                group.writes += writes;
                let both = group.records.zip(records);
                group.records =
                    both.map(|(before, new)| (before.0.min(new.0), before.1.max(new.1)));
                if group.who.last() != Some(&who) {
                    group.who.push(who);
                }
            }
            None => self.groups.push_back(Group {
                ticket,
                behind: ticket,
                generation,
                records,
                since: now,
                writes,
                who: vec![who],
            }),
        }
        ticket
    }

    /// Ends this turn's group, and returns the newest ticket that a barrier may be asked for with; 0 before the first.
    pub fn publish(&mut self) -> Ticket {
        self.published = self.newest;
        self.published
    }

    /// Tells whether anything waits.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Returns how many writes wait.
    pub fn writes(&self) -> u64 {
        self.groups.iter().map(|group| group.writes).sum()
    }

    /// Takes what waits no more: so many replicas of this era's primary have all up to this ticket.
    pub fn replicated(&mut self, generation: u64, up_to: Ticket) -> Vec<Group> {
        self.take(|group| group.generation == generation && group.behind <= up_to)
    }

    /// Takes what has waited too long.
    pub fn overdue(&mut self, now: Duration) -> Vec<Group> {
        let timeout = self.timeout;
        match self.next_due() {
            Some(due) if due <= now => self.take(|group| group.since + timeout <= now),
            Some(_) | None => Vec::new(),
        }
    }

    /// Tells when the next has waited too long.
    pub fn next_due(&self) -> Option<Duration> {
        self.groups.front().map(|group| group.since + self.timeout)
    }

    /// Another primary: it has the records of which `has` says so, and they are its own from here on.
    pub fn begin(&mut self, generation: u64, has: impl Fn(Seq) -> bool) {
        for group in &mut self.groups {
            if group.records.is_some_and(|(_, newest)| has(newest)) {
                group.generation = generation;
            }
        }
    }

    /// The same primary, under another number.
    pub fn rename(&mut self, from: u64, to: u64) {
        for group in &mut self.groups {
            if group.generation == from {
                group.generation = to;
            }
        }
    }

    /// All of these records that were in doubt are at the primary of this era, as of now: a barrier that is asked for later
    /// covers them.
    pub fn put_back(&mut self, records: &RangeInclusive<Seq>, generation: u64) {
        let next = self.published + 1;
        let is_back =
            |(oldest, newest): (Seq, Seq)| records.contains(&oldest) && records.contains(&newest);
        let in_doubt = |group: &&mut Group| {
            group.generation != generation && group.records.is_some_and(is_back)
        };
        for group in self.groups.iter_mut().filter(in_doubt) {
            group.generation = generation;
            group.behind = next;
            self.newest = next;
        }
    }

    /// What is in doubt will not be put back on the primary of this era: nothing but its time-out ends its wait.
    pub fn give_up(&mut self, generation: u64) {
        let in_doubt = |group: &&mut Group| group.generation != generation;
        for group in self.groups.iter_mut().filter(in_doubt) {
            group.records = None;
        }
    }

    fn take(&mut self, is_done: impl Fn(&Group) -> bool) -> Vec<Group> {
        let (mut done, mut left) = (Vec::new(), VecDeque::new());
        for group in self.groups.drain(..) {
            match is_done(&group) {
                true => done.push(group),
                false => left.push_back(group),
            }
        }
        self.groups = left;
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(1000);

    fn client(index: u32) -> ClientId {
        ClientId { index, serial: 1 }
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// One write of client `who`, with the record of that number, in an era.
    fn join(waits: &mut Waits, who: u32, generation: u64, record: Seq, at: u64) -> Ticket {
        waits.join(client(who), 1, generation, Some(record), ms(at))
    }

    fn tickets(groups: &[Group]) -> Vec<Ticket> {
        groups.iter().map(|group| group.ticket).collect()
    }

    #[test]
    fn what_is_acknowledged_in_one_turn_is_one_group_and_one_barrier_is_enough_for_all_before_it() {
        let mut waits = Waits::new(TIMEOUT);
        assert_eq!(waits.publish(), 0);
        assert_eq!(join(&mut waits, 1, 0, 1, 0), 1);
        assert_eq!(join(&mut waits, 2, 0, 2, 0), 1);
        assert_eq!(join(&mut waits, 2, 0, 3, 0), 1);
        assert_eq!(waits.publish(), 1);
        assert_eq!(join(&mut waits, 1, 0, 4, 1), 2);
        assert_eq!((waits.publish(), waits.writes()), (2, 4));
        assert_eq!(join(&mut waits, 3, 0, 5, 2), 3);
        assert!(waits.replicated(0, 0).is_empty());
        assert!(waits.replicated(1, 9).is_empty(), "another primary's");
        let done = waits.replicated(0, 2);
        assert_eq!(tickets(&done), [1, 2]);
        assert_eq!(done[0].who, [client(1), client(2)]);
        assert_eq!((done[0].writes, waits.writes()), (3, 1));
        assert_eq!(waits.publish(), 3);
        assert_eq!(tickets(&waits.replicated(0, 3)), [3]);
        assert!(waits.is_empty());
        assert_eq!(waits.publish(), 3, "nothing new");
    }

    #[test]
    fn nothing_waits_for_ever() {
        let mut waits = Waits::new(TIMEOUT);
        assert_eq!(waits.next_due(), None);
        for at in [0, 10, 20] {
            join(&mut waits, 1, 0, at, at);
            waits.publish();
        }
        assert_eq!(waits.next_due(), Some(ms(1000)));
        assert!(waits.overdue(ms(999)).is_empty());
        assert_eq!(tickets(&waits.overdue(ms(1010))), [1, 2]);
        assert_eq!(waits.next_due(), Some(ms(1020)));
    }

    #[test]
    fn what_another_primary_inherited_waits_for_its_replicas_and_what_is_in_doubt_for_its_repair() {
        let mut waits = Waits::new(TIMEOUT);
        for (who, record) in [(1, 5), (2, 8)] {
            join(&mut waits, who, 0, record, 0);
            waits.publish();
        }
        waits.join(client(3), 1, 0, None, ms(0));
        waits.publish();
        waits.begin(1, |record| record <= 6);
        assert_eq!(join(&mut waits, 4, 1, 9, 1), 4);
        assert_eq!(waits.publish(), 4);
        assert_eq!(tickets(&waits.replicated(1, 4)), [1, 4]);
        // A barrier that was asked for before covers nothing of what is put back.
        waits.put_back(&(9..=9), 1);
        waits.put_back(&(8..=8), 1);
        assert!(waits.replicated(1, 4).is_empty());
        assert_eq!(waits.publish(), 5);
        assert_eq!(tickets(&waits.replicated(1, 5)), [2]);
        assert_eq!(join(&mut waits, 4, 1, 10, 1), 6, "a ticket of its own");
        assert_eq!(
            tickets(&waits.overdue(ms(1000))),
            [3],
            "no record, no repair"
        );
    }

    #[test]
    fn what_is_put_back_by_halves_or_given_up_waits_for_its_time_out() {
        let mut waits = Waits::new(TIMEOUT);
        waits.join(client(1), 2, 0, Some(5), ms(0));
        waits.publish();
        join(&mut waits, 2, 0, 6, 0);
        waits.publish();
        waits.begin(1, |_| false);
        waits.put_back(&(5..=6), 1);
        assert_eq!(waits.publish(), 3);
        assert_eq!(tickets(&waits.replicated(1, 3)), [2], "4 is not there");
        waits.give_up(1);
        waits.put_back(&(4..=6), 1);
        waits.begin(2, |_| true);
        assert!(waits.replicated(1, 9).is_empty() && waits.replicated(2, 9).is_empty());
        assert_eq!(tickets(&waits.overdue(ms(1000))), [1]);
    }

    #[test]
    fn the_same_primary_under_another_number_goes_on() {
        let mut waits = Waits::new(TIMEOUT);
        join(&mut waits, 1, 3, 1, 0);
        waits.publish();
        waits.rename(3, 4);
        assert_eq!(tickets(&waits.replicated(4, 1)), [1]);
    }
}
