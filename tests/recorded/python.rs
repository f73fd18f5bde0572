//! Python: all over redis-py 8.

use super::setup::Connections::Pool;
use super::setup::{Setup, USUAL, Values};

/// Synchronous, with health checks, named, asyncio.
const REDIS_PY: &[&str] = &[
    "HELLO 3 (AUTH default pw) → CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip → CLIENT SETINFO LIB-NAME redis-py → CLIENT SETINFO LIB-VER 8.1.0 → (SELECT 3)",
    "(|PING) → HELLO 3 (AUTH default pw) → CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip → CLIENT SETINFO LIB-NAME redis-py → CLIENT SETINFO LIB-VER 8.1.0 → (SELECT 3)",
    "HELLO 3 (AUTH default pw) → CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip → CLIENT SETNAME n → CLIENT SETINFO LIB-NAME redis-py → CLIENT SETINFO LIB-VER 8.1.0 → (SELECT 3)",
];
const REDIS_PY_ASYNC: &[&str] = &[
    REDIS_PY[0],
    "HELLO 3 (AUTH default pw) → CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip → [CLIENT SETINFO LIB-NAME redis-py · CLIENT SETINFO LIB-VER 8.1.0 · (SELECT 3)]",
];

const DJANGO_REDIS: Setup = Setup {
    opening: REDIS_PY,
    key: "app:1:django.contrib.sessions.cache<id>",
    values: Values::Binary,
    log_in: "EXISTS k; SET k v NX PX ms; GET k; SET k v PX ms",
    read: "GET k",
    update: "GET k; GET k; SET k v PX ms",
    change_id: "GET old; EXISTS k; SET k v NX PX ms; DEL old; GET k; SET k v PX ms",
    log_out: "DEL k; EXISTS k",
    others: "SCAN c MATCH p*; KEYS p*",
    clear: "SCAN c MATCH p* COUNT 10; [MULTI · DEL each · EXEC]",
    ..USUAL
};

/// All set-ups of this language.
pub const SETUPS: &[Setup] = &[
    Setup {
        name: "Django cache sessions over django-redis",
        ..DJANGO_REDIS
    },
    Setup {
        name: "Django cache sessions over django-redis, zlib and cache.lock",
        short: &[
            (
                "lock",
                "SET app:1:name 0123456789abcdef0123456789abcdef NX PX 5000",
            ),
            (
                "unlock",
                "EVALSHA sha:redis-py 1 app:1:name 0123456789abcdef0123456789abcdef",
            ),
        ],
        others: "lock; lock; unlock; unlock; EVAL <incr> 1 app:1:visits 1; SET app:1:visits 1; EVAL <incr> 1 app:1:visits 1",
        ..DJANGO_REDIS
    },
    Setup {
        name: "Django cache sessions over Django's RedisCache",
        connections: Pool(16),
        log_in: "EXISTS k; SET k v NX EX s; GET k; SET k v EX s",
        update: "GET k; GET k; SET k v EX s",
        change_id: "GET old; EXISTS k; SET k v NX EX s; DEL old; GET k; SET k v EX s",
        log_out: "DEL k",
        others: "",
        clear: "",
        ..DJANGO_REDIS
    },
    Setup {
        name: "Django cached_db",
        key: "app:1:django.contrib.sessions.cached_db<id>",
        log_in: "EXISTS k; SET k v EX s; SET k v EX s",
        update: "GET k; SET k v EX s",
        change_id: "GET old; EXISTS k; SET k v EX s; DEL old; SET k v EX s",
        log_out: "DEL k",
        others: "",
        clear: "",
        ..DJANGO_REDIS
    },
    Setup {
        name: "Flask-Session",
        opening: REDIS_PY,
        values: Values::Binary,
        ..USUAL
    },
    Setup {
        name: "starsessions",
        opening: REDIS_PY_ASYNC,
        stamped: true,
        log_in: "SET k v EX s",
        log_out: "GET k; DEL k; GET p''",
        ..USUAL
    },
    Setup {
        name: "litestar",
        opening: REDIS_PY_ASYNC,
        key: "LITESTAR:<id>",
        log_in: "SET k v EX s",
        read: "EVALSHA sha:renew 1 k s; SET k v EX s",
        update: "EVALSHA sha:renew 1 k s; SET k v EX s",
        change_id: "",
        log_out: "EVALSHA sha:renew 1 k s; DEL k",
        others: "EVALSHA sha:renew 1 LITESTAR:null s; SET dead {} EX s",
        clear: "EVALSHA sha:delete-all 0 LITESTAR*:*",
        ..USUAL
    },
    Setup {
        name: "aiohttp-session",
        opening: REDIS_PY_ASYNC,
        key: "AIOHTTP_SESSION_<id>",
        log_in: "SET k v EX s",
        read: "GET k",
        change_id: "",
        log_out: "GET k; SET k {} EX s",
        ..USUAL
    },
    Setup {
        name: "pyramid_session_redis",
        opening: REDIS_PY,
        key: "<id>",
        values: Values::Binary,
        log_in: "WATCH k; GET k; [MULTI · SETEX k s v · EXEC]; SETEX k s v",
        read: "GET k; EXPIRE k s",
        update: "GET k; SETEX k s v",
        change_id: "GET old; DEL old; WATCH k; GET k; [MULTI · SETEX k s v · EXEC]; SETEX k s v",
        ..USUAL
    },
    Setup {
        name: "plain redis-py, RESP2",
        opening: &[
            "(AUTH pw) → CLIENT SETNAME n → CLIENT SETINFO LIB-NAME redis-py → CLIENT SETINFO LIB-VER 8.1.0 → (SELECT 3)",
        ],
        log_in: "SET k v EX s; SET k v KEEPTTL; SETNX k v; PSETEX old ms v; GETEX old EX s; GETDEL old; STRLEN k; EXISTS k old; TYPE k; TTL k; PTTL k",
        read: "GET k; PERSIST k; EXPIREAT k at; MGET k old; HSET h:k f v g v; HMSET h:k f v; HSETNX h:k f v; HGET h:k f; HMGET h:k f g x; HGETALL h:k; HINCRBY h:k count 1; HDEL h:k g; HEXISTS h:k g; HLEN h:k",
        update: "SADD set:k a b; SREM set:k a; SMEMBERS set:k; SISMEMBER set:k b; SCARD set:k; ZADD z:k at k; ZRANGEBYSCORE z:k 0 at; ZREMRANGEBYSCORE z:k 0 5; ZCARD z:k; ZSCORE z:k k",
        change_id: "RENAME old k; RENAMENX k old; RENAME old k; DBSIZE; INCR n:k; INCRBY n:k 5; RPUSH q:k a; BLPOP q:k 1",
        log_out: "[MULTI · DEL k · GET k · EXEC]; WATCH k; UNWATCH; UNLINK k old; PUBLISH news k; PUBSUB NUMSUB news; WAIT 0 0; CLIENT GETNAME",
        ..USUAL
    },
];
