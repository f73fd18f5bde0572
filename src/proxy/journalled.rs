//! Acknowledged writes on their way to the journal ([`crate::journal`]): noted when they are sent, added when they are answered, in
//! the turn in which their clients hear of it.
//!
//! A request is added with the bytes that went to the server, a transaction from MULTI to EXEC as one. What an error
//! answers has left nothing. A client with a connection of its own (`Client::raw`) is not followed: it writes like
//! somebody else's.

mod replies;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::command::table::Access;
use crate::config::Config;
use crate::id::LinkId;
use crate::journal::progress::Progress;
use crate::journal::ring::{Bounds, Record, Ring, SINGLE_REPLY_BYTES_MAX};
use crate::journal::samples::{Fate, Inheritance, Sample, Samples};
use crate::journal::{Micros, Seq};
use crate::metrics::JournalCounters;
use crate::resp::value;
use crate::upstream::link::{Ahead, Link, Write, Written};

use super::Proxy;
use super::ahead::{self, Fresh, ServerClock};
use super::durable::Acknowledgement;
use super::looks::Looks;
use super::owed::{Sent, split};
use replies::{Replies, kept_max};

/// The journal as the data path holds it.
pub(super) struct Journalled {
    pub(super) ring: Ring,
    pub(super) samples: Samples,
    progress: Arc<Progress>,
    retain: Micros,
    age_max: Micros,
    /// Writes that were forgotten although no replica is known to have them.
    dropped: u64,
    /// Acknowledged writes whose bytes were not at hand any more.
    missed: u64,
    /// What became of writes that were at risk when the primary changed.
    fate: Fate,
    /// Reads behind writes.
    pub(super) looks: Looks,
    /// What is to be read ahead; none where nothing is.
    pub(super) fresh: Option<Fresh>,
}

impl Journalled {
    /// Makes an empty one; `None` where none is wanted.
    pub(super) fn new(config: &Config, progress: Arc<Progress>) -> Option<Box<Self>> {
        let wanted = &config.journal;
        let bounds = Bounds {
            bytes: wanted.bytes_max,
            records: wanted.records_max,
        };
        wanted.enabled.then(|| {
            Box::new(Self {
                ring: Ring::new(bounds),
                samples: Samples::default(),
                progress,
                retain: wanted.retain.as_micros() as Micros,
                age_max: wanted.age_max.as_micros() as Micros,
                dropped: 0,
                missed: 0,
                fate: Fate::default(),
                looks: Looks::new(wanted.opaque),
                fresh: ahead::is_wanted(config).then(Fresh::default),
            })
        })
    }

    fn add(&mut self, record: &Record<'_>, now: Micros) {
        let oldest = self.ring.oldest();
        self.ring.add(record, now);
        self.count_dropped(oldest);
    }

    fn note_fresh(
        &mut self,
        record: &Record<'_>,
        ahead: &VecDeque<(u64, Ahead)>,
        clock: ServerClock,
    ) {
        if let Some(fresh) = self.fresh.as_mut().filter(|_| !record.is_look) {
            fresh.note(record, ahead.iter().map(|(_, ahead)| ahead), clock);
        }
    }

    /// Counts what was dropped since `oldest` was the oldest.
    fn count_dropped(&mut self, oldest: Seq) {
        let now = self.ring.oldest();
        if now != oldest {
            self.dropped += self.samples.at_risk(oldest, now - 1);
        }
    }

    fn at_risk(&self) -> u64 {
        self.samples.at_risk(self.ring.oldest(), self.ring.newest())
    }

    /// Returns when the oldest write was sent that some replica may lack.
    pub(super) fn oldest_at_risk(&self) -> Option<Micros> {
        let is_at_risk = |(seq, record): &(Seq, Record<'_>)| {
            !record.is_look
                && self
                    .samples
                    .at_risk(*seq, seq + u64::from(record.count) - 1)
                    > 0
        };
        let first = self.ring.from(0).find(is_at_risk);
        first.map(|(_, record)| record.sent_at)
    }

