//! Node: express-session, fastify and koa.

use super::setup::Connections::{Pool, Shared};
use super::setup::{Setup, USUAL};

const REDIS_6_RESP3: &[&str] = &[
    "[HELLO 3 (AUTH default pw) · (SELECT 3) · CLIENT SETINFO LIB-VER 6.3.1 · CLIENT SETINFO LIB-NAME node-redis · CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type external-ip]",
    "[HELLO 3 (AUTH default pw) SETNAME n · (SELECT 3) · CLIENT SETINFO LIB-VER 6.3.1 · CLIENT SETINFO LIB-NAME node-redis · CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type external-ip]",
    "[HELLO 3 (AUTH default pw) · (SELECT 3) · CLIENT SETINFO LIB-VER 6.3.1 · CLIENT SETINFO LIB-NAME node-redis · CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type external-ip · CLIENT TRACKING ON]",
];
const REDIS_6_RESP2: &[&str] = &[
    "[(AUTH pw) · (SELECT 3) · CLIENT SETINFO LIB-VER 6.3.1 · CLIENT SETINFO LIB-NAME node-redis]",
    "[(AUTH pw) · CLIENT SETNAME n · (SELECT 3) · CLIENT SETINFO LIB-VER 6.3.1 · CLIENT SETINFO LIB-NAME node-redis]",
];
const REDIS_4: &[&str] = &[
    "[(AUTH pw) · CLIENT SETINFO LIB-NAME node-redis · CLIENT SETINFO LIB-VER 1.5.17 · (SELECT 3)]",
];
const REDIS_3: &[&str] = &[
    "[(auth pw) · info] → (select 3)",
    "(auth pw); info → (select 3)",
];
const IOREDIS_6: &[&str] = &[
    "[hello 3 (AUTH default pw) · (select 3) · client setname n · client SETINFO LIB-VER 6.0.0 · client SETINFO LIB-NAME ioredis] → info",
    "hello 3 (AUTH default pw); (select 3); client setname n; client SETINFO LIB-VER 6.0.0; client SETINFO LIB-NAME ioredis → info",
    "hello 3 (AUTH default pw); [(select 3) · client SETINFO LIB-VER 6.0.0]; client SETINFO LIB-NAME ioredis → info",
];
const IOREDIS_4: &[&str] = &[
    "[(auth pw) · (select 3) · info]; (select 3); (select 3)",
    "(auth pw); (select 3); info; [(select 3) · (select 3)]",
];

const CONNECT_REDIS: Setup = Setup {
    connections: Shared(1),
    key: "sess:<id>",
    log_in: "DEL old; SET k v EX s; SET k v EX s",
    read: "GET k; EXPIRE k s",
    others: "SCAN c MATCH p* COUNT 100; MGET k…",
    clear: "SCAN c MATCH p* COUNT 100; DEL k…",
    quits: true,
    ..USUAL
};

/// All set-ups of this language.
pub const SETUPS: &[Setup] = &[
    Setup {
        name: "connect-redis 10 over redis 6, RESP3",
        opening: REDIS_6_RESP3,
        quits: false,
        ..CONNECT_REDIS
    },
    Setup {
        name: "connect-redis 10 over redis 6, RESP2",
        opening: REDIS_6_RESP2,
        quits: false,
        ..CONNECT_REDIS
    },
    Setup {
        name: "connect-redis 10 over a pool of redis 6",
        opening: REDIS_6_RESP3,
        connections: Pool(8),
        clear: "",
        quits: false,
        ..CONNECT_REDIS
    },
    Setup {
        name: "connect-redis 8 over ioredis 6",
        opening: IOREDIS_6,
        lower: true,
        ..CONNECT_REDIS
    },
    Setup {
        name: "connect-redis 8 over ioredis 6, autopipelining",
        opening: IOREDIS_6,
        lower: true,
        ..CONNECT_REDIS
    },
    Setup {
        name: "connect-redis 8 over redis 4",
        opening: REDIS_4,
        ..CONNECT_REDIS
    },
    Setup {
        name: "connect-redis 6 over redis 3",
        opening: REDIS_3,
        lower: true,
        others: "SCAN c match p* count 100; MGET k…",
        clear: "SCAN c match p* count 100; DEL k…",
        ..CONNECT_REDIS
    },
    Setup {
        name: "@fastify/session over ioredis 6",
        opening: IOREDIS_6,
        connections: Shared(1),
        stamped: true,
        lower: true,
        log_in: "DEL old; SET k v EX s; SET k v EX s",
        others: "SCAN c MATCH p*",
        quits: true,
        ..USUAL
    },
    Setup {
        name: "koa-session over koa-redis",
        opening: IOREDIS_4,
        connections: Shared(1),
        key: "koa:sess:<id>",
        stamped: true,
        lower: true,
        log_in: "SETEX k s v; SETEX k s v",
        read: "GET k; SETEX k s v",
        update: "GET k; SETEX k s v",
        change_id: "GET old; DEL old; SETEX k s v; SETEX k s v",
        quits: true,
        ..USUAL
    },
];
