//! The session cache: replies of single-key reads, kept short, in front of the tracked link.
//!
//! # What makes it right
//! - A *flight* ([`core::Core::ask`]) is registered for a read *before* it is sent. Whatever may change the key meanwhile (an
//!   invalidation, a write of our own at its dispatch and at its reply, a flush, a lost link) raises the counter of the key's
//!   slot in the [`fence::Fence`]; the reply is kept only if the counter is still the one that the flight started with.
//! - What is kept belongs to the link that filled it and is served only while that link is the tracked one, holds its lease,
//!   and the deadline that `PTTL` told has not come.
//! - Everything here happens in one synchronous step on the data thread; nothing here has a clock or a socket.
//!
//! # Parts
//! [`core`] has flights, fence and entries together; [`store`] is moka with the [`front`] of the hottest replies; [`shape`]
//! says which requests are alike and what a reply to one says of others; [`push`] reads what the server announces;
//! [`touch`] says which touches need not be sent. `proxy::{reads, flights, pending, touches, probes}` is the shell.
//!
//! [`core`] and [`fence`] are explored exhaustively by `core/explore.rs`: all interleavings of clients, links, a foreign
//! writer, expiry, loss and a switch, with each rule taken away once to show that it is needed.

pub mod core;
pub mod entry;
pub mod fence;
pub mod front;
pub mod push;
pub mod shape;
pub mod store;
pub mod touch;