    fn tidy(&mut self, now: Micros) {
        let oldest = self.ring.oldest();
        let (samples, retain, age_max) = (&self.samples, self.retain, self.age_max);
        let confirmed = |first, last| samples.at_risk(first, last) == 0;
        self.ring.tidy(confirmed, retain, age_max, now);
        self.count_dropped(oldest);
    }
}

impl Proxy {
    /// A request that may change data was queued on a link just now: it takes the last so many bytes of its output, and its
    /// reply is the newest that is awaited. `replicated` says whether that waits for replicas.
    #[inline]
    pub(super) fn journal_sent(&mut self, link: LinkId, length: usize, replicated: bool) {
        if self.journal.is_some() {
            let sent_at = self.boot_micros;
            self.links[link.index as usize].note_write(length, sent_at, replicated);
        }
    }

    /// Like [`Proxy::journal_sent`], where the journal is to have other bytes than the link.
    pub(super) fn journal_sent_as(&mut self, link: LinkId, request: &[u8], replicated: bool) {
        if self.journal.is_some() {
            let sent_at = self.boot_micros;
            let target = &mut self.links[link.index as usize];
            target.writes.push_back(Write {
                place: target.asked,
                count: 1,
                sent_at,
                written: Written::Here(request.into()),
                replicated,
                is_look: false,
                fields_last: false,
            });
        }
    }

    /// A write that was not noted when it was sent is answered with this; it is counted if that is no error.
    pub(super) fn journal_answered(
        &mut self,
        link: LinkId,
        sent_at: Micros,
        request: &[u8],
        reply: &[u8],
    ) -> Acknowledgement {
        let database = self.links[link.index as usize].database;
        let fields_last = !self.fields_may_expire(link);
        match value::is_error(reply) {
            true => Acknowledgement::default(),
            false => self.journal_add(database, sent_at, fields_last, [request, reply]),
        }
    }

    /// Adds a write of that instant that has left something, and counts it.
    pub(super) fn journal_add(
        &mut self,
        database: u32,
        sent_at: Micros,
        fields_last: bool,
        [request, reply]: [&[u8]; 2],
    ) -> Acknowledgement {
        let Some(journal) = &mut self.journal else {
            return Acknowledgement::default();
        };
        let before = journal.ring.newest();
        let record = Record {
            sent_at,
            database,
            count: 1,
            request,
            reply,
            whole: true,
            is_look: false,
            fields_last,
        };
        journal.add(&record, self.boot_micros);
        Acknowledgement {
            added: journal.ring.newest() - before,
            missed: 0,
        }
    }

    /// EXEC of a client's transaction was queued on its own link just now.
    pub(super) fn journal_exec_sent(&mut self, client: u32, link: LinkId, exec: &[u8]) {
        const LOST: &[u8] = b"";
        let Some(transcript) = &self.clients[client as usize].transcript else {
            return;
        };
        if self.journal.is_none() {
            return;
        }
        if transcript.cut {
            // More than is remembered: its bytes are nowhere.
            return self.journal_sent_as(link, LOST, self.may_be_replicated());
        }
        let block = [&transcript.bytes[..], exec].concat();
        let requests = split(&block, 0);
        if self.holds_writes(&requests) {
            let replicated = self.is_block_replicated(&requests);
            self.journal_sent_as(link, &block, replicated);
            self.note_block_looks(link, &requests);
        }
    }

