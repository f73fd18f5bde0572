//! Two sidecars, one history: every promise about what a client is shown, on every server.

use std::collections::HashSet;
use std::time::Duration;

use super::checker::{Findings, check, show};
use super::history::{Program, Read, Seen, Step, Way, What, Write, value_of};
use super::monitor::Monitor;
use super::statistics::{Calls, counts};
use super::workload::{Arena, Mix, Player, play};
use crate::harness::{Client, Random, Server, Sidecar, Version, pause, seed, versions};
use crate::{run_length, side_by_side};

/// How long the load runs.
const RUN: Duration = Duration::from_secs(4);

const MAX_STALENESS: Duration = Duration::from_millis(1000);

/// Most clients read and seldom write, so that the caches fill.
const READER: Mix = Mix {
    writes: 1,
    is_rich: true,
    rest_max: 0,
};
const WRITER: Mix = Mix {
    writes: 8,
    is_rich: true,
    rest_max: 5000,
};
/// Straight at the server, as another application would.
const FOREIGN: Mix = Mix {
    writes: 50,
    is_rich: true,
    rest_max: 200_000,
};

#[test]
fn two_sidecars_make_one_history() {
    side_by_side(versions(), |version| {
        let seed = seed(&format!("two sidecars, {}", version.name));
        let (programs, order) = run(&version, seed);
        let findings = check(&programs, &order);
        assert!(
            findings.faults.is_empty(),
            "seed {seed}: {}",
            show(&findings.faults)
        );
        let stalest = report_staleness(&version.name, findings);
        assert!(
            stalest < MAX_STALENESS,
            "seed {seed}: {stalest:?} out of date"
        );
        older_answers_would_have_been_noticed(programs, &order, seed);
    });
}

/// Runs the load; returns what the clients did and saw, and the server's order of the writes.
fn run(version: &Version, seed: u64) -> (Vec<Program>, Vec<Write>) {
    let server = Server::start(version);
    // The hits of the second are verified, too: then more goes on in it.
    let sidecars = ["0", "0.1"].map(|ratio| {
        let staleness = format!("max_staleness_ms: {}", MAX_STALENESS.as_millis());
        Sidecar::before(&server)
            .cache(&staleness)
            .cache(&format!("verify_ratio: {ratio}"))
            .touch("coalesce_unchanged_set: true")
            .start()
    });
    let monitor = Monitor::start(&server);
    let mut calls = Calls::of(&server);
    let arena = Arena::new();
    let dials: [&(dyn Fn() -> Client + Sync); 4] = [
        &|| sidecars[0].client(),
        &|| sidecars[1].client(),
        &|| sidecars[1].unix_client(),
        &|| server.client(),
    ];
    let mut players = Vec::new();
    for place in 0..4 {
        let mix = if place == 0 { WRITER } else { READER };
        players.push(Player::at(place, &arena, dials[0], Way::Sidecar(0), mix));
        let dial = if place == 3 { dials[2] } else { dials[1] };
        players.push(Player::at(place, &arena, dial, Way::Sidecar(1), mix));
    }
    players.extend([1, 2].map(|place| Player::at(place, &arena, dials[3], Way::Server, FOREIGN)));
    let mut random = Random::new(seed);
    let players = players
        .into_iter()
        .map(|player| player.seeded(&mut random))
        .collect();
    let programs = play(players, &arena, || pause(run_length(RUN)));
    assert_eq!(programs.len(), 10, "no connection ended");
    let order = monitor.end(&server);
    report(&version.name, &programs, &order, &mut calls);
    report_metrics(&version.name, &sidecars, seed);
    (programs, order)
}

fn report(name: &str, programs: &[Program], order: &[Write], calls: &mut Calls) {
    let mut cacheable = 0;
    for program in programs.iter().filter(|program| program.way != Way::Server) {
        let is_cacheable = |read: &Read| !matches!(read, Read::Range(_) | Read::Script(_));
        let reads = program.steps.iter().filter(|step| match &step.what {
            What::Read(read, _) => is_cacheable(read),
            _ => false,
        });
        cacheable += reads.count();
    }
    let upstream = calls.of_commands(&["get", "hget", "hgetall", "mget", "exists", "strlen"]);
    eprintln!(
        "{name}: {cacheable} cacheable reads through the sidecars, {} writes at the server, which was asked {upstream} \
         such reads by anybody",
        order.len()
    );
}

