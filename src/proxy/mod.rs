//! The data path: requests in, replies out, each client's in the order it sent them.
//!
//! ```text
//!  client bytes ─► requests.rs ──────► handshake.rs ──► answered here
//!                     │  one request at a time, by its kind
//!                     ├─► links.rs ───► a shared link (tracked, general)
//!                     ├─► own.rs ─────► the client's own (pinned) link, from pool.rs
//!                     │     ▲ transactions.rs: MULTI, WATCH
//!                     └─► streams.rs ─► the own link, unread
//!  link bytes ──► replies.rs ── matched with what is awaited ─► the client's outbox
//!  acknowledged ─► journalled.rs ─► the journal; what replies do not tell is asked: looks.rs; sessions are read again: ahead.rs
//!                  durable.rs ────► and, where asked for, only then to the client, once replicas have it
//!  lost link ───► loss.rs ──► rewind.rs: what was awaited is taken back, to be asked again
//!                               claims.rs: SET NX is asked once more; rewind_own.rs: and with it the transaction that was queued there
//!  refusal ─────► refusal.rs ─► the same, for one request and what stands behind it
//!  no primary ──► hold.rs ────► the request waits in its client's input, or
//!                 stale.rs ───► is answered from the cache, or
//!                 replica.rs ─► is asked of a replica, or
//!                 acknowledge.rs: is acknowledged, and put back later
//!  other primary ► switch.rs ── all links are lost, new ones dialled
//!  other primary ► repair.rs: what it lacks is put back; requests wait for their keys, writes go with marks
//!  hold ────────► maint.rs ──── clients that want to know are told
//!  hold ────────► episodes.rs ─ and so are people, of what it came to
//! ```
//!
//! [`Proxy`] owns all of it and is driven by [`crate::data_plane`], which knows the sockets' readiness. Nothing here
//! awaits: bytes come in, state changes, bytes stand in outboxes when a function returns.
//!
//! # Order
//! What a client has in flight is all on *one* link (`Client::lane`). A request for another link waits until that is
//! answered (`Stall::Lane`); an answer of our own takes its turn in the link's queue (`What::Local`).
//!
//! # Ownership of a link
//! State that Redis keeps on a connection (MULTI, WATCH, a blocked pop) lives on a pinned link that the client owns
//! until the state is neutral again. Where that can't be told any more (subscriptions, tracking, another user, MONITOR),
//! the client gets that link for good and its bytes pass unread in both directions (`Client::raw`): then it simply has
//! a connection to the server. Over-estimating state costs a link; under-estimating it would cost correctness.

mod acknowledge;
mod ahead;
mod cached;
mod claims;
mod clients;
mod durable;
mod episodes;
mod flights;
mod handshake;
mod hold;
mod hygiene;
mod journalled;
mod links;
mod looks;
mod loss;
mod maint;
mod owed;
mod own;
mod pending;
mod pool;
mod probes;
mod reads;
mod refusal;
mod repair;
mod replica;
mod replies;
mod requests;
mod rewind;
mod rewind_own;
mod settle;
mod stale;
mod state;
mod streams;
mod switch;
mod touches;
mod transactions;
mod whether;

pub use repair::Arrival;
pub use replies::ReplyError;
pub use requests::{CLIENT_OUTPUT_SOFT, LINK_OUTPUT_SOFT};
pub use state::Proxy;