    /// Tells whether one of these requests may change data.
    pub(super) fn holds_writes(&self, requests: &[Sent<'_>]) -> bool {
        let writes = |name: &[u8]| self.table.find(name).access == Access::Write;
        requests.iter().any(|request| writes(request.name()))
    }

    /// So many whole replies of a link have come, and are about to be counted as given: writes among them are added to the
    /// journal, and counted. `begins` says whether the bytes begin with a reply, and not in the middle of one.
    #[inline]
    pub(super) fn journal_replies(
        &mut self,
        index: u32,
        frames: u32,
        bytes: &[u8],
        begins: bool,
    ) -> Acknowledgement {
        self.journal_run(index, frames, bytes, begins, true)
    }

    /// Like [`Proxy::journal_replies`], of replies to looks; `errors` says whether there are any among them.
    pub(super) fn journal_looks(
        &mut self,
        index: u32,
        frames: u32,
        bytes: &[u8],
        begins: bool,
        errors: bool,
    ) {
        self.journal_run(index, frames, bytes, begins, errors);
    }

    #[inline]
    fn journal_run(
        &mut self,
        index: u32,
        frames: u32,
        bytes: &[u8],
        begins: bool,
        may_err: bool,
    ) -> Acknowledgement {
        let link = &mut self.links[index as usize];
        let last = link.replied + u64::from(frames);
        let (Some(journal), Some(front)) = (&mut self.journal, link.writes.front()) else {
            return Acknowledgement::default();
        };
        if front.place > last {
            return Acknowledgement::default();
        }
        let (added, missed) = (journal.ring.newest(), journal.missed);
        let replies = Replies {
            next: link.replied + 1,
            last,
            bytes,
            begins,
            may_err,
        };
        journal.take(link, replies, self.boot_micros);
        Acknowledgement {
            added: journal.ring.newest() - added,
            missed: journal.missed - missed,
        }
    }

    /// Returns what is remembered: requests, words between blanks, and how their replies begin; and whether each is a look.
    #[cfg(test)]
    pub fn remembered(&self) -> Vec<(bool, String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let shown = |record: Record<'_>| -> Vec<(bool, String, String)> {
            let is_look = record.is_look;
            let requests = split(record.request, 0);
            let line = |request: &Sent<'_>| text(&request.line().join(&b' '));
            let lines: Vec<String> = requests.iter().map(line).collect();
            if record.count == 1 {
                return vec![(is_look, lines.join("; "), text(record.reply))];
            }
            let mut replies = Replies {
                next: 1,
                last: u64::from(record.count),
                bytes: record.reply,
                begins: true,
                may_err: true,
            };
            assert_eq!(lines.len(), record.count as usize);
            let each = (1..).zip(lines);
            each.map(|(place, line)| (is_look, line, text(replies.to(place))))
                .collect()
        };
        let journal = self.journal.as_ref().expect("there is a journal");
        let records = journal.ring.from(0);
        records.flat_map(|(_, record)| shown(record)).collect()
    }

