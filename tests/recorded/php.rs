//! PHP: a connection for each web request.

use super::setup::Connections::PerRequest;
use super::setup::{Setup, USUAL, Unscripted};

const PHPREDIS: Setup = Setup {
    opening: &["(AUTH pw) → (SELECT 3)"],
    connections: PerRequest,
    key: "PHPREDIS_SESSION:<id>",
    unscripted: Unscripted::Eval,
    ..USUAL
};

const LARAVEL: Setup = Setup {
    opening: &["(AUTH pw) → (SELECT 3|SELECT 0)"],
    key: "laravel_database_app:<id>",
    short: &[
        (
            "lock",
            "SET laravel_database_app:session:<id> AbCdEfGhIjKlMnOp EX 10 NX",
        ),
        (
            "unlock",
            "EVAL <laravel> 1 laravel_database_app:session:<id> AbCdEfGhIjKlMnOp",
        ),
    ],
    log_in: "GET old; DEL old; SETEX k s v",
    read: "GET k; SETEX k s v",
    update: "lock; GET k; SETEX k s v; unlock",
    change_id: "GET old; DEL old; SETEX k s v",
    log_out: "GET k; DEL k; SETEX new s v",
    others: "GET dead; SETEX dead s v",
    ..PHPREDIS
};

/// All set-ups of this language.
pub const SETUPS: &[Setup] = &[
    Setup {
        name: "phpredis with locking",
        short: &[
            ("lock k", "SET k_LOCK host|77 NX PX 10000"),
            ("unlock k", "EVALSHA sha:phpredis 1 k_LOCK host|77"),
            ("lock old", "SET old_LOCK host|77 NX PX 10000"),
            ("unlock old", "EVALSHA sha:phpredis 1 old_LOCK host|77"),
        ],
        log_in: "lock old; GET old; unlock old; DEL old; lock k; EXISTS k; GET k; GET k_LOCK; SETEX k s v; unlock k",
        read: "EXISTS k; lock k; GET k; EXPIRE k s; unlock k",
        update: "EXISTS k; lock k; GET k; GET k_LOCK; SETEX k s v; unlock k",
        change_id: "EXISTS old; lock old; GET old; unlock old; DEL old; lock k; EXISTS k; GET k; GET k_LOCK; SETEX k s v; unlock k",
        log_out: "EXISTS k; lock k; GET k; unlock k; DEL k",
        // Another process holds the lock; then a dead cookie.
        others: "SET k_LOCK other|78 NX PX 10000; lock k; lock k; GET k_LOCK; unlock k; DEL k_LOCK; EXISTS dead; GET dead; SETEX dead s \"\"",
        ..PHPREDIS
    },
    Setup {
        name: "phpredis without locking",
        log_in: "GET old; DEL old; EXISTS k; GET k; SETEX k s v",
        read: "EXISTS k; GET k; EXPIRE k s",
        update: "EXISTS k; GET k; SETEX k s v",
        change_id: "EXISTS old; GET old; DEL old; EXISTS k; GET k; SETEX k s v",
        log_out: "EXISTS k; GET k; DEL k",
        others: "EXISTS dead; GET dead; SETEX dead s \"\"",
        ..PHPREDIS
    },
    Setup {
        name: "predis",
        log_in: "GET old; DEL old; GET k; SETEX k s v",
        read: "GET k; SETEX k s v",
        update: "GET k; SETEX k s v",
        change_id: "GET old; DEL old; GET k; SETEX k s v",
        others: "GET dead; SETEX dead s \"\"",
        ..PHPREDIS
    },
    Setup {
        name: "Symfony over phpredis",
        key: "sf_s<id>",
        log_in: "GET old; GET k; SETEX k s v",
        read: "GET k; EXPIRE k s",
        update: "GET k; SETEX k s v",
        change_id: "GET old; UNLINK old; GET k; SETEX k s v",
        log_out: "GET k; UNLINK k",
        ..PHPREDIS
    },
    Setup {
        name: "Laravel over phpredis",
        ..LARAVEL
    },
    Setup {
        name: "Laravel over predis",
        ..LARAVEL
    },
];