/// Prints what the sidecars counted; the meter of the second must have found nothing stale.
fn report_metrics(name: &str, sidecars: &[Sidecar; 2], seed: u64) {
    let [first, second] = sidecars
        .each_ref()
        .map(|sidecar| counts(sidecar, "gripfast_session_reads_total"));
    let verified = counts(&sidecars[1], "gripfast_cache_verified_total");
    eprintln!("{name}: session reads {first:?} and {second:?}, verified {verified:?}");
    let stale = verified.get("stale").copied().unwrap_or(0);
    assert_eq!(stale, 0, "seed {seed}: the meter found stale hits");
}

/// Prints how stale reads were and returns the stalest.
fn report_staleness(name: &str, findings: Findings) -> Duration {
    let mut all = findings.staleness;
    all.sort_unstable();
    let at = |share: f64| {
        let index = (all.len() as f64 * share) as usize;
        Duration::from_nanos(all.get(index.min(all.len() - 1)).copied().unwrap_or(0))
    };
    let stale = all.len() - all.partition_point(|staleness| *staleness == 0);
    eprintln!(
        "{name}: {stale} of {} reads missed a write acknowledged elsewhere; out of date for p50 {:?}, p99 {:?}, max {:?}",
        all.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    at(1.0)
}

/// Puts an older answer into the place of a right one, many times, and demands an objection to each: the history has
/// enough in it to catch a wrong cache.
fn older_answers_would_have_been_noticed(mut programs: Vec<Program>, order: &[Write], seed: u64) {
    const ATTEMPTS: usize = 5;
    let mut random = Random::new(seed);
    let again = |step: &Step| match step.what {
        What::Write(Write::Again(_, version, _)) => Some(value_of(version)),
        _ => None,
    };
    // What was saved again may be right again.
    let again: HashSet<String> = programs
        .iter()
        .flat_map(|program| &program.steps)
        .filter_map(again)
        .collect();
    for _ in 0..ATTEMPTS {
        let number = random.below(8);
        let Some((older, newer)) = two_answers(&programs[number], &again, &mut random) else {
            continue;
        };
        let steps = &mut programs[number].steps;
        let right = steps[newer].what.clone();
        steps[newer].what = steps[older].what.clone();
        let faults = check(&programs, order).faults;
        assert!(
            !faults.is_empty(),
            "seed {seed}: {right:?} could be {:?}",
            programs[number].steps[newer].what
        );
        programs[number].steps[newer].what = right;
    }
}

/// Finds two reads of one text by one client that were answered with different versions, in a row.
fn two_answers(
    program: &Program,
    again: &HashSet<String>,
    random: &mut Random,
) -> Option<(usize, usize)> {
    let answer = |index: &usize| match &program.steps[*index].what {
        What::Read(Read::Get(key), Seen::Text(text)) if !again.contains(text) => Some((*key, text)),
        _ => None,
    };
    let texts: Vec<usize> = (0..program.steps.len())
        .filter(|index| answer(index).is_some())
        .collect();
    let mut pairs = Vec::new();
    for (at, older) in texts.iter().enumerate() {
        let next = texts[at + 1..]
            .iter()
            .find(|newer| answer(newer).unwrap().0 == answer(older).unwrap().0);
        if let Some(newer) = next
            && answer(newer) != answer(older)
        {
            // The newer answer was there at least once already, so that the older one is a step back.
            let again = texts
                .iter()
                .find(|again| **again > *newer && answer(again) == answer(newer));
            pairs.extend(again.map(|again| (*older, *again)));
        }
    }
    (!pairs.is_empty()).then(|| *random.pick(&pairs))
}
