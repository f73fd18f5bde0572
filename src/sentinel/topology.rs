//! The topology, and the choice of the newest one: pure.
//!
//! [`choose`] is given what each Sentinel says, what each node says of itself and the topology so far, and decides. It
//! knows no time: a second look is one that the caller made later and hands in.
//!
//! # What is believed
//! 1. **An address needs a majority** of the Sentinels that can be asked and know the name; one in TILT counts a third.
//!    Its epoch is the highest that a majority of them reports for it. One Sentinel, whatever it says, is outvoted.
//! 2. **Epochs never go back.** A lower one names an old primary; it is rejected however many Sentinels report it.
//! 3. **The node must agree**: it calls itself a primary, *and* its data descend from the primary that we know (its
//!    replication id is the same, or its second one is the last known, or the same process gave its history another name). A restarted old primary calls itself a primary
//!    for some ten seconds and takes writes, so the role alone proves nothing.
//! 4. **A broken lineage** is accepted after a second look: at an unchanged address the server restarted, maybe empty; at
//!    a higher epoch we have missed a failover. It is not accepted while any Sentinel knows another node at a higher epoch.
//!
//! 5. **An heir is accepted early**, before the majority names it (Sentinels see a promotion by asking once a second): a node
//!    that a Sentinel has selected for promotion, or to which the known primary process itself has handed over, and
//!    which says that it is a primary and continues the very history that we know. It keeps the epoch so far, until the
//!    majority names it at a higher one. Without a history to compare nothing is accepted early.
//!
//! Source: redis `src/sentinel.c` (`sentinelGetCurrentMasterAddress`, `sentinelProcessHelloMessage`) and
//! `src/replication.c` (`shiftReplicationId`).

mod choice;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

pub use self::choice::{choose, is_superseded};
use crate::seam::HostPort;

/// What a Sentinel's word weighs, and what it weighs in TILT: it still answers then, but no longer looks.
const WEIGHT: u64 = 3;
const WEIGHT_IN_TILT: u64 = 1;

/// Sentinel's configuration epoch: raised by each failover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which history a node's data have, as it says itself.
///
/// Source: `INFO replication` and `INFO server`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lineage {
    /// Name of the process, new at each start.
    pub run_id: String,
    /// Name of the history that its writes belong to.
    pub replid: String,
    /// The history that this one continues; `None` when it continues none.
    pub replid2: Option<String>,
    /// First byte of the stream that is not shared with `replid2`; -1 when there is none.
    pub second_offset: i64,
    /// End of the replication stream, in bytes.
    pub offset: i64,
}

impl Lineage {
    /// Tells whether this is the history of `before` under another name: the process is the same, no other history came in
    /// between, and the stream goes on. A primary renames its history when the first replica attaches to it, as happens soon
    /// after it was restarted, and an hour after the last one has left.
    ///
    /// Source: redis `src/replication.c`, `syncCommand` and `replicationCron` (`changeReplicationId`).
    pub fn renames(&self, before: &Self) -> bool {
        self.run_id == before.run_id
            && self.replid != before.replid
            && self.replid2.is_none()
            && self.offset >= before.offset
    }
}

/// How the data of one node relate to those of the primary so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Continuity {
    /// Nothing was known before.
    First,
    /// The same history.
    Same,
    /// A history that continues the one before.
    Heir,
    /// Another history: the data may be gone, or a failover was missed.
    Broken,
    /// One of the two does not say (an ACL without INFO).
    Unknown,
}

impl Continuity {
    fn of(before: Option<&Lineage>, now: Option<&Lineage>) -> Self {
        let (Some(before), Some(now)) = (before, now) else {
            return Self::Unknown;
        };
        if now.replid == before.replid || now.renames(before) {
            Self::Same
        } else if now.replid2.as_ref() == Some(&before.replid) {
            Self::Heir
        } else {
            Self::Broken
        }
    }

    /// Returns the word for logs and the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Same => "same",
            Self::Heir => "heir",
            Self::Broken => "broken",
            Self::Unknown => "unknown",
        }
    }
}

/// A role, as the node itself says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Takes writes.
    Primary,
    /// Follows a primary.
    Replica,
}

/// What a node says of itself. It holds as long as the connection over which it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its role.
    pub role: Role,
    /// Its history; `None` when it does not show it.
    pub lineage: Option<Lineage>,
    /// Where a replica's primary is, by its own word.
    pub follows: Option<HostPort>,
    /// A replica's link to its primary is up; true for a primary.
    pub link_up: bool,
    /// What a replica has applied, or the end of a primary's stream, in bytes; `None` when it does not say.
    pub offset: Option<i64>,
    /// Replicas that a primary has attached, by the address that it knows them by.
    pub replicas: Vec<Attached>,
}

/// A replica as its primary sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Where it is.
    pub address: HostPort,
    /// Whether it gets the stream.
    pub online: bool,
    /// What it has acknowledged, in bytes.
    pub offset: i64,
    /// Seconds since it last acknowledged.
    pub lag_s: u64,
}

