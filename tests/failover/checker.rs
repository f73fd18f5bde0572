//! What is wrong in a history: pure.
//!
//! Each session is one client's own, so what a read of it must give is known: what that client wrote last and was told to be
//! done. What was answered with an error, or not at all, may or may not have been done.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{Asked, Event, Got};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Errors in reply to what could have been repeated safely.
    pub(crate) errors: Vec<String>,
    /// Errors that say that the outcome of a counting or pushing request is unknown, which is all that can be said then.
    pub(crate) unknown: usize,
    /// Connections that were closed.
    pub(crate) closed: usize,
    /// Replies that do not belong to their requests, or say what can't be.
    pub(crate) odd: Vec<String>,
    /// Sessions that were not as the last acknowledged write left them, each counted once.
    pub(crate) lost: Vec<String>,
}

/// What a session may hold.
type Possible = BTreeSet<Option<String>>;

/// Judges a history.
pub(crate) fn judge(events: &[Event]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut sessions: BTreeMap<&str, Possible> = BTreeMap::new();
    let mut counters: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    let mut popped: BTreeSet<&str> = BTreeSet::new();
    for event in events {
        match &event.got {
            Got::Closed => verdict.closed += 1,
            Got::Odd(reply) => verdict.odd.push(format!("{:?}: {reply}", event.asked)),
            Got::Error(error) => note_error(&mut verdict, event, error),
            Got::Done | Got::Value(_) | Got::Number(_) => {}
        }
        match &event.asked {
            Asked::Write { key, value } | Asked::WriteWatched { key, value } => {
                let now = Some(value.clone());
                wrote(sessions.entry(key).or_insert_with(nothing), now, &event.got);
            }
            Asked::Logout { key } => {
                wrote(
                    sessions.entry(key).or_insert_with(nothing),
                    None,
                    &event.got,
                );
            }
            Asked::Read { key } => {
                let possible = sessions.entry(key).or_insert_with(nothing);
                read(&mut verdict, possible, event);
            }
            Asked::Count { key } => count(&mut verdict, counters.entry(key).or_default(), event),
            Asked::Pop => {
                if let Got::Value(Some(value)) = &event.got
                    && !popped.insert(value)
                {
                    verdict.odd.push(format!("{value} was popped twice"));
                }
            }
            Asked::Touch { .. } | Asked::Push { .. } | Asked::Publish { .. } => {}
        }
    }
    verdict
}

fn nothing() -> Possible {
    Possible::from([None])
}

fn note_error(verdict: &mut Verdict, event: &Event, error: &str) {
    let once = matches!(
        event.asked,
        Asked::Count { .. }
            | Asked::Push { .. }
            | Asked::Publish { .. }
            | Asked::WriteWatched { .. }
    );
    match once && error.starts_with("-ERR gripfast: outcome unknown") {
        true => verdict.unknown += 1,
        false => verdict.errors.push(format!("{:?}: {error}", event.asked)),
    }
}

fn wrote(possible: &mut Possible, now: Option<String>, got: &Got) {
    match got {
        Got::Done | Got::Number(_) => *possible = Possible::from([now]),
        // EXEC's null: nothing was executed.
        Got::Value(_) => {}
        Got::Error(error) if error.starts_with("-MASTERDOWN") => {}
        Got::Error(_) | Got::Closed | Got::Odd(_) => {
            possible.insert(now);
        }
    }
}

fn read(verdict: &mut Verdict, possible: &mut Possible, event: &Event) {
    let Got::Value(value) = &event.got else {
        return;
    };
    if !possible.contains(value) {
        verdict.lost.push(format!(
            "{:?}: {value:?}, where one of {possible:?} was written",
            event.asked
        ));
    }
    // What was seen is what is there, whatever was believed.
    *possible = Possible::from([value.clone()]);
}

/// A counter goes up by one for each reply, and by no more than one for each request whose outcome is unknown.
fn count(verdict: &mut Verdict, (known, unknown): &mut (i64, i64), event: &Event) {
    match &event.got {
        Got::Number(number) => {
            let fits = (*known + 1..=*known + 1 + *unknown).contains(number);
            if *number > *known + 1 + *unknown {
                let what = format!("counted {number} after {known} and {unknown} unknown");
                verdict.odd.push(what);
            } else if !fits {
                let what = format!("{:?}: {number} after {known}", event.asked);
                verdict.lost.push(what);
            }
            (*known, *unknown) = (*number, 0);
        }
        Got::Error(error) if error.starts_with("-MASTERDOWN") => {}
        Got::Error(_) | Got::Closed => *unknown += 1,
        Got::Done | Got::Value(_) | Got::Odd(_) => {}
    }
}

mod can_fail {
    use std::time::Duration;

    use super::*;

    fn event(asked: Asked, got: Got) -> Event {
        Event {
            client: 0,
            asked,
            got,
            from: Duration::ZERO,
            until: Duration::ZERO,
        }
    }

    fn write(value: &str, got: Got) -> Event {
        let (key, value) = ("k".into(), value.into());
        event(Asked::Write { key, value }, got)
    }

    fn read(value: Option<&str>) -> Event {
        let value = value.map(str::to_owned);
        event(Asked::Read { key: "k".into() }, Got::Value(value))
    }

    fn unknown() -> Got {
        Got::Error("-ERR gripfast: outcome unknown: x".into())
    }

    fn count(got: Got) -> Event {
        event(Asked::Count { key: "n".into() }, got)
    }

    #[test]
    fn a_right_history_is_right() {
        let verdict = judge(&[
            read(None),
            write("1", Got::Done),
            read(Some("1")),
            write("2", unknown()),
            read(Some("1")),
            write("3", Got::Error("-MASTERDOWN x".into())),
            read(Some("1")),
            event(Asked::Logout { key: "k".into() }, Got::Number(1)),
            read(None),
            count(Got::Number(1)),
            count(unknown()),
            count(Got::Number(3)),
        ]);
        assert_eq!((verdict.lost, verdict.odd), (vec![], vec![]));
        assert_eq!((verdict.unknown, verdict.errors.len()), (1, 2));
    }

    #[test]
    fn each_kind_of_wrong_is_found() {
        let lost = |events: &[Event]| judge(events).lost.len();
        assert_eq!(lost(&[write("1", Got::Done), read(None)]), 1);
        assert_eq!(
            lost(&[
                write("1", Got::Done),
                write("2", Got::Done),
                read(Some("1")),
                read(Some("1"))
            ]),
            1,
            "counted once"
        );
        let logout = event(Asked::Logout { key: "k".into() }, Got::Number(1));
        assert_eq!(lost(&[write("1", Got::Done), logout, read(Some("1"))]), 1);
        assert_eq!(lost(&[count(Got::Number(1)), count(Got::Number(1))]), 1);
        let odd = |events: &[Event]| judge(events).odd.len();
        assert_eq!(odd(&[count(Got::Number(1)), count(Got::Number(3))]), 1);
        let pop = || event(Asked::Pop, Got::Value(Some("x".into())));
        assert_eq!(odd(&[pop(), pop()]), 1);
        assert_eq!(odd(&[write("1", Got::Odd(":3".into()))]), 1);
        assert_eq!(judge(&[write("1", unknown())]).errors.len(), 1);
        assert_eq!(judge(&[write("1", Got::Closed)]).closed, 1);
    }
}
