//! What a client sees when we answer with an error of our own: what happened, whether the command ran, what to do.
//!
//! `NotSent`, `Unknown` and `Done` never merge: the first is safe to retry, the second may have run, the third has. The README has
//! the table.

use std::fmt;
use std::time::Duration;

use crate::metrics::ErrorKind;
use crate::seam::HostPort;

/// Whether a request that got an error of ours may have run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It never reached the server: safe to retry.
    NotSent,
    /// It was sent and not answered: it may or may not have run.
    Unknown,
    /// The primary has run it.
    Done,
}

impl ErrorKind {
    /// Tells whether the request may have run.
    pub fn delivery(self) -> Delivery {
        match self {
            Self::Masterdown | Self::NoPinnedLink => Delivery::NotSent,
            Self::OutcomeUnknown => Delivery::Unknown,
            Self::NotReplicated => Delivery::Done,
        }
    }
}

/// EXEC of a transaction that was lost with its link.
pub const TRANSACTION_LOST: &[u8] =
    b"-EXECABORT Transaction discarded because of: gripfast: the link to the primary \
    was lost; nothing of it was executed, it is safe to retry\r\n";

/// WAIT or WAITAOF that would have counted nothing.
pub const BARRIER_FAILED: &[u8] = b"-ERR gripfast: the server refused the replication barrier (SPUBLISH to \
    gripfast:barrier for WAIT, SWAPDB 0 0 for WAITAOF): allow it in the ACL of the sidecar's user\r\n";

/// Bytes that can't be read as a request, and no server at hand to say so in its own words.
pub const UNREADABLE: &[u8] = b"-ERR Protocol error: invalid request\r\n";

/// One client too many.
pub const TOO_MANY_CLIENTS: &[u8] = b"-ERR max number of clients reached\r\n";

/// What a request waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waited {
    /// What is wrong.
    pub reason: &'static str,
    /// Since when requests are held.
    pub time: Duration,
}

impl fmt::Display for Waited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.time.as_secs_f64();
        write!(f, "; waited {seconds:.1} s: {}", self.reason)
    }
}

/// No link to the primary.
pub fn masterdown(address: Option<&HostPort>, reason: &str, waited: Option<Waited>) -> String {
    let primary = primary(address);
    let waited = shown(waited);
    format!(
        "-MASTERDOWN gripfast: no link to {primary} ({reason}{waited}); the command was not \
         executed, it is safe to retry\r\n"
    )
}

/// The link was lost behind a request that was sent.
pub fn outcome_unknown(address: Option<&HostPort>, waited: Option<Waited>) -> String {
    let primary = primary(address);
    let waited = shown(waited);
    format!(
        "-ERR gripfast: outcome unknown: the link to {primary} was lost after the \
         command was sent{waited}; it may or may not have been executed\r\n"
    )
}

fn shown(waited: Option<Waited>) -> String {
    waited.map_or_else(String::new, |waited| waited.to_string())
}

/// All pinned links are in use.
pub fn no_pinned_link(pinned_max: usize) -> String {
    format!(
        "-ERR gripfast: no pinned link free: all {pinned_max} (upstream.pinned_max) are in use; the \
         command was not executed, it is safe to retry\r\n"
    )
}

/// Too few replicas have a write in time.
pub fn not_replicated(replicas: usize, waited: Duration) -> String {
    let milliseconds = waited.as_millis();
    format!(
        "-NOREPLICAS gripfast: the command was executed, but after {milliseconds} ms (durability.timeout_ms) it \
         is not known that {replicas} replicas (durability.replicas) have what it wrote: it is lost if the \
         primary is; read before you repeat what is not harmless to repeat\r\n"
    )
}

/// Names the primary; in mode sentinel it may not be known yet.
fn primary(address: Option<&HostPort>) -> String {
    match address {
        Some(address) => format!("the primary at {address}"),
        None => "the primary".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_says_whether_the_command_ran_and_is_one_line() {
        let address = HostPort {
            host: "redis".into(),
            port: 6379,
        };
        let waited = Waited {
            reason: "a failover was announced",
            time: Duration::from_millis(2345),
        };
        assert_eq!(
            waited.to_string(),
            "; waited 2.3 s: a failover was announced"
        );
        for (kind, text) in [
            (
                ErrorKind::Masterdown,
                masterdown(Some(&address), "refused", Some(waited)),
            ),
            (
                ErrorKind::Masterdown,
                masterdown(None, "not named yet", None),
            ),
            (
                ErrorKind::OutcomeUnknown,
                outcome_unknown(Some(&address), Some(waited)),
            ),
            (ErrorKind::NoPinnedLink, no_pinned_link(5)),
            (
                ErrorKind::NotReplicated,
                not_replicated(1, Duration::from_millis(300)),
            ),
        ] {
            let says = match kind.delivery() {
                Delivery::NotSent => "was not executed",
                Delivery::Unknown => "may or may not have been executed",
                Delivery::Done => "was executed",
            };
            assert!(text.contains(says), "{text}");
            assert!(text.starts_with('-') && text.ends_with("\r\n"), "{text}");
            assert_eq!(text.matches('\n').count(), 1, "{text}");
            assert!(text.contains("gripfast: "), "{text}");
        }
    }
}
