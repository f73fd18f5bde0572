//! Gripfast: a sidecar that keeps web sessions alive through Redis failovers.
//!
//! App servers speak RESP to it on localhost; behind it stands a Redis (or Valkey) primary. What it promises to users, and
//! which test shows each promise, is in the README. This page is for those who change it.
//!
//! # Map
//! ```text
//!  control thread (the main thread)              data thread
//!  ┌───────────────────────────────┐  Message   ┌──────────────────────────────────────────────┐
//!  │ app            start, drain   │ ─────────► │ data_plane   one future, one turn at a time  │
//!  │ control_plane  COMMAND table  │            │   proxy      requests ─► links ─► replies    │
//!  │ admin          /metrics …     │ ◄───────── │   downstream client connections              │
//!  └───────────────────────────────┘   Report   │   upstream   links: tracked, general, pinned │
//!                                               │   cache      flights, fence, kept replies    │
//!                                               └──────────────────────────────────────────────┘
//!  pure, used by the data path:  repair (who wrote last) ─► journal ─► command (what a command means) ─► resp (frames)
//!                                failover (what is held, what is sent again) ─► command
//!  leaves, used by everyone:     config error id metrics outbox reactor seam shutdown
//! ```
//! Imports go down only; `tests/tidy.rs` holds the arrows.
//!
//! # Who owns what
//! The data thread owns every client, link, buffer, queue and kept reply, all inside [`proxy::Proxy`], which one future
//! drives. There are no locks and no tasks on the data path, and nothing in [`proxy`] awaits: bytes go in, state changes,
//! bytes stand in outboxes. The control thread owns the admin port and the connection that learns the server's command
//! table; it reaches the data thread by [`data_plane::Message`] alone. Counts are plain numbers on the data thread,
//! published ten times a second.
//!
//! # Life of a request
//! 1. The runtime rings a client's bell ([`reactor`]); the next turn reads the socket into the shared scratch buffer.
//! 2. [`resp::request`] finds the request's end and its words, without copying. What is not plainly well formed is left to
//!    the server itself, on a link of the client's own, so that its words for the error are the server's.
//! 3. [`command::table`] says of which kind it is, and `proxy::requests` acts on that: answer here (handshakes, pool
//!    checks; reads and touches that the [`cache`] knows the answer to), or append its bytes, as they came, to the outbox of
//!    a link, with an entry for the client in the link's queue.
//! 4. At the end of the turn each link and each client with something to write gets one write call.
//! 5. When the link is readable, [`resp::frame`] finds the ends of the replies; each run of replies for one client is copied
//!    to that client's outbox in one piece. A client in RESP2 gets the replies of the tracked link, which speaks RESP3,
//!    with two rewrites (`_`, `%`).
//!
//! # Life of a cached reply
//! 1. A read that is not in the [`cache`] becomes a *flight* (`proxy::reads`): the read, and `PTTL` behind it, on the tracked
//!    link. Who asks the same meanwhile joins it.
//! 2. The reply goes to all of them as it comes (`proxy::flights`); at PTTL's answer it is kept, unless the *fence* was
//!    raised since the read was sent.
//! 3. What raises the fence and drops the reply: an announcement of the server (a push on that link), and every request of
//!    ours that may change the key or tell somebody newer things of it, when it is sent and when it is answered or lost
//!    (`proxy::pending`).
//! 4. It is served only to a client that awaits nothing, while its link is the tracked one and holds its *lease* (an
//!    answered probe not older than `cache.max_staleness_ms`: `proxy::probes`), before its deadline, and for `cache.ttl_s`.
//!
//! # Life of a failover
//! 1. The control thread pings each node, asks and hears every Sentinel ([`sentinel::watch`]), and tells the data thread what
//!    the [`failover::machine`] has to know; the data thread adds what it sees itself: a lost link, a reply that refuses
//!    (`proxy::refusal`).
//! 2. While the machine is not Serving, `proxy::hold` stops requests: the front request of a client stalls it (`Stall::Held`)
//!    and stays in its input. Cached reads and touches are answered meanwhile (`proxy::stale`), other reads of sessions by a
//!    replica where that is allowed (`proxy::replica`), writes whose reply is known acknowledged where that is wished for
//!    (`proxy::acknowledge`), to be put back. So that much is known then, what is written is read ahead (`proxy::ahead`).
//! 3. What a lost link owed is taken back (`proxy::rewind`; `rewind_own` for transactions): a link keeps its requests until
//!    they are answered ([`upstream::unanswered`]), and what is taken back stands in front of the client's input, to be
//!    handled like a request that has just come, by the table in [`failover::replay`].
//! 4. Another primary is named: all links are left in one step, the first link to the new one is dialled and its role
//!    checked, it is joined (below), and everybody goes on.
//!
//! # Life of an acknowledged write
//! 1. When it is sent, its link notes where its bytes stand and when that was ([`upstream::link::Write`]); when it is answered,
//!    those bytes and the beginning of the reply are copied into the [`journal`], in the turn in which its client hears of
//!    it (`proxy::journalled`). A transaction is one record. What its reply does not tell is asked behind it (`proxy::looks`).
//! 2. While records are at risk, the control thread asks the primary every 50 ms how far its replicas are
//!    (`control_plane::sampler`). What it is told confirms the records that were acknowledged before it asked, once every
//!    replica has what the primary's stream had then.
//! 3. Each primary begins an era: no sample of one says anything of what was sent to another.
//! 4. Another primary is *joined* over a link of its own (`proxy::repair`): its clock, whose history it has, the round of all
//!    sidecars. The journal is folded ([`repair::fold`]) into what is known of each key, and a script compares and restores a
//!    key in one step. Requests go on meanwhile, but for those of keys that are still to be repaired.
//! 5. While other sidecars have something to put back, writes carry marks, in one unit with the write, so that nobody's older
//!    record overwrites them; what builds on what is there, and answers that say *absent*, wait for them.
//! 6. What was put back is at risk again, until the replicas of the new primary have it.
//! 7. Where a write is to be replicated first (`durability.mode`), its reply is kept back in its client's output, with what
//!    stands behind it (`proxy::durable`); the sampler is woken, and what it is told lets go all that was acknowledged before
//!    it asked.
//!
//! # Lanes
//! - *Tracked*: one link for each database, in RESP3, for session reads and single-key writes of all clients.
//! - *General*: one for each database and protocol, for other stateless commands.
//! - *Pinned*: from a bounded pool, for a client with state that Redis keeps on a connection. A link is only given to a
//!   client of its database and protocol, and goes back when the state is provably neutral. A client whose state can't be
//!   followed any more keeps its link, and its bytes pass unread (`Client::raw`).
//!
//! # Invariants
//! - *Replies never cross.* Each reply is matched with the front entry of its link's queue; entries name a client by place
//!   and serial ([`id`]), so what was meant for a client that is gone finds nobody.
//! - *A client's order is kept.* All that a client has in flight is on one link; a request for another one waits
//!   (`Stall::Lane`), and answers of our own take their turn in the link's queue (`What::Local`).
//! - *Nothing is sent on a connection that has not agreed.* Database, protocol and user of a link are settled, and
//!   answered, before a request is written to it.
//! - *An error never becomes nil, and nothing runs twice that may not.* What a lost link owed is sent again only where that is
//!   harmless; else its sender is told whether it may have run: by the count of bytes written when the link was lost
//!   ([`error`]).
//! - *Nothing stale passes the fence*: the guarantees and the exploration stand in [`cache`].
//! - *Everything is bounded*: clients, pinned links, requests in flight, bytes that wait for a slow reader, waits, retries.
//!
//! # Places kept for what comes
//! - *Generation*: a link's serial; an answer of an older link finds nobody.
//! - *Simulation*: sockets, chance and the clocks that tokio lacks come through [`seam`]; nothing else in the data path is
//!   real.

pub mod admin;
pub mod app;
pub mod cache;
pub mod cli;
pub mod command;
pub mod config;
pub mod control_plane;
pub mod data_plane;
pub mod downstream;
pub mod error;
pub mod failover;
pub mod id;
pub mod journal;
pub mod metrics;
pub mod outbox;
pub mod proxy;
pub mod reactor;
pub mod repair;
pub mod resp;
pub mod seam;
pub mod sentinel;
pub mod shutdown;
pub mod upstream;
