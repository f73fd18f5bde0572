//! Each library's tests: all its set-ups at once, in front of one Redis and in front of a primary that Sentinels name.

use std::thread;

use crate::harness::against_redis;

use super::app::{Library, installed};
use super::life::{drive, named};
use super::store::Setup;

fn in_all(setups: Vec<Setup>) {
    if installed().is_none() {
        return;
    }
    thread::scope(|scope| {
        for setup in setups {
            named(scope, setup.name(), move || drive(setup));
        }
    });
}

macro_rules! libraries {
    ($($module:ident = $library:ident;)+) => {
        $(mod $module {
            use super::{Library, Setup, against_redis, in_all};

            #[test]
            fn sessions_live_over_tcp_and_over_the_unix_socket() {
                in_all(Setup::standalone(Library::$library));
            }

            #[test]
            fn sessions_outlive_a_planned_failover() {
                // Redis itself does not follow a primary.
                if !against_redis() {
                    in_all(Setup::with_sentinels(Library::$library));
                }
            }
        })+
    };
}

libraries! {
    express_session_over_node_redis = NodeRedis;
    express_session_over_ioredis = Ioredis;
    django_cache_sessions = Django;
    flask_session = Flask;
    tower_sessions_over_fred_in_resp2 = TowerResp2;
    tower_sessions_over_fred_in_resp3 = TowerResp3;
    phpredis_session_handler_with_locking = Phpredis;
    redis_rack = RedisRack;
}
