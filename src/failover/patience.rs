//! What applications wait for a reply, against what an election takes: pure.
//!
//! Source: their defaults, and what each made of replies that came late: redis-rs `AsyncConnectionConfig`, ActiveSupport's
//! `RedisCacheStore`, redis-py and redis-rb.

use std::time::Duration;

use crate::config::{Hold, Writes};

/// What a promotion takes, besides the time after which the Sentinels take a primary for down.
const ELECTION: Duration = Duration::from_secs(1);

/// What libraries wait for a reply where nothing else is asked of them, the most hasty first.
const LIBRARIES: [(&str, Duration); 3] = [
    ("redis-rs from 1.0", Duration::from_millis(500)),
    ("Rails' cache store", Duration::from_secs(1)),
    (
        "redis-py as Django and Flask-Session use it, and redis-rack",
        Duration::from_secs(5),
    ),
];

/// Says whose time-outs are shorter than a failover, and what to do; `None` where nobody's are.
pub fn advice(down_after: Duration, hold: &Hold) -> Option<String> {
    let election = down_after + ELECTION;
    let hasty = |limit: Duration| {
        let hasty = LIBRARIES.iter().filter(move |(_, waits)| *waits <= limit);
        let hasty = hasty.map(|(name, waits)| format!("{name} ({} s)", waits.as_secs_f64()));
        hasty.collect::<Vec<_>>().join(", ")
    };
    let seconds = election.as_secs_f64();
    match hold.writes {
        Writes::Wait if !hasty(election).is_empty() => Some(format!(
            "a failover takes about {seconds} s, and these wait for less by default: {}. Raise their time-outs, lower the \
             Sentinels' down-after-milliseconds, or set hold.writes: acknowledge",
            hasty(election)
        )),
        Writes::Acknowledge if !hasty(hold.acknowledge_after).is_empty() => Some(format!(
            "hold.acknowledge_after_ms is {} ms, and these wait for no longer by default: {}. Lower it, or raise their time-outs",
            hold.acknowledge_after.as_millis(),
            hasty(hold.acknowledge_after)
        )),
        Writes::Acknowledge if !hasty(election).is_empty() => Some(format!(
            "a failover takes about {seconds} s: writes whose reply is known are acknowledged meanwhile, what else is asked may \
             take too long for: {}",
            hasty(election)
        )),
        Writes::Wait | Writes::Acknowledge => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(down_after_ms: u64, writes: Writes, acknowledge_after_ms: u64) -> String {
        let hold = Hold {
            writes,
            acknowledge_after: Duration::from_millis(acknowledge_after_ms),
            ..Hold::default()
        };
        advice(Duration::from_millis(down_after_ms), &hold).unwrap_or_default()
    }

    #[test]
    fn it_names_who_gives_up_before_there_is_a_primary() {
        let all = said(30_000, Writes::Wait, 250);
        assert!(
            all.contains("31 s") && all.contains("redis-rack (5 s)"),
            "{all}"
        );
        let some = said(1_000, Writes::Wait, 250);
        assert!(
            some.contains("redis-rs from 1.0 (0.5 s), Rails' cache store (1 s). "),
            "{some}"
        );
        assert!(some.contains("hold.writes: acknowledge"), "{some}");
    }

    #[test]
    fn with_writes_acknowledged_it_is_said_what_still_waits_or_is_set_too_long() {
        let rest = said(3_000, Writes::Acknowledge, 250);
        assert!(rest.contains("what else is asked"), "{rest}");
        let late = said(3_000, Writes::Acknowledge, 500);
        assert!(
            late.contains("is 500 ms") && late.contains("0.5 s"),
            "{late}"
        );
        assert!(!late.contains("Rails"), "{late}");
    }
}
