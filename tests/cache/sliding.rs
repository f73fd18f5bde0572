//! Sessions as libraries use them: what reaches the server when each request reads its session and refreshes it.
//!
//! The server's own count (INFO commandstats) says what came. A warm session costs one fill (GET and PTTL) each
//! `cache.ttl_s`, that is 10 s, and one EXPIRE and one more fill each window of a touch, that is 18 s: at 20 requests a second
//! 0.02 commands a request in the long run; `GRIPFAST_TEST_CACHE_SECONDS` makes the run as long.

use std::collections::BTreeMap;
use std::time::Duration;

use super::patterns::{Pattern, RELEASE, Session};
use super::statistics::Calls;
use crate::harness::{
    Client, Server, Sidecar, Stopwatch, against_redis, any_version, pause, until,
};
use crate::{run_length, side_by_side};

const CONNECTIONS: usize = 5;
const SESSIONS_EACH: usize = 10;
/// Each session makes one web request in this time.
const TICK: Duration = Duration::from_millis(50);
const WARM_UP: Duration = Duration::from_millis(150);
const RUN: Duration = Duration::from_secs(5);

/// Commands that reach the server for each web request at most, and the share of reads that must be hits.
fn promise(pattern: Pattern) -> (f64, f64) {
    match pattern {
        Pattern::GetExpire | Pattern::GetExpirePiped | Pattern::GetSetexSame => (0.05, 0.95),
        // In whole seconds: the same deadline once more, in the second in which it was sent, might be a shorter one.
        Pattern::Transaction => (1.5, 0.75),
        // The lock itself is taken and given back at the server.
        Pattern::Locked => (4.5, 0.9),
        Pattern::GetSetChanged | Pattern::Hash => (5.0, 0.0),
    }
}

/// What a pattern cost.
struct Cost {
    pattern: Pattern,
    requests: u64,
    upstream: BTreeMap<String, u64>,
    elapsed: Duration,
}

impl Cost {
    fn upstream_per_request(&self) -> f64 {
        self.upstream.values().sum::<u64>() as f64 / self.requests as f64
    }

    fn hit_ratio(&self) -> f64 {
        let asked = |name: &str| self.upstream.get(name).copied().unwrap_or(0);
        // A script's own GET is none of ours.
        let scripts = asked("evalsha");
        let upstream = (asked("get") + asked("hgetall") + asked("exists")).saturating_sub(scripts);
        1.0 - upstream as f64 / (self.requests * self.pattern.reads()) as f64
    }

    fn row(&self) -> String {
        let each = self
            .upstream
            .iter()
            .map(|(name, count)| format!("{name} {count}"));
        format!(
            "{:<42} {:>6} {:>5.0}/s {:>5} {:>8.3} {:>9.3}  {}",
            self.pattern.name(),
            self.requests,
            self.requests as f64 / self.elapsed.as_secs_f64(),
            self.pattern.commands(),
            self.upstream_per_request(),
            self.hit_ratio(),
            each.collect::<Vec<_>>().join(", ")
        )
    }
}

#[test]
fn sliding_sessions_hardly_reach_the_server() {
    if against_redis() {
        return;
    }
    let (sender, costs) = std::sync::mpsc::sync_channel(Pattern::ALL.len());
    side_by_side(Pattern::ALL.into(), |pattern| {
        let _ = sender.send(run(pattern));
    });
    drop(sender);
    let mut costs: Vec<Cost> = costs.into_iter().collect();
    costs.sort_by_key(|cost| {
        Pattern::ALL
            .iter()
            .position(|pattern| *pattern == cost.pattern)
    });
    eprintln!(
        "{:<42} requests (rate)  sent upstream hit ratio  calls at the server",
        "pattern"
    );
    costs.iter().for_each(|cost| eprintln!("{}", cost.row()));
    for cost in costs {
        let (name, (most, least)) = (cost.pattern.name(), promise(cost.pattern));
        let each = cost.upstream_per_request();
        assert!(
            each <= most,
            "{name}: {each:.3} commands reach the server for each request"
        );
        let ratio = cost.hit_ratio();
        assert!(ratio >= least, "{name}: {ratio:.3} of the reads are hits");
    }
}

