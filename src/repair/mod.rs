//! Repair: by which rules acknowledged writes that a new primary lacks come back.
//!
//! Several sidecars repair one new primary at once, in any order, while new writes already arrive. What they do to a key is
//! a *last-writer-wins join* of stamped components: independent of order, and idempotent. Nothing here reads a clock or
//! opens a socket: [`fold`] makes one record for each key of the writes that the journal remembers, [`decide`](decide::decide)
//! is the join as a function, `script/repair.lua` is the same as one atomic step on the server, and `tests/repair_script.rs`
//! compares the two on every version.
//!
//! # Guarantees
//! - **R1** The final value of a key is explained by the acknowledged operations in an order that respects real time;
//!   operations that overlap, or lie closer together than the error of their stamps, may resolve either way.
//! - **R2** A logout that was acknowledged, and after which no create of that key was acknowledged, stays.
//! - **R3** Nothing is overwritten by the repair of an operation that was dispatched earlier.
//! - **R4** No partial state: no hash with some of its fields, no value without its TTL.
//!
//! # Words
//! - A *component* is what a write left of a key and can be restored alone: the whole value with its deadline, a delete, one
//!   field, the deadline. Each has its own [`Stamp`](stamp::Stamp).
//! - A *mark* is the stamp of the newest write to a component that this *round* knows of. It stands on the server while the
//!   round is open, and nothing older is put back over it.
//! - A *pending* write has a mark and no key to apply it to: whoever puts the key back applies it.
//! - *Disturbed* is a component that was written in this round: by an app, or by the repair of some record.

pub mod acknowledged;
pub mod decide;
pub mod fold;
pub mod key;
pub mod marking;
pub mod marks;
pub mod record;
pub mod round;
pub mod script;
pub mod stamp;
pub mod tally;

#[cfg(test)]
mod explore;
