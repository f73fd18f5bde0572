//! What a client sees when we answer with an error of our own: what happened, whether the command ran, what to do.
//!
//! `NotSent` and `Unknown` never merge: the first is safe to retry, the second may have run. The README has the table.

use crate::metrics::ErrorKind;
use crate::seam::HostPort;

/// Whether a request that got an error of ours may have run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It never reached the server: safe to retry.
    NotSent,
    /// It was sent and not answered: it may or may not have run.
    Unknown,
}

impl ErrorKind {
    /// Tells whether the request may have run.
    pub fn delivery(self) -> Delivery {
        match self {
            Self::Masterdown | Self::NoPinnedLink => Delivery::NotSent,
            Self::OutcomeUnknown => Delivery::Unknown,
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

/// No link to the primary.
pub fn masterdown(address: Option<&HostPort>, reason: &str) -> String {
    let primary = primary(address);
    format!(
        "-MASTERDOWN gripfast: no link to {primary} ({reason}); the command was not \
         executed, it is safe to retry\r\n"
    )
}

/// The link was lost behind a request that was sent.
pub fn outcome_unknown(address: Option<&HostPort>) -> String {
    let primary = primary(address);
    format!(
        "-ERR gripfast: outcome unknown: the link to {primary} was lost after the \
         command was sent; it may or may not have been executed\r\n"
    )
}

/// All pinned links are in use.
pub fn no_pinned_link(pinned_max: usize) -> String {
    format!(
        "-ERR gripfast: no pinned link free: all {pinned_max} (upstream.pinned_max) are in use; the \
         command was not executed, it is safe to retry\r\n"
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
        for (kind, text) in [
            (ErrorKind::Masterdown, masterdown(Some(&address), "refused")),
            (ErrorKind::Masterdown, masterdown(None, "not named yet")),
            (ErrorKind::OutcomeUnknown, outcome_unknown(Some(&address))),
            (ErrorKind::NoPinnedLink, no_pinned_link(5)),
        ] {
            let says = match kind.delivery() {
                Delivery::NotSent => "was not executed",
                Delivery::Unknown => "may or may not have been executed",
            };
            assert!(text.contains(says), "{text}");
            assert!(text.starts_with('-') && text.ends_with("\r\n"), "{text}");
            assert_eq!(text.matches('\n').count(), 1, "{text}");
            assert!(text.contains("gripfast: "), "{text}");
        }
    }
}
