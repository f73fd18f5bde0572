//! The journal: acknowledged writes, kept until replicas are known to have them, and for a while longer; and what they left. Pure.
//!
//! Redis acknowledges a write before any replica has it. So what was acknowledged through here is remembered: the request's
//! bytes as they came, with the beginning of the reply. To copy them is all that the hot path does. Where the reply does not tell what
//! the write left, reads of ours stand behind it and are remembered with it.
//!
//! ```text
//!  acknowledged ─► Ring ─► at risk ──── a later sample's offset is acknowledged by every replica ───► confirmed
//!                            │                                                                           │
//!                            └─ a bound is hit: dropped, counted                     `journal.retain_s` ─┴─► dropped
//! ```
//!
//! [`ring`] keeps the records; [`samples`] knows which of them replicas have, and what another primary inherited; [`waits`] which
//! replies wait for that.
//!
//! What a write *left* is worked out afterwards, off the hot path: [`effects`] reads the effects of one write off its words and its
//! reply, [`Keyspace`] folds them, in the order in which the server ran them, to what each key holds as far as it is known
//! ([`Image`]). Repair asks for less, for what a write proves by itself ([`proven_effects`]): others write, too.
//!
//! # Invariant
//! Whatever is stated of a key is true of the server, as long as only our own writes and the passing of time change it. What
//! can't be known is left open, never guessed. Evictions and writes of strangers are seen only where a reply contradicts
//! what was believed ([`KeyEffect::refutes`]).

pub mod collection;
pub mod effect;
pub mod image;
pub mod keyspace;
pub mod progress;
pub mod reach;
pub mod ring;
pub mod samples;
pub mod waits;

pub use collection::{Collection, Element, Field};
pub use effect::{
    Change, Effect, FieldChange, KeyEffect, MemberChange, ScoreChange, Seen, Was, Write,
    block_effects, effects, proven_effects,
};
pub use image::{Deadline, Image, Moment, Parts, Value};
pub use keyspace::{Before, Keyspace};

/// The channel of what is published only to stand in the replication stream; nobody subscribes to it.
pub const BARRIER_CHANNEL: &str = "gripfast:barrier";

/// A record's number: 1 is the first, each next one is one more.
pub type Seq = u64;

/// Microseconds of a clock that counts suspend and never goes back (CLOCK_BOOTTIME).
pub type Micros = u64;
