//! Which node is the primary, according to Sentinels and to the nodes themselves.
//!
//! [`topology`] chooses, and does nothing else. [`client`] and [`node`] ask and listen, one task a connection, so that a slow
//! peer holds up nobody. [`watch`] gathers what they see, has it judged and says what changed. [`reply`] and [`event`] read
//! what came over the wire. [`once`] asks one thing.

mod announced;
pub mod backoff;
pub mod client;
pub mod event;
pub mod link;
pub mod node;
pub mod once;
pub mod reply;
pub mod snapshot;
pub mod standalone;
pub mod topology;
pub mod watch;
