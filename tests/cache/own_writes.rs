//! Own writes do not hang on the server's announcements: those are held back here, and a write that was acknowledged
//! through the sidecar, by whatever command, is seen all the same.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::relay::{Mode, Relay};
use super::statistics::Calls;
use crate::harness::{Client, Server, Sidecar, against_redis, any_version, encode, until};
use crate::side_by_side;

const OLD: &str = "$3\\r\\nold";
const PATIENCE: Duration = Duration::from_secs(20);

/// A reply on its way would be here by now; one that is held back is not.
const GLANCE: Duration = Duration::from_millis(80);

/// Requests that change what `session` holds, by links of all lanes; `|` parts those that are sent together.
const WRITES: &[&str] = &[
    "SET session new",
    "DEL session",
    "EXPIRE session -1",
    "PEXPIREAT session 1",
    "GETSET session new",
    "GETDEL session",
    "APPEND session new",
    "SETRANGE session 0 new",
    "SETBIT session 3 1",
    "BITFIELD session SET u8 0 65",
    "BITOP NOT session other",
    "MSET other x session new",
    "MSETNX session new",
    "DEL other session",
    "UNLINK session other",
    "RENAME other session",
    "RENAME session third",
    "RENAMENX session fourth",
    "COPY other session REPLACE",
    "MOVE session 5",
    "SUNIONSTORE session set",
    "ZUNIONSTORE session 1 zset",
    "SORT list STORE session",
    "GEOSEARCHSTORE session geo FROMLONLAT 1 1 BYRADIUS 100 km",
    "FLUSHDB",
    "FLUSHALL",
    "SWAPDB 0 9",
    "EVAL return{redis.call('set',KEYS[1],'new')} 1 session",
    "EVAL return{redis.call('set','session','new')} 0",
    "EVAL return{redis.call('set',KEYS[2],'new')} 2 other session",
    "EVALSHA {sha} 1 session",
    "MULTI | SET session new | EXEC",
    "MULTI | SET other x | RENAME other session | EXEC",
    "MULTI | SELECT 9 | SELECT 0 | DEL session | EXEC",
    "WATCH session | MULTI | SET session new | EXEC",
    "MULTI | EVAL return{redis.call('del',KEYS[1])} 1 session | EXEC",
    "SELECT 9 | SWAPDB 9 0",
    "SELECT 9 | SET session x | MOVE session 0 | FLUSHALL",
    "RESET | SET session new",
    "CLIENT ID | SET session new",
    "CLIENT TRACKING ON BCAST | SET session new",
    "SUBSCRIBE news | UNSUBSCRIBE news | SET session new",
];

struct Scene {
    sidecar: Sidecar,
    relay: Relay,
    direct: Client,
    calls: Calls,
    sha: String,
}

impl Scene {
    fn set(server: &Server) -> Self {
        let relay = Relay::start(server.address());
        let sidecar = Sidecar::before(server)
            .through(relay.port)
            .cache("max_staleness_ms: 60000")
            .cache("ttl_s: 3600")
            .cache("verify_ratio: 0")
            .start();
        let mut direct = server.client();
        let sha = direct.call(&["SCRIPT", "LOAD", "return redis.call('set',KEYS[1],'new')"]);
        let sha = String::from_utf8_lossy(&sha)
            .split("\r\n")
            .nth(1)
            .expect("a sum")
            .to_owned();
        Self {
            sidecar,
            relay,
            direct,
            calls: Calls::of(server),
            sha,
        }
    }

    /// What each write finds; then the session is read until it is kept.
    fn prepare(&mut self, reader: &mut Client, write: &str) {
        self.direct.ask("FLUSHALL");
        for words in [
            "SET session old",
            "SET other other",
            "SADD set member",
            "ZADD zset 1 member",
            "RPUSH list 1",
            "GEOADD geo 1 1 member",
        ] {
            assert!(!self.direct.ask(words).starts_with('-'), "{words}");
        }
        until(&format!("a hit before {write}"), PATIENCE, || {
            let before = self.calls.of_commands(&["get"]);
            let reply = reader.ask("GET session");
            (reply == OLD && self.calls.of_commands(&["get"]) == before).then_some(())
        });
    }

