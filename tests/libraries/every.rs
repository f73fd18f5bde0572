//! Each library's test: all its set-ups at once, over TCP and over the Unix socket.

use std::thread;

use super::app::{Library, installed};
use super::life::{drive, named};
use super::store::Setup;

fn lives_through(library: Library) {
    if installed().is_none() {
        return;
    }
    thread::scope(|scope| {
        for setup in Setup::all(library) {
            named(scope, setup.name(), move || drive(setup));
        }
    });
}

#[test]
fn express_session_over_node_redis() {
    lives_through(Library::NodeRedis);
}

#[test]
fn express_session_over_ioredis() {
    lives_through(Library::Ioredis);
}

#[test]
fn django_cache_sessions() {
    lives_through(Library::Django);
}

#[test]
fn flask_session() {
    lives_through(Library::Flask);
}

#[test]
fn tower_sessions_over_fred_in_resp2() {
    lives_through(Library::TowerResp2);
}

#[test]
fn tower_sessions_over_fred_in_resp3() {
    lives_through(Library::TowerResp3);
}

#[test]
fn phpredis_session_handler_with_locking() {
    lives_through(Library::Phpredis);
}

#[test]
fn redis_rack() {
    lives_through(Library::RedisRack);
}
