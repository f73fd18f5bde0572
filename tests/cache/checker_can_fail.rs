//! The checker objects to each kind of wrong history, and to none that is right.

use super::checker::{Promise, check};
use super::history::{Key, NEVER, Nanos, Program, Read, Seen, Step, Way, What, Write, value_of};

const K: Key = Key {
    database: 0,
    number: 1,
};
const OTHER: Key = Key {
    database: 0,
    number: 2,
};

fn set(version: u64, begin: Nanos, end: Nanos) -> Step {
    Step {
        begin,
        end,
        what: What::Write(Write::Set(K, version)),
    }
}

fn write(write: Write, begin: Nanos, end: Nanos) -> Step {
    Step {
        begin,
        end,
        what: What::Write(write),
    }
}

fn get(version: u64, begin: Nanos, end: Nanos) -> Step {
    let seen = match version {
        0 => Seen::Nothing,
        version => Seen::Text(value_of(version)),
    };
    Step {
        begin,
        end,
        what: What::Read(Read::Get(K), seen),
    }
}

fn program(way: Way, steps: &[Step]) -> Program {
    Program {
        name: format!("{way:?}"),
        way,
        steps: steps.to_vec(),
    }
}

const A: Way = Way::Sidecar(0);
const B: Way = Way::Sidecar(1);

/// The promises that a history of these programs breaks.
fn broken(programs: &[(Way, &[Step])], order: &[Write]) -> Vec<Promise> {
    let programs: Vec<Program> = programs
        .iter()
        .map(|(way, steps)| program(*way, steps))
        .collect();
    check(&programs, order)
        .faults
        .iter()
        .map(|fault| fault.promise)
        .collect()
}

const ORDER: [Write; 2] = [Write::Set(K, 1), Write::Set(K, 2)];

#[test]
fn a_right_history_is_accepted() {
    let writer = [set(1, 10, 20), set(2, 30, 40)];
    let same = [get(0, 1, 5), get(1, 21, 29), get(1, 25, 35), get(2, 41, 50)];
    let elsewhere = [get(0, 1, 5), get(0, 21, 29), get(1, 41, 50), get(2, 90, 95)];
    assert_eq!(
        broken(&[(A, &writer), (A, &same), (B, &elsewhere)], &ORDER),
        []
    );
}

#[test]
fn an_acknowledged_write_of_the_same_sidecar_must_be_seen() {
    let writer = [set(1, 10, 20), set(2, 30, 40)];
    let late = [get(1, 41, 45)];
    assert_eq!(
        broken(&[(A, &writer), (A, &late)], &ORDER),
        [Promise::OwnWrites]
    );
    assert_eq!(
        broken(&[(A, &writer), (B, &late)], &ORDER),
        [],
        "it may come late elsewhere"
    );
    let not_yet_answered = [get(1, 39, 45)];
    assert_eq!(broken(&[(A, &writer), (A, &not_yet_answered)], &ORDER), []);
}

#[test]
fn a_delete_a_rename_and_a_flush_are_writes_too() {
    for last in [
        Write::Delete(K),
        Write::Expire(K),
        Write::Rename(K, OTHER),
        Write::Flush(0),
    ] {
        let writer = [set(1, 10, 20), write(last, 30, 40)];
        let order = [Write::Set(K, 1), last];
        let right = [get(0, 41, 45)];
        assert_eq!(broken(&[(A, &writer), (A, &right)], &order), [], "{last:?}");
        let revived = [get(1, 41, 45)];
        assert_eq!(
            broken(&[(A, &writer), (A, &revived)], &order),
            [Promise::OwnWrites],
            "{last:?}"
        );
    }
    let flushed_elsewhere = [set(1, 10, 20), write(Write::Flush(5), 30, 40)];
    let order = [Write::Set(K, 1), Write::Flush(5)];
    assert_eq!(
        broken(&[(A, &flushed_elsewhere), (A, &[get(1, 41, 45)])], &order),
        []
    );
}

#[test]
fn a_client_never_goes_back() {
    let writer = [set(1, 10, 20), set(2, 30, 40)];
    let back = [get(2, 35, 38), get(1, 50, 55)];
    assert_eq!(
        broken(&[(A, &writer), (B, &back)], &ORDER),
        [Promise::Monotonic]
    );
    // Deleted and written again: absent, then what was there before is a step back, though the answer was right once.
    let writer = [
        set(1, 10, 20),
        write(Write::Delete(K), 30, 40),
        set(2, 50, 60),
    ];
    let order = [Write::Set(K, 1), Write::Delete(K), Write::Set(K, 2)];
    let back = [get(1, 25, 28), get(0, 61, 65), get(1, 66, 70)];
    assert_eq!(
        broken(&[(A, &writer), (B, &back)], &order),
        [Promise::Monotonic]
    );
}

#[test]
fn a_clients_program_is_seen_in_its_order() {
    // All in one packet: nothing is answered before everything is sent.
    let right = [
        get(0, 10, 20),
        set(1, 10, 21),
        get(1, 10, 22),
        set(2, 10, 23),
        get(2, 10, 24),
    ];
    assert_eq!(broken(&[(A, &right)], &ORDER), []);
    let later = [
        get(1, 10, 20),
        set(1, 10, 21),
        get(1, 10, 22),
        set(2, 10, 23),
    ];
    assert_eq!(broken(&[(A, &later)], &ORDER), [Promise::ProgramOrder]);
    let earlier = [set(1, 10, 21), set(2, 10, 23), get(1, 10, 24)];
    assert_eq!(broken(&[(A, &earlier)], &ORDER), [Promise::ProgramOrder]);
}

