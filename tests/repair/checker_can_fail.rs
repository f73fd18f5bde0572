//! The checker finds each kind of wrong in histories made by hand, and none in right ones.

use std::time::Duration;

use super::checker::{Found, Verdict, judge};
use super::history::{Entry, Session};
use super::model::{Answer, Command, Content, How, Life, Span, State};

/// Each request takes a tenth of a second, and the end is looked at ten seconds after the start.
const STEP: Duration = Duration::from_millis(100);
const END: Span = Span {
    from: Duration::from_secs(10),
    until: Duration::from_secs(10),
};

fn set(value: &str, seconds: u64) -> Command {
    Command::Set {
        value: value.into(),
        life: Life::Seconds(seconds),
        how: How::Set,
    }
}

fn history(steps: &[(Command, Answer)]) -> Session {
    let entry = |(number, (command, answer)): (usize, &(Command, Answer))| Entry {
        command: command.clone(),
        answer: answer.clone(),
        when: Span {
            from: STEP * number as u32,
            until: STEP * (number as u32 + 1),
        },
        sidecar: 0,
    };
    Session {
        key: "k".into(),
        entries: steps.iter().enumerate().map(entry).collect(),
    }
}

/// What is found: content, and the seconds at which it expires.
fn found(content: Content, seconds: Option<f64>) -> Found {
    let deadline = seconds.map(|seconds| {
        let at = Duration::from_secs_f64(seconds);
        Span {
            from: at,
            until: at,
        }
    });
    Found {
        content,
        deadline,
        when: END,
    }
}

fn text(text: &str, seconds: f64) -> Found {
    found(Content::Text(text.into()), Some(seconds))
}

fn absent() -> Found {
    found(Content::Absent, None)
}

fn fields(pairs: &[(&str, &str)], seconds: f64) -> Found {
    let pair = |(field, value): &(&str, &str)| ((*field).to_owned(), (*value).to_owned());
    found(
        Content::Fields(pairs.iter().map(pair).collect()),
        Some(seconds),
    )
}

/// Lost, miscounted, resurrected, wrong TTL.
fn counts(steps: &[(Command, Answer)], found: Found) -> (usize, usize, usize, usize) {
    let Verdict {
        lost,
        miscounted,
        resurrected,
        wrong_ttl,
        ..
    } = judge(&[history(steps)], &[found]);
    (lost, miscounted, resurrected, wrong_ttl)
}

const RIGHT: (usize, usize, usize, usize) = (0, 0, 0, 0);
const LOST: (usize, usize, usize, usize) = (1, 0, 0, 0);
const MISCOUNTED: (usize, usize, usize, usize) = (1, 1, 0, 0);
const RESURRECTED: (usize, usize, usize, usize) = (0, 0, 1, 0);
const WRONG_TTL: (usize, usize, usize, usize) = (0, 0, 0, 1);

fn login() -> (Command, Answer) {
    (set("one", 600), Answer::Done)
}

#[test]
fn what_was_acknowledged_has_to_be_there() {
    assert_eq!(counts(&[login()], text("one", 600.1)), RIGHT);
    assert_eq!(counts(&[login()], absent()), LOST);
    let update = (set("two", 600), Answer::Done);
    let steps = [login(), update];
    assert_eq!(counts(&steps, text("two", 600.0)), RIGHT);
    assert_eq!(counts(&steps, text("one", 600.0)), LOST);
}

#[test]
fn a_logout_has_to_stay() {
    for logout in [
        (Command::Delete, Answer::Number(1)),
        (Command::Delete, Answer::Number(0)),
        (Command::Take, Answer::Text("one".into())),
    ] {
        let steps = [login(), logout];
        assert_eq!(counts(&steps, absent()), RIGHT);
        assert_eq!(counts(&steps, text("one", 600.0)), RESURRECTED);
        let again = [&steps[..], &[login()]].concat();
        assert_eq!(counts(&again, absent()), LOST);
    }
}

#[test]
fn of_an_unknown_outcome_both_are_right_and_nothing_else() {
    let steps = [login(), (set("two", 900), Answer::Unknown)];
    assert_eq!(counts(&steps, text("one", 600.0)), RIGHT);
    assert_eq!(counts(&steps, text("two", 900.0)), RIGHT);
    assert_eq!(counts(&steps, text("two", 600.0)), WRONG_TTL);
    assert_eq!(counts(&steps, absent()), LOST);
    let logout = [login(), (Command::Delete, Answer::Unknown)];
    assert_eq!(counts(&logout, absent()), RIGHT);
    assert_eq!(counts(&logout, text("one", 600.0)), RIGHT);
    let refused = [login(), (Command::Delete, Answer::NotExecuted)];
    assert_eq!(counts(&refused, absent()), LOST);
    assert_eq!(counts(&refused, text("one", 600.0)), RIGHT);
}