/// What a Sentinel says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SentinelView {
    /// It was not asked yet.
    Pending,
    /// It cannot be asked.
    Unreachable,
    /// It does not know the name (a null answer).
    Unknown,
    /// It names a primary.
    Named(Named),
}

/// The primary that a Sentinel names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Where the primary is.
    pub address: HostPort,
    /// The epoch of that configuration.
    pub epoch: Epoch,
    /// The primary's run id as the Sentinel knows it.
    pub run_id: Option<String>,
    /// The Sentinel's own id: one that is reached under two names votes once.
    pub id: Option<String>,
    /// Its clock jumped or it slept: it does not watch at the moment.
    pub tilt: bool,
    /// It gets no answer of the primary.
    pub subjectively_down: bool,
    /// A quorum gets none.
    pub objectively_down: bool,
    /// A failover is under way.
    pub failover: bool,
    /// It has still to promote a replica.
    pub ahead: bool,
    /// After which time it takes the primary for down; `None` when it does not say.
    pub down_after: Option<Duration>,
}

impl Named {
    fn weight(&self) -> u64 {
        if self.tilt { WEIGHT_IN_TILT } else { WEIGHT }
    }
}

/// The primary that is believed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Where it is.
    pub primary: HostPort,
    /// Since which configuration.
    pub epoch: Epoch,
    /// Its history as last seen; `None` when it does not show it.
    pub lineage: Option<Lineage>,
    /// It was accepted before the Sentinels' majority named it: its epoch is still the one before.
    pub early: bool,
}

impl Topology {
    /// Tells whether `node`, which answers at the primary's address, is the primary that is believed in: the same process
    /// with the same history, as far as it says.
    pub fn is_still(&self, node: &Node) -> bool {
        let same = match (&self.lineage, &node.lineage) {
            (Some(before), Some(now)) => {
                let continuity = Continuity::of(Some(before), Some(now));
                before.run_id == now.run_id && continuity == Continuity::Same
            }
            _ => true,
        };
        node.role == Role::Primary && same
    }
}

/// Why there is another primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SwitchReason {
    /// The first one that was found, or the configured one.
    Start,
    /// The old one did not answer any more.
    Failover,
    /// The old one still answers: a planned move.
    Switchover,
    /// The same address, but another history: it restarted, maybe empty.
    LineageBreak,
    /// The same process under another address: no link needs to be closed.
    Renamed,
}

impl SwitchReason {
    /// Returns the word for logs and the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Failover => "failover",
            Self::Switchover => "switchover",
            Self::LineageBreak => "lineage_break",
            Self::Renamed => "renamed",
        }
    }
}

/// A node whose history does not fit, as seen at one look.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Suspect {
    /// Where it is.
    pub address: HostPort,
    /// The process.
    pub run_id: String,
    /// Its history.
    pub replid: String,
}

/// What to do about the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The primary stays; epoch and lineage as of now.
    Keep(Topology),
    /// Another primary.
    Switch {
        /// The new topology.
        topology: Topology,
        /// Why.
        reason: SwitchReason,
        /// How its data relate to the old one's.
        continuity: Continuity,
    },
    /// It does not fit; if it is still so later, it is accepted.
    LookAgain(Suspect),
    /// Nothing can be said yet; what was believed is still believed.
    Wait(Waiting),
    /// What the Sentinels name is not believed.
    Reject(Rejection),
}

/// What a decision waits for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Waiting {
    /// No Sentinel can be reached.
    #[error("no Sentinel answers")]
    NoSentinel,
    /// Those that answer do not know the name.
    #[error("the Sentinels do not know a primary of that name")]
    NameUnknown,
    /// No address has a majority, or a higher epoch is on its way.
    #[error("the Sentinels do not agree yet")]
    Disagreement,
    /// The node that they name has not answered.
    #[error("{0}, which the Sentinels name, does not answer")]
    NodeSilent(HostPort),
    /// The node that they name is a replica.
    #[error("{0}, which the Sentinels name, is not a primary yet")]
    NotPrimary(HostPort),
}

/// A primary that is not believed in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} at epoch {epoch} is not accepted: {why}")]
pub struct Rejection {
    /// Where it is.
    pub address: HostPort,
    /// Its epoch.
    pub epoch: Epoch,
    /// Why not.
    pub why: RejectReason,
}

/// Why a primary is not believed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RejectReason {
    /// Its epoch is older than the one known.
    #[error("a newer epoch is known")]
    LowerEpoch,
    /// Another node at the same epoch whose data do not continue those of the primary.
    #[error("another primary of the same epoch is known")]
    SameEpoch,
}

/// Nodes that Sentinels have selected for promotion in the failover under way.
pub type Selected = BTreeSet<HostPort>;

/// What is known of Sentinels.
pub type Sentinels = BTreeMap<HostPort, SentinelView>;

/// What is known of nodes; `None` is one that does not answer.
pub type Nodes = BTreeMap<HostPort, Option<Node>>;
