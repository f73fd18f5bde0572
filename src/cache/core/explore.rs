//! Every interleaving of a small world, with the guarantees as assertions.
//!
//! One key in two shapes, two clients that may have two requests unanswered, a tracked and a general link to a server, a
//! foreign writer, expiry, loss of the tracked link, a switch of primary. The cache is the real [`Core`]; what the data path
//! does around it (waits, order, what is called when) is modelled here. A rule that is marked in the list of the rules is
//! taken away once, alone: then some guarantee must break.

mod loss;
mod one_key;
mod scene;
mod search;
mod server;
mod world;

use scene::{Op, Scene, Shell};
use search::explore;

use super::{Rules, Sound};

struct JoinSpoiled;
impl Rules for JoinSpoiled {
    const JOIN_UNSPOILED_ONLY: bool = false;
}

/// Rules 1 and 2 cover each other where a flight begins while a write is under way.
struct NeitherPendingNorReply;
impl Rules for NeitherPendingNorReply {
    const PENDING: bool = false;
    const SPOIL_AT_REPLY: bool = false;
}

struct AnyLink;
impl Rules for AnyLink {
    const LINK: bool = false;
}

const READ: Op = Op::Read { shape: 0 };
const READ_FIELD: Op = Op::Read { shape: 1 };

/// Two programs, and what else may happen how often.
fn scene(first: &'static [Op], second: &'static [Op]) -> Scene {
    Scene {
        programs: [first, second],
        foreign_writes: 1,
        losses: 0,
        switches: 0,
        expires: false,
        refuses: false,
        untracked: false,
        shell: Shell::default(),
    }
}

fn scenes() -> Vec<(&'static str, Scene)> {
    use Op::{Delete, GeneralDelete, GeneralRead, Transaction, Write};
    vec![
        ("own write", scene(&[READ, Write, READ], &[READ, READ])),
        (
            "two shapes",
            scene(&[READ, READ_FIELD, READ], &[READ_FIELD, READ]),
        ),
        ("two writers", scene(&[Write, READ], &[READ, Write, READ])),
        (
            "token",
            scene(&[READ, GeneralDelete, READ], &[READ, Delete]),
        ),
        (
            "transaction",
            scene(&[READ, Transaction, READ], &[READ, READ]),
        ),
        ("general read", scene(&[GeneralRead, READ], &[READ, READ])),
        (
            "mixed lanes",
            scene(&[READ, GeneralDelete], &[READ, GeneralRead, READ]),
        ),
        (
            "loss",
            Scene {
                losses: 1,
                ..scene(&[READ, Write, READ], &[READ, READ])
            },
        ),
        (
            "tracking refused",
            Scene {
                losses: 1,
                refuses: true,
                ..scene(&[READ, READ], &[READ, READ])
            },
        ),
        (
            "untracked",
            Scene {
                untracked: true,
                ..scene(&[READ, READ, READ], &[READ_FIELD, READ, READ_FIELD])
            },
        ),
        (
            "switch",
            Scene {
                switches: 1,
                ..scene(&[READ, READ], &[READ, Write, READ])
            },
        ),
        (
            "expiry",
            Scene {
                expires: true,
                ..scene(&[READ, READ], &[READ, Write])
            },
        ),
    ]
}

#[test]
fn every_guarantee_holds_in_every_interleaving() {
    for (name, scene) in scenes() {
        let found = explore::<Sound>(&scene);
        println!("{name}: {} states", found.states);
        if let Some(violation) = found.violation {
            panic!("{name}: {violation}");
        }
        assert!(
            found.hits > 0,
            "{name}: nothing was ever served from the cache"
        );
    }
}

/// Some scene breaks.
fn breaks<R: Rules>(shell: Shell) -> bool {
    scenes().into_iter().any(|(name, scene)| {
        let scene = Scene {
            shell: shell.clone(),
            ..scene
        };
        let violation = explore::<R>(&scene).violation;
        if let Some(violation) = &violation {
            println!("{name}: {violation}");
        }
        violation.is_some()
    })
}

#[test]
fn rule_1_nobody_joins_a_spoiled_flight() {
    assert!(breaks::<JoinSpoiled>(Shell::default()));
}

#[test]
fn rules_1_and_2_spoil_at_the_reply_and_while_pending() {
    assert!(breaks::<NeitherPendingNorReply>(Shell::default()));
}

#[test]
fn rule_3_a_request_waits_for_the_other_link() {
    assert!(breaks::<Sound>(Shell {
        wait_for_lane: false,
        ..Shell::default()
    }));
}

#[test]
fn rule_4_check_and_insert_are_one_step() {
    assert!(breaks::<Sound>(Shell {
        insert_at_once: false,
        ..Shell::default()
    }));
}

#[test]
fn rule_5_only_after_tracking_was_agreed() {
    assert!(breaks::<Sound>(Shell {
        await_tracking: false,
        ..Shell::default()
    }));
}

#[test]
fn rule_5_a_flight_ends_with_the_ttl() {
    assert!(breaks::<Sound>(Shell {
        end_at_ttl: false,
        ..Shell::default()
    }));
}

/// Both by the serial of the link, in flights and in entries: it alone covers answers that come after a switch, too.
#[test]
fn rules_9_and_10_what_an_older_link_brought_is_neither_kept_nor_served() {
    assert!(breaks::<AnyLink>(Shell::default()));
    assert!(!breaks::<Sound>(Shell {
        drop_old_answers: false,
        ..Shell::default()
    }));
}

#[test]
fn rule_12_a_transaction_spoils_at_exec() {
    assert!(breaks::<Sound>(Shell {
        spoil_at_exec: false,
        ..Shell::default()
    }));
}

#[test]
fn rule_13_what_another_link_read_spoils() {
    assert!(breaks::<Sound>(Shell {
        spoil_by_other_reads: false,
        ..Shell::default()
    }));
}

struct KeepOlder;
impl Rules for KeepOlder {
    const DROP_OLDER: bool = false;
}

#[test]
fn where_nothing_is_announced_a_reply_drops_what_was_kept_before() {
    assert!(breaks::<KeepOlder>(Shell::default()));
}

#[test]
fn where_nothing_is_announced_a_read_that_is_no_flight_is_a_change() {
    assert!(breaks::<Sound>(Shell {
        passes_are_changes: false,
        ..Shell::default()
    }));
}

#[test]
fn a_reader_that_waits_is_not_served_from_the_cache() {
    assert!(breaks::<Sound>(Shell {
        wait_for_own: false,
        ..Shell::default()
    }));
}