    /// Tells whether the write was acknowledged while announcements were held back.
    fn write_unannounced(&mut self, write: &str) -> bool {
        let mut reader = self.sidecar.client();
        self.prepare(&mut reader, write);
        let mut writer = self.sidecar.client();
        self.relay.set(Mode::Hold);
        let mut acknowledged = true;
        for part in write.replace("{sha}", &self.sha).split(" | ") {
            writer.send(&request(part));
            acknowledged &= !writer.is_silent_for(GLANCE);
            if !acknowledged {
                break;
            }
            let reply = writer.text();
            assert!(!reply.starts_with('-'), "{part}: {reply}");
        }
        reader.send(&request("GET session"));
        let mut shown = None;
        if acknowledged && !reader.is_silent_for(GLANCE) {
            let reply = reader.text();
            assert_ne!(reply, OLD, "after {write}");
            shown = Some(reply);
        }
        self.relay.set(Mode::Pass);
        if !acknowledged {
            // It must not run when the next one is being prepared.
            writer.text();
        }
        let shown = shown.unwrap_or_else(|| reader.text());
        if acknowledged {
            assert_eq!(shown, self.direct.ask("GET session"), "after {write}");
        }
        acknowledged
    }
}

/// Words of a script hold no blanks here.
fn request(words: &str) -> Vec<u8> {
    encode(&words.split(' ').collect::<Vec<_>>())
}

#[test]
fn an_acknowledged_write_is_seen_though_it_is_not_announced() {
    if against_redis() {
        return;
    }
    const GROUPS: usize = 4;
    let groups = WRITES.chunks(WRITES.len().div_ceil(GROUPS)).collect();
    side_by_side(groups, |writes: &[&str]| {
        let server = Server::start(&any_version());
        let mut scene = Scene::set(&server);
        let done = writes
            .iter()
            .filter(|write| scene.write_unannounced(write))
            .count();
        eprintln!(
            "{done} of {} writes were acknowledged by links other than the tracked one",
            writes.len()
        );
    });
}

/// Writes of other lanes that a server can be made to keep waiting while reads go on.
const LATE_WRITES: &[&str] = &[
    "MSET other x session new",
    "DEL other session",
    "RENAME other session",
    "GETDEL session",
    "EVAL return{redis.call('set',KEYS[1],'new')} 1 session",
    "EVAL return{redis.call('set','session','new')} 0",
    "FLUSHALL",
    "COPY other session REPLACE",
    "BITOP NOT session other",
    "SUNIONSTORE session set",
];

/// A read that the server answers while a write is on its way to it says what was before: it may be shown, and not kept.
#[test]
fn a_read_that_overtakes_a_write_is_not_kept() {
    if against_redis() {
        return;
    }
    let overtaken = AtomicUsize::new(0);
    side_by_side(LATE_WRITES.to_vec(), |write| {
        let server = Server::start(&any_version());
        let mut scene = Scene::set(&server);
        let (mut reader, mut writer) = (scene.sidecar.client(), scene.sidecar.client());
        scene.prepare(&mut reader, write);
        // Nothing is kept of it now.
        assert_eq!(scene.direct.ask("SET session old"), "+OK");
        assert_eq!(scene.direct.ask("CLIENT PAUSE 60000 WRITE"), "+OK");
        writer.send(&request(write));
        assert!(writer.is_silent_for(GLANCE), "{write} waits at the server");
        for _ in 0..3 {
            reader.send(&request("GET session"));
            if reader.is_silent_for(GLANCE * 5) {
                eprintln!("{write} waits on the tracked link, and reads wait behind it");
                return;
            }
            assert_eq!(reader.text(), OLD, "{write} has not run");
        }
        overtaken.fetch_add(1, Ordering::Relaxed);
        scene.relay.set(Mode::Hold);
        assert_eq!(scene.direct.ask("CLIENT UNPAUSE"), "+OK");
        let reply = writer.text();
        assert!(!reply.starts_with('-'), "{write}: {reply}");
        reader.send(&request("GET session"));
        if !reader.is_silent_for(GLANCE) {
            assert_ne!(reader.text(), OLD, "after {write}");
            return;
        }
        scene.relay.set(Mode::Pass);
        assert_eq!(
            reader.text(),
            scene.direct.ask("GET session"),
            "after {write}"
        );
    });
    assert!(overtaken.into_inner() >= 3, "hardly a write was overtaken");
}
