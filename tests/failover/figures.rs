//! What a scenario cost, in figures: one row of the table.

use std::io::Write as _;
use std::time::Duration;

use serde_json::json;

use super::checker::Verdict;
use super::history::{Asked, Event, Got};
use super::workload::{PUBLISHER, READER, SUBSCRIBER, TOUCHERS};

/// One row.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) scenario: String,
    pub(crate) server: String,
    pub(crate) errors: usize,
    pub(crate) unknown: usize,
    pub(crate) closed: usize,
    pub(crate) lost: usize,
    /// The longest time in which no write of a session was acknowledged.
    pub(crate) write_gap: Duration,
    /// Messages published after that gap, and how many of them the subscriber got.
    pub(crate) heard: (usize, usize),
    /// From the fault to the promotion, as ROLE shows it at the replica.
    pub(crate) election: Option<Duration>,
    /// From the promotion to the first write that was sent afterwards, or was waiting, and was acknowledged.
    pub(crate) ours: Option<Duration>,
    /// 99% of the reads, and of the read-and-touch pairs' parts, during the hold took no longer.
    pub(crate) read_p99: Duration,
    pub(crate) touch_p99: Duration,
    /// How many of them there were.
    pub(crate) reads: usize,
    /// How much later than asked for a thread was woken meanwhile, 99% of the times and at worst: the machine's own part.
    pub(crate) stall_p99: Duration,
    pub(crate) stall_max: Duration,
}

/// When what happened, by the history's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) fault: Duration,
    pub(crate) promotion: Option<Duration>,
}

impl Figures {
    pub(crate) fn of(
        scenario: &str,
        server: &str,
        events: &[Event],
        verdict: &Verdict,
        times: Times,
        stalls: &[(Duration, Duration)],
    ) -> Self {
        let writes = acknowledged(events, times.fault);
        let (gap_start, write_gap) = longest_gap(&writes);
        let ours = times.promotion.and_then(|promotion| {
            let first = writes.iter().find(|write| write.1 > promotion)?;
            Some(first.1 - promotion)
        });
        let during = (gap_start, gap_start + write_gap);
        let (read_p99, reads) = p99(events, &[READER], during);
        let (touch_p99, _) = p99(events, &TOUCHERS, during);
        // What was woken late may have been due before the gap's end.
        let mut late: Vec<Duration> = stalls
            .iter()
            .filter(|(at, late)| *at >= during.0 && at.saturating_sub(*late) <= during.1)
            .map(|(_, late)| *late)
            .collect();
        late.sort();
        let stall_p99 = at_99(&late);
        Self {
            scenario: scenario.to_owned(),
            server: server.to_owned(),
            errors: verdict.errors.len(),
            unknown: verdict.unknown,
            closed: verdict.closed,
            lost: verdict.lost.len(),
            write_gap,
            heard: heard_after(events, during.1),
            election: times.promotion.map(|at| at.saturating_sub(times.fault)),
            ours,
            read_p99,
            touch_p99,
            reads,
            stall_p99,
            stall_max: late.last().copied().unwrap_or_default(),
        }
    }

    /// One line of JSON.
    pub(crate) fn line(&self) -> String {
        let ms = |time: Duration| (time.as_secs_f64() * 10_000.0).round() / 10.0;
        json!({
            "scenario": self.scenario,
            "server": self.server,
            "errors": self.errors,
            "unknown": self.unknown,
            "closed": self.closed,
            "lost": self.lost,
            "write_gap_ms": ms(self.write_gap),
            "election_ms": self.election.map(ms),
            "ours_ms": self.ours.map(ms),
            "read_p99_ms": ms(self.read_p99),
            "touch_p99_ms": ms(self.touch_p99),
            "reads": self.reads,
            "stall_p99_ms": ms(self.stall_p99),
            "stall_max_ms": ms(self.stall_max),
        })
        .to_string()
    }

    /// Writes the row where `chaos/run` looks for it, and shows it.
    pub(crate) fn publish(&self) {
        let line = self.line();
        eprintln!("figures: {line}");
        if let Ok(path) = std::env::var("GRIPFAST_FIGURES") {
            // Appended in one write: scenarios run side by side.
            let mut options = std::fs::OpenOptions::new();
            let file = options.append(true).create(true).open(&path);
            file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
                .expect("the figures can be written");
        }
    }
}

/// How many messages were published after a time, and how many of those the subscriber got.
pub(crate) fn heard_after(events: &[Event], end: Duration) -> (usize, usize) {
    let published: Vec<i64> = events
        .iter()
        .filter(|event| event.client == PUBLISHER && event.from > end)
        .filter_map(|event| match (&event.asked, &event.got) {
            (Asked::Publish { value }, Got::Number(_)) => value.parse().ok(),
            _ => None,
        })
        .collect();
    let heard = events.iter().filter(|event| {
        event.client == SUBSCRIBER
            && matches!(&event.got, Got::Number(number) if published.contains(number))
    });
    (published.len(), heard.count())
}

/// Acknowledged writes of sessions that ended after a time: from, until.
fn acknowledged(events: &[Event], after: Duration) -> Vec<(Duration, Duration)> {
    let is_write = |event: &&Event| {
        matches!(event.asked, Asked::Write { .. } | Asked::Logout { .. })
            && event.got == Got::Done
            && event.until >= after
    };
    let mut writes: Vec<_> = events
        .iter()
        .filter(is_write)
        .map(|event| (event.from, event.until))
        .collect();
    writes.sort_by_key(|write| write.1);
    writes
}

/// The longest time between two acknowledged writes: since when, and how long.
fn longest_gap(writes: &[(Duration, Duration)]) -> (Duration, Duration) {
    writes
        .windows(2)
        .map(|pair| (pair[0].1, pair[1].1 - pair[0].1))
        .max_by_key(|(_, gap)| *gap)
        .unwrap_or_default()
}

fn p99(
    events: &[Event],
    clients: &[usize],
    (from, until): (Duration, Duration),
) -> (Duration, usize) {
    let mut times: Vec<Duration> = events
        .iter()
        .filter(|event| clients.contains(&event.client) && (from..until).contains(&event.from))
        .map(|event| event.until - event.from)
        .collect();
    times.sort();
    (at_99(&times), times.len())
}

/// Returns the one of sorted times that 99% do not exceed.
fn at_99(times: &[Duration]) -> Duration {
    let place = (times.len() * 99).div_ceil(100).saturating_sub(1);
    times.get(place).copied().unwrap_or_default()
}

mod can_fail {
    use super::*;

    #[test]
    fn a_subscription_that_went_silent_is_seen() {
        let at = Duration::from_secs;
        let message = |client, value: &str, number, from| Event {
            client,
            asked: Asked::Publish {
                value: value.into(),
            },
            got: Got::Number(number),
            from: at(from),
            until: at(from),
        };
        let mut events = vec![
            message(PUBLISHER, "1", 1, 1),
            message(SUBSCRIBER, "news", 1, 1),
            message(PUBLISHER, "2", 0, 5),
        ];
        assert_eq!(heard_after(&events, at(3)), (1, 0));
        events.push(message(SUBSCRIBER, "news", 2, 5));
        assert_eq!(heard_after(&events, at(3)), (1, 1));
    }
}
