//! The journal: acknowledged writes, kept until replicas are known to have them, and for a while longer: pure.
//!
//! Redis acknowledges a write before any replica has it. So what was acknowledged through here is remembered: the request's
//! bytes as they came, with the beginning of the reply. To copy them is all that the hot path does; what a write has
//! left is read from them when that is asked.
//!
//! ```text
//!  acknowledged ─► Ring ─► at risk ──── a later sample's offset is acknowledged by every replica ───► confirmed
//!                            │                                                                           │
//!                            └─ a bound is hit: dropped, counted                     `journal.retain_s` ─┴─► dropped
//! ```
//!
//! [`ring`] keeps the records; [`samples`] knows which of them replicas have.

pub mod progress;
pub mod ring;
pub mod samples;

/// A record's number: 1 is the first, each next one is one more.
pub type Seq = u64;

/// Microseconds of a clock that counts suspend and never goes back (CLOCK_BOOTTIME).
pub type Micros = u64;
