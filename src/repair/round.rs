//! The round: what all sidecars share about one switch, and who has still to report.
//!
//! Its hash stays when the round is closed, some hundred bytes, for as long as a sidecar gives heartbeats and a day longer: a sidecar that was frozen and comes late must see that the
//! round of this replid was had. If it opened another one, its old records would meet writes that carry no marks any more.

use super::stamp::Stamp;

/// A round as a script sees it, for one database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Round {
    /// No earlier dispatch is looked at.
    pub horizon: Stamp,
    /// It is closed from this instant on, whoever is missing.
    pub until: Stamp,
    /// All live peers have reported.
    pub is_closed: bool,
    /// When this database was last flushed through a sidecar since the opening.
    pub flushed: Option<Stamp>,
}

impl Round {
    /// Returns whether repairs and marks are taken at `now`. A round that is missing is closed.
    pub fn is_open(&self, now: Stamp) -> bool {
        !self.is_closed && now < self.until
    }
}

/// Returns the ids of live peers that have not reported.
///
/// A peer lives if its heartbeat, in milliseconds, is within `timeout_ms` of the newest one: during the failover nobody could
/// beat, so the age by a clock says nothing.
pub fn missing<'a>(beats: &[(&'a str, i64)], reported: &[&str], timeout_ms: i64) -> Vec<&'a str> {
    let newest = beats.iter().map(|(_, beat)| *beat).max().unwrap_or(0);
    let live = beats
        .iter()
        .filter(|(_, beat)| *beat >= newest - timeout_ms);
    live.map(|(id, _)| *id)
        .filter(|id| !reported.contains(id))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_ends_by_report_or_by_time() {
        let round = Round {
            horizon: Stamp(0),
            until: Stamp(10),
            is_closed: false,
            flushed: None,
        };
        assert!(round.is_open(Stamp(9)));
        assert!(!round.is_open(Stamp(10)));
        let closed = Round {
            is_closed: true,
            ..round
        };
        assert!(!closed.is_open(Stamp(9)));
    }

    #[test]
    fn a_peer_lives_by_the_newest_heartbeat_not_by_a_clock() {
        let beats = [("a", 10_000), ("b", 5_000), ("c", 4_999)];
        assert_eq!(missing(&beats, &["a"], 5000), ["b"]);
        assert_eq!(missing(&beats, &["a", "b"], 5000), [""; 0]);
        assert_eq!(missing(&[], &[], 5000), [""; 0]);
    }
}