    /// Another primary: what was sent before is no matter of its replicas, and it may lack some of it.
    pub fn begin_era(&mut self, generation: u64, inheritance: Option<&Inheritance>) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        let (next, oldest) = (journal.ring.newest() + 1, journal.ring.oldest());
        let fate = journal.samples.begin(generation, next, oldest, inheritance);
        journal.progress.begin(generation);
        journal.fate.inherited += fate.inherited;
        journal.fate.in_doubt += fate.in_doubt;
        let Fate {
            inherited,
            in_doubt,
        } = fate;
        // In doubt is not lost: what a replica had received between the last sample and the end is unknown.
        tracing::info!(inherited, in_doubt, "acknowledged writes at the switch");
        self.begin_waits(generation);
    }

    /// The same primary, under another address.
    pub fn rename_era(&mut self, generation: u64) {
        if let Some(journal) = &mut self.journal {
            let before = journal.samples.generation();
            journal.samples.rename(generation);
            journal.progress.begin(generation);
            if let Some(durability) = &mut self.durability {
                durability.waits.rename(before, generation);
            }
        }
    }

    /// The same primary with the same data, whose history has another name now.
    pub fn rename_history(&mut self, replid: Arc<str>) {
        if let Some(journal) = &mut self.journal {
            journal.samples.rename_history(replid);
        }
    }

    /// Takes in how far the replicas are.
    pub fn sampled(&mut self, sample: Sample) {
        let (generation, replicated) = (sample.generation, sample.replicated);
        if let Some(journal) = &mut self.journal
            && journal.samples.take(sample)
        {
            self.note_replicated(generation, replicated);
        }
    }

    /// Tells whether any write is remembered.
    pub fn remembers(&self) -> bool {
        let journal = self.journal.as_ref();
        journal.is_some_and(|journal| !journal.ring.is_empty())
    }

    /// Tells the control thread how far the journal has come, at the end of a turn.
    #[inline]
    pub fn publish_journal(&mut self) {
        if let Some(journal) = &self.journal {
            journal
                .progress
                .publish(journal.ring.newest(), journal.at_risk());
            // Behind the records that it is about.
            if let Some(durability) = &mut self.durability {
                let ticket = durability.waits.publish();
                let waits = !durability.waits.is_empty();
                journal.progress.publish_waits(ticket, waits);
            }
        }
    }

    /// Forgets what is done with, some times a second, and counts what is there.
    pub fn keep_journal_up(&mut self) {
        self.look_at_clock();
        let now = self.boot_micros;
        if let Some(journal) = &mut self.journal {
            journal.tidy(now);
            let oldest = journal.ring.oldest_at();
            self.counters.journal = JournalCounters {
                added: journal.ring.newest(),
                dropped: journal.dropped,
                missed: journal.missed,
                opaque: journal.looks.counts,
                inherited: journal.fate.inherited,
                in_doubt: journal.fate.in_doubt,
                records: journal.ring.len() as u64,
                bytes: journal.ring.bytes() as u64,
                oldest_ms: oldest.map_or(0, |at| now.saturating_sub(at) / 1_000),
                at_risk: journal.at_risk() + self.acknowledging.kept.writes(),
            };
        }
    }
}

impl Journalled {
    /// Adds the writes of a link to which replies have come.
    fn take(&mut self, link: &mut Link, mut replies: Replies<'_>, now: Micros) {
        while let Some(write) = link.writes.front_mut()
            && write.place <= replies.last
        {
            let bytes = match &write.written {
                Written::There { start, end } => link.output.between(*start, *end),
                Written::Here(request) => Some(&request[..]),
            };
            let bytes = bytes.unwrap_or_default();
            let record = |request, count| Record {
                sent_at: write.sent_at,
                database: link.database,
                count,
                request,
                reply: b"",
                whole: false,
                is_look: write.is_look,
                fields_last: write.fields_last,
            };
            if replies.are_those_to(write) && !bytes.is_empty() {
                // The usual case, in one piece.
                let record = Record {
                    reply: replies.bytes,
                    whole: true,
                    ..record(bytes, write.count)
                };
                self.add(&record, now);
                self.note_fresh(&record, &link.foreseen, link.probing.clock);
                link.writes.pop_front();
                return;
            }
            let request = match write.count {
                1 => bytes,
                _ => Sent::read(bytes, 0).map_or(&b""[..], |request| request.bytes),
            };
            let reply = replies.to(write.place);
            let kept = &reply[..reply.len().min(kept_max(write).max(SINGLE_REPLY_BYTES_MAX))];
            let whole = !reply.is_empty() && kept.len() == reply.len();
            if write.is_look && (request.is_empty() || !whole) {
                // It tells nothing.
            } else if request.is_empty() {
                self.missed += 1;
            } else if !value::is_error(reply) {
                let record = Record {
                    reply: kept,
                    whole,
                    ..record(request, 1)
                };
                self.add(&record, now);
                self.note_fresh(&record, &link.foreseen, link.probing.clock);
            }
            let length = request.len() as u64;
            match (&mut write.written, write.count) {
                (Written::There { start, .. }, 2..) => {
                    *start += length;
                    write.place += 1;
                    write.count -= 1;
                }
                _ => drop(link.writes.pop_front()),
            }
        }
    }
}
