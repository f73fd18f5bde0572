//! Rust, Ruby, Go and Perl.

use super::setup::Connections::{Pool, Shared};
use super::setup::{Setup, USUAL, Values};

const REDIS_RS_0: &[&str] = &[
    "[(AUTH pw) · (SELECT 3) · CLIENT SETINFO LIB-NAME redis-rs · CLIENT SETINFO LIB-VER 0.32.7]",
];
/// RESP2 as axum_session has it, and RESP3.
const REDIS_RS_1: &[&str] = &[
    "[(AUTH pw) · (SELECT 3) · CLIENT SETINFO LIB-NAME redis-rs · CLIENT SETINFO LIB-VER 1.8.1]",
    "[HELLO 3 (AUTH default pw) · (SELECT 3) · CLIENT SETINFO LIB-NAME redis-rs · CLIENT SETINFO LIB-VER 1.8.1]",
];

const TOWER_SESSIONS: Setup = Setup {
    connections: Shared(4),
    key: "<id>",
    values: Values::Binary,
    log_in: "DEL old; SET k v EXAT at NX",
    read: "GET k",
    update: "GET k; SET k v EXAT at XX",
    change_id: "GET old; DEL old; SET k v EXAT at NX",
    log_out: "DEL k",
    ..USUAL
};

const ACTIX_SESSION: Setup = Setup {
    opening: REDIS_RS_0,
    log_in: "SET k v NX EX s",
    read: "GET k; EXPIRE k s",
    update: "GET k; SET k v XX EX s",
    change_id: "GET old; DEL old; SET k v NX EX s",
    ..USUAL
};

/// One connection behind a mutex. Each id has two keys: the public id (old form, always absent) and a hash of it.
const RACK: Setup = Setup {
    opening: &["(auth pw) → (select 3)"],
    connections: Pool(1),
    key: "rack:session:2::<id>",
    values: Values::Binary,
    lower: true,
    log_in: "DEL rack:session:<old>; DEL old; SETEX k s v",
    read: "GET k; SETEX k s v",
    update: "GET k; SETEX k s v",
    change_id: "GET old; DEL rack:session:<old>; DEL old; SETEX k s v",
    log_out: "GET k; DEL rack:session:<id>; DEL k",
    ..USUAL
};

const REDISTORE: Setup = Setup {
    opening: &["(AUTH pw) → (SELECT 3|SELECT 0) → PING"],
    key: "session_<id>",
    before: "PING",
    log_in: "SETEX k s v",
    read: "GET k",
    update: "GET k; SETEX k s v",
    change_id: "GET old; DEL old; SETEX k s v",
    ..USUAL
};

const CATALYST_READ: &str =
    "GET expires:k; GET expires:k; GET expires:k; GET expires:k; GET session:k";

/// All set-ups of these languages.
pub const SETUPS: &[Setup] = &[
    Setup {
        name: "tower-sessions over fred, RESP2",
        opening: &["(AUTH pw|PING) → (SELECT 3|SELECT 0) → CLIENT ID → INFO server"],
        ..TOWER_SESSIONS
    },
    Setup {
        name: "tower-sessions over fred, RESP3",
        opening: &[
            "inline HELLO 3 (AUTH default pw) → (SELECT 3|SELECT 0) → CLIENT ID → INFO server",
        ],
        ..TOWER_SESSIONS
    },
    Setup {
        name: "axum_session over redis_pool",
        opening: REDIS_RS_1,
        before: "[UNWATCH · PING n]",
        short: &[("T", "[MULTI · SET k v · EXPIREAT k at · EXEC]")],
        log_in: "EXISTS k; EXISTS k; DEL old; T",
        read: "GET k; T",
        update: "GET k; T",
        change_id: "GET old; EXISTS k; DEL old; T",
        others: "SCAN c MATCH p*; GET dead; [MULTI · SET dead {} · EXPIREAT dead at · EXEC]",
        ..USUAL
    },
    Setup {
        name: "actix-session over the redis-rs manager",
        connections: Shared(1),
        ..ACTIX_SESSION
    },
    Setup {
        name: "actix-session over deadpool",
        connections: Pool(4),
        before: "[UNWATCH · PING n]",
        ..ACTIX_SESSION
    },
    Setup {
        name: "redis-rack",
        others: "GET dead; GET rack:session:<dead>; SETEX dead s v",
        ..RACK
    },
    Setup {
        name: "redis-actionpack",
        short: &[("W", "SETEX k s v")],
        log_in: "DEL rack:session:<old>; DEL old; GET k; GET rack:session:<id>; W",
        read: "GET k; W",
        update: "GET k; W",
        change_id: "DEL rack:session:<old>; DEL old; GET k; GET rack:session:<id>; W",
        ..RACK
    },
    Setup {
        name: "Rails CacheStore",
        key: "app:_session_id:2::<id>",
        stamped: true,
        short: &[("W", "SET k v PX ms")],
        log_in: "DEL app:_session_id:<old>; DEL old; GET k; GET app:_session_id:<id>; W",
        read: "GET k; W",
        update: "GET k; W",
        change_id: "DEL app:_session_id:<old>; DEL old; GET k; GET app:_session_id:<id>; W",
        log_out: "GET k; DEL app:_session_id:<id>; DEL k",
        ..RACK
    },
    Setup {
        name: "redistore, gob",
        values: Values::Binary,
        ..REDISTORE
    },
    Setup {
        name: "redistore, JSON",
        ..REDISTORE
    },
    Setup {
        name: "Catalyst",
        connections: Pool(1),
        // The plugin takes no password: replayed without one only.
        opening: &[],
        key: "<id>",
        before: "PING",
        short: &[
            ("S", "SET session:k v"),
            ("SE", "EXPIRE session:k s"),
            ("E", "SET expires:k at"),
            ("EE", "EXPIRE expires:k s"),
        ],
        log_in: "DEL session:old; DEL expires:old; DEL flash:old; S; SE; E; EE",
        read: CATALYST_READ,
        update: "GET expires:k; GET expires:k; GET expires:k; GET expires:k; GET session:k; S; SE; E; EE",
        change_id: "GET expires:old; GET session:old; DEL session:old; DEL expires:old; DEL flash:old; S; SE; E; EE",
        log_out: "GET expires:k; GET session:k; DEL session:k; DEL expires:k; DEL flash:k",
        others: "GET expires:dead; GET session:dead; SET session:dead v; EXPIRE session:dead s",
        ..USUAL
    },
];
