//! Which node is the primary, according to Sentinels and to the nodes themselves.
//!
//! [`topology`] chooses, and does nothing else.

pub mod topology;