#[test]
fn deadlines_have_to_be_those_that_were_asked_for() {
    for wrong in [598.0, 602.5] {
        assert_eq!(counts(&[login()], text("one", wrong)), WRONG_TTL);
    }
    let unlimited = found(Content::Text("one".into()), None);
    assert_eq!(counts(&[login()], unlimited), WRONG_TTL);
    // A touch may be answered without being sent, where it moves the deadline by less than a hundredth.
    let touched = [login(), (Command::Expire(1000), Answer::Number(1))];
    assert_eq!(counts(&touched, text("one", 990.0)), RIGHT);
    assert_eq!(counts(&touched, text("one", 988.0)), WRONG_TTL);
    assert_eq!(counts(&touched, text("one", 600.0)), WRONG_TTL);
    let kept = Command::Set {
        value: "two".into(),
        life: Life::Kept,
        how: How::Set,
    };
    let steps = [login(), (kept, Answer::Done)];
    assert_eq!(counts(&steps, text("two", 600.0)), RIGHT);
    assert_eq!(
        counts(&steps, found(Content::Text("two".into()), None)),
        WRONG_TTL
    );
}

#[test]
fn what_has_expired_has_to_be_gone() {
    let steps = [(set("one", 3), Answer::Done)];
    assert_eq!(counts(&steps, absent()), RIGHT);
    assert_eq!(counts(&steps, text("one", 600.0)), RESURRECTED);
    // Just about to.
    let steps = [(set("one", 10), Answer::Done)];
    assert_eq!(counts(&steps, absent()), RIGHT);
    assert_eq!(counts(&steps, text("one", 10.0)), RIGHT);
}

#[test]
fn hashes_have_to_be_whole() {
    let put = |pairs: &[(&'static str, &str)]| {
        let pair = |(field, value): &(&'static str, &str)| (*field, (*value).to_owned());
        Command::Put(pairs.iter().map(pair).collect())
    };
    let steps = [
        (
            put(&[("user", "a"), ("f1", "b"), ("f2", "c")]),
            Answer::Number(3),
        ),
        (Command::Expire(600), Answer::Number(1)),
        (put(&[("f1", "d")]), Answer::Number(0)),
        (Command::Drop("f2"), Answer::Number(1)),
        (Command::Add("visits", 2), Answer::Number(2)),
    ];
    let whole = [("user", "a"), ("f1", "d"), ("visits", "2")];
    assert_eq!(counts(&steps, fields(&whole, 600.0)), RIGHT);
    let miscounted = [("user", "a"), ("f1", "d"), ("visits", "1")];
    assert_eq!(counts(&steps, fields(&miscounted, 600.0)), MISCOUNTED);
    for partial in [
        &[("user", "a"), ("f1", "b"), ("visits", "2")][..],
        &[("f1", "d"), ("visits", "2")],
        &[("user", "a"), ("f1", "d")],
        &[("user", "a"), ("f1", "d"), ("f2", "c"), ("visits", "2")],
    ] {
        assert_eq!(counts(&steps, fields(partial, 600.0)), LOST, "{partial:?}");
    }
}

#[test]
fn a_count_tells_what_it_counted_on() {
    let count = |answer| (Command::Count, answer);
    let started = (
        Command::Block(vec![Command::Count, Command::Expire(600)]),
        Answer::Many(vec![Answer::Number(1), Answer::Number(1)]),
    );
    let lost = count(Answer::Unknown);
    let steps = [started.clone(), lost.clone(), count(Answer::Number(3))];
    assert_eq!(counts(&steps, text("3", 600.0)), RIGHT);
    assert_eq!(counts(&steps, text("2", 600.0)), MISCOUNTED);
    let steps = [started.clone(), lost, count(Answer::Number(2))];
    assert_eq!(counts(&steps, text("2", 600.0)), RIGHT);
    // The server went back, and what it told was told: the count is held against it all the same.
    let steps = [started, count(Answer::Number(2)), count(Answer::Number(2))];
    let verdict = judge(&[history(&steps)], &[text("2", 600.0)]);
    assert_eq!((verdict.misread, verdict.lost), (1, 1));
}

#[test]
fn reads_that_cannot_be_are_counted_and_change_nothing() {
    let steps = [login(), (Command::Read, Answer::Nothing)];
    let verdict = judge(&[history(&steps)], &[text("one", 600.0)]);
    assert_eq!((verdict.misread, verdict.damaged()), (1, 0));
    let steps = [login(), (Command::Read, Answer::Text("one".into()))];
    let verdict = judge(&[history(&steps)], &[text("one", 600.0)]);
    assert_eq!((verdict.misread, verdict.damaged()), (0, 0));
}

#[test]
fn figures_and_examples_are_those_of_the_histories() {
    let odd = (Command::Delete, Answer::Odd("-READONLY".into()));
    let sessions: Vec<Session> = (0..30).map(|_| history(&[login(), odd.clone()])).collect();
    let verdict = judge(&sessions, &vec![text("none", 600.0); 30]);
    assert_eq!((verdict.sessions, verdict.writes), (30, 30));
    assert_eq!((verdict.lost, verdict.odd.len()), (30, 30));
    assert_eq!(verdict.examples.len(), 20);
    assert!(
        verdict.examples[0].contains("Lost k"),
        "{:?}",
        verdict.examples[0]
    );
}

#[test]
fn an_absent_key_has_no_deadline() {
    let (state, answer) = Command::Expire(5).run(&State::ABSENT, END);
    assert_eq!((state, answer), (State::ABSENT, Answer::Number(0)));
}
