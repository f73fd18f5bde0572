//! What acknowledged writes left behind: pure, without clocks and sockets.
//!
//! The data path keeps of each acknowledged write the bytes of its request and of its reply. What it *left* is worked out
//! afterwards, off the hot path: [`effects`] reads the effects of one write off its words and its reply, [`Keyspace`] folds
//! them, in the order in which the server ran them, to what each key holds as far as it is known ([`Image`]).
//!
//! # Invariant
//! Whatever is stated is true of the server, as long as only our own writes and the passing of time change it. What can't
//! be known is left open, never guessed. Evictions and writes of strangers are seen only where a reply contradicts what was
//! believed ([`KeyEffect::refutes`]).

pub mod collection;
pub mod effect;
pub mod image;
pub mod keyspace;

pub use collection::{Collection, Element, Field};
pub use effect::{
    Change, Effect, FieldChange, KeyEffect, MemberChange, ScoreChange, Seen, Was, Write,
    block_effects, effects,
};
pub use image::{Deadline, Image, Moment, Parts, Value};
pub use keyspace::{Before, Keyspace};