#[test]
fn nothing_comes_from_the_future_or_from_nowhere() {
    let writer = [set(1, 10, 20), set(2, 30, 40)];
    assert_eq!(
        broken(&[(A, &writer), (B, &[get(2, 21, 29)])], &ORDER),
        [Promise::NoFuture]
    );
    assert_eq!(
        broken(&[(A, &writer), (B, &[get(7, 21, 29)])], &ORDER),
        [Promise::NothingInvented]
    );
    let other = Step {
        begin: 50,
        end: 60,
        what: What::Read(Read::Get(OTHER), Seen::Text(value_of(2))),
    };
    assert_eq!(
        broken(&[(A, &writer), (B, &[other])], &ORDER),
        [Promise::NothingInvented]
    );
}

#[test]
fn a_write_that_never_ran_is_noticed_and_an_open_one_may_run_or_not() {
    assert_eq!(
        broken(&[(A, &[set(1, 10, 20)])], &[]),
        [Promise::EveryWriteRan]
    );
    let open = [set(1, 10, NEVER)];
    assert_eq!(broken(&[(A, &open), (A, &[get(0, 50, 60)])], &[]), []);
    assert_eq!(
        broken(&[(A, &open), (A, &[get(1, 50, 60)])], &ORDER[..1]),
        []
    );
    assert_eq!(
        broken(&[(A, &open), (A, &[get(1, 50, 60)])], &[]),
        [Promise::NothingInvented]
    );
}

#[test]
fn a_script_that_hides_its_key_is_a_foreign_writer() {
    let hidden = Step {
        begin: 10,
        end: 20,
        what: What::WriteUndeclared(Write::Set(K, 1)),
    };
    assert_eq!(broken(&[(A, &[hidden, get(0, 21, 29)])], &ORDER[..1]), []);
}

#[test]
fn whole_hashes_counts_and_lengths_are_told_apart() {
    let order = [Write::SetField(K, 0, 1), Write::SetField(K, 1, 2)];
    let writer = [write(order[0], 10, 20), write(order[1], 30, 40)];
    let fields = |fields: &[(u8, u64)]| {
        let pair = |(field, version): &(u8, u64)| (format!("f{field}"), value_of(*version));
        Seen::Fields(fields.iter().map(pair).collect())
    };
    let read = |read, seen| {
        [Step {
            begin: 50,
            end: 60,
            what: What::Read(read, seen),
        }]
    };
    let verdict = |step: [Step; 1]| broken(&[(A, &writer), (A, &step)], &order);
    assert_eq!(
        verdict(read(Read::Fields(K), fields(&[(0, 1), (1, 2)]))),
        []
    );
    assert_eq!(
        verdict(read(Read::Fields(K), fields(&[(0, 1)]))),
        [Promise::OwnWrites]
    );
    assert_eq!(
        verdict(read(Read::Fields(K), fields(&[(1, 2)]))),
        [Promise::NothingInvented]
    );
    assert_eq!(
        verdict(read(Read::Field(K, 1), Seen::Nothing)),
        [Promise::OwnWrites]
    );
    assert_eq!(verdict(read(Read::Get(K), Seen::WrongType)), []);
    assert_eq!(
        verdict(read(Read::Exists(K), Seen::Number(0))),
        [Promise::OwnWrites]
    );
    assert_eq!(
        verdict(read(Read::Length(K), Seen::Number(0))),
        [Promise::OwnWrites]
    );
    assert_eq!(verdict(read(Read::Length(OTHER), Seen::Number(0))), []);
}

#[test]
fn staleness_is_the_time_since_somebody_was_told() {
    let writer = [set(1, 10, 20), set(2, 30, 40)];
    let reader = [
        get(1, 25, 29),
        get(1, 39, 45),
        get(1, 90, 95),
        get(2, 99, 99),
    ];
    let programs = [program(A, &writer), program(B, &reader)];
    let findings = check(&programs, &ORDER);
    assert_eq!(
        (findings.faults.len(), findings.staleness),
        (0, vec![0, 0, 50, 0])
    );
    // Two writes missed: it is out of date since the first of them.
    let order = [ORDER[0], ORDER[1], Write::Set(K, 3)];
    let writer = [set(1, 10, 20), set(2, 30, 40), set(3, 50, 60)];
    let programs = [program(A, &writer), program(B, &[get(1, 90, 95)])];
    assert_eq!(check(&programs, &order).staleness, [50]);
}

#[test]
fn a_save_that_was_taken_for_a_touch_tells_what_the_key_has() {
    let again = Write::Again(K, 1, 1_800_001);
    let writer = [set(1, 10, 20), set(2, 30, 40)];
    let early = [write(again, 21, 29)];
    let late = [write(again, 41, 49)];
    assert_eq!(broken(&[(A, &writer), (A, &early)], &ORDER), []);
    assert_eq!(
        broken(&[(A, &writer), (A, &late)], &ORDER),
        [Promise::OwnWrites]
    );
    assert_eq!(
        broken(&[(A, &writer), (B, &late)], &ORDER),
        [],
        "as if before a change that it had not heard of"
    );
    assert_eq!(
        broken(&[(A, &writer), (Way::Server, &late)], &ORDER),
        [Promise::EveryWriteRan]
    );
    // It ran after all: then it is a write.
    let order = [ORDER[0], ORDER[1], again];
    assert_eq!(
        broken(&[(A, &writer), (A, &late), (A, &[get(1, 50, 55)])], &order),
        []
    );
    assert_eq!(
        broken(&[(A, &writer), (A, &late), (A, &[get(2, 50, 55)])], &order),
        [Promise::OwnWrites]
    );
}