fn run(pattern: Pattern) -> Cost {
    let server = Server::start(&any_version());
    let sidecar = Sidecar::before(&server)
        .touch("coalesce_unchanged_set: true")
        .start();
    let sha = sha_of(&sidecar);
    let user = |connection| User::new(sidecar.client(), connection, pattern, &sha);
    let mut users: Vec<User<'_>> = (0..CONNECTIONS).map(user).collect();
    use_sessions(&mut users, WARM_UP);
    let mut calls = Calls::of(&server);
    let watch = Stopwatch::start();
    let requests = use_sessions(&mut users, run_length(RUN));
    Cost {
        pattern,
        requests,
        upstream: calls.so_far(),
        elapsed: watch.elapsed(),
    }
}

fn sha_of(sidecar: &Sidecar) -> String {
    let mut client = sidecar.client();
    let reply = client.call(&["SCRIPT", "LOAD", RELEASE]);
    String::from_utf8_lossy(&reply)
        .split("\r\n")
        .nth(1)
        .expect("a sum")
        .to_owned()
}

/// A connection and the sessions that are used on it.
struct User<'a> {
    client: Client,
    sessions: Vec<Session>,
    pattern: Pattern,
    sha: &'a str,
}

impl<'a> User<'a> {
    fn new(mut client: Client, connection: usize, pattern: Pattern, sha: &'a str) -> Self {
        let sessions: Vec<Session> = (0..SESSIONS_EACH)
            .map(|number| Session::new(connection, number))
            .collect();
        sessions
            .iter()
            .for_each(|session| session.create(&mut client, pattern));
        Self {
            client,
            sessions,
            pattern,
            sha,
        }
    }

    /// Makes each session's requests at the pace of [`TICK`], or slower where the machine is; returns how many.
    fn work(&mut self, time: Duration) -> u64 {
        let watch = Stopwatch::start();
        let mut ticks = 0;
        while watch.elapsed() < time {
            for session in &mut self.sessions {
                session.request(&mut self.client, self.pattern, self.sha);
            }
            ticks += 1;
            pause((TICK * ticks).saturating_sub(watch.elapsed()));
        }
        u64::from(ticks) * self.sessions.len() as u64
    }
}

fn use_sessions(users: &mut [User<'_>], time: Duration) -> u64 {
    std::thread::scope(|scope| {
        let threads: Vec<_> = users
            .iter_mut()
            .map(|user| scope.spawn(move || user.work(time)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a user is served to the end"))
            .sum()
    })
}

/// A user who is told that the session lives for another `TTL` is told so truly, to within the window: 1% of it.
#[test]
fn a_deadline_is_never_further_behind_than_the_window() {
    const RUN: Duration = Duration::from_secs(4);
    let server = Server::start(&any_version());
    let sidecar = Sidecar::before(&server).start();
    // The first outlives its TTL by being used; in the second four windows pass.
    side_by_side(vec![2_u64, 100], |ttl| {
        let (mut client, mut direct) = (sidecar.client(), server.client());
        let (key, window) = (format!("sess:{ttl}"), ttl * 10);
        assert_eq!(client.ask(&format!("SET {key} value EX {ttl}")), "+OK");
        let watch = Stopwatch::start();
        let now = || watch.elapsed().as_millis() as i64;
        let (mut furthest, mut touches) = (i64::MIN, 0);
        until("the end of the run", RUN + Duration::from_secs(20), || {
            assert_eq!(client.ask(&format!("GET {key}")), "$5\\r\\nvalue");
            let told = now() + ttl as i64 * 1000;
            assert_eq!(client.ask(&format!("EXPIRE {key} {ttl}")), ":1");
            touches += 1;
            let left: i64 = direct
                .ask(&format!("PTTL {key}"))
                .trim_start_matches(':')
                .parse()
                .unwrap();
            assert!(left > 0, "the session lives");
            // At most: the server's clock may have moved on by the time its answer is here.
            let deadline = now() + 2 + left;
            furthest = furthest.max(told - deadline);
            (watch.elapsed() >= RUN).then_some(())
        });
        eprintln!(
            "TTL {ttl} s: {touches} touches, the deadline at most {furthest} ms behind (the window: {window} ms)"
        );
        assert!(furthest < window as i64, "{furthest} ms behind");
    });
}
