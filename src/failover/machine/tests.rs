//! Every state against every event, and random streams of them.

use super::*;
use crate::seam::Entropy;

/// When the tests begin.
const NOW: Time = Time::from_secs(1000);

const DEADLINE: Duration = Duration::from_secs(10);

fn events() -> Vec<Event> {
    vec![
        Event::Announced,
        Event::CalledOff,
        Event::ObjectivelyDown(true),
        Event::ObjectivelyDown(false),
        Event::Node(NodeState::Answers),
        Event::Node(NodeState::Silent),
        Event::Node(NodeState::Changed),
        Event::Superseded(true),
        Event::Superseded(false),
        Event::Named,
        Event::LinkUp,
        Event::LinkLost,
        Event::Joined,
        Event::Isolated(true),
        Event::Isolated(false),
        Event::Refused(Scope::Writes),
        Event::Refused(Scope::All),
        Event::Full,
        Event::Tick,
    ]
}

/// Every state that can be told apart by phase, signs and whether a primary was named.
fn states(now: Time) -> Vec<State> {
    let mut states = Vec::new();
    for bits in 0..1_u16 << Sign::ALL.len() {
        let signs = Signs(bits);
        for phase in Phase::ALL {
            if signs.is_empty() != (phase == Phase::Serving) {
                continue;
            }
            for (named, joins) in [(false, false), (true, false), (true, true)] {
                let connecting = named && signs.is_within(&[Sign::Unlinked, Sign::Unjoined]);
                if phase == Phase::Connecting && !connecting
                    || phase == Phase::Holding && connecting
                {
                    continue;
                }
                let refused = signs.has(Sign::RefusesAll) || signs.has(Sign::RefusesWrites);
                states.push(State {
                    phase,
                    signs,
                    first: signs.iter().next().unwrap_or(Sign::Unlinked),
                    since: now,
                    ended: None,
                    named,
                    joins,
                    retry_at: refused.then(|| now + RETRY_MIN),
                    retries: u32::from(refused),
                });
            }
        }
    }
    states
}

/// What holds after any step.
fn check(before: State, event: Event, now: Time) -> (State, Effects) {
    let (after, effects) = before.step(event, now, DEADLINE);
    let context = format!("{before:?} {event:?} {after:?} {effects:?}");
    assert!(before.phase.may_become(after.phase), "{context}");
    assert_eq!(
        after.phase == Phase::Serving,
        after.signs.is_empty(),
        "{context}"
    );
    assert_eq!(effects.leave, event == Event::Named, "{context}");
    assert_eq!(
        effects.began,
        before.phase == Phase::Serving && after.phase != Phase::Serving,
        "{context}"
    );
    assert_eq!(
        effects.ended,
        before.phase != Phase::Serving && after.phase == Phase::Serving,
        "{context}"
    );
    // Whoever waits is looked at again whenever less is stopped, or all is refused.
    let eased = after.scope() < before.scope();
    let sheds = after.phase == Phase::Shedding && before.phase != Phase::Shedding;
    assert_eq!(effects.release, eased || sheds, "{context}");
    // Nobody waits past the deadline.
    if matches!(after.phase, Phase::Holding | Phase::Connecting) {
        assert!(now - after.since < DEADLINE, "{context}");
        let tick = after.next_tick(DEADLINE).expect("a hold has an end");
        assert!(tick <= after.since + DEADLINE, "{context}");
    }
    // Where it is refused there is a time to try again, and only there.
    let refused = after.signs.has(Sign::RefusesAll) || after.signs.has(Sign::RefusesWrites);
    assert_eq!(after.retry_at.is_some(), refused, "{context}");
    (after, effects)
}

#[test]
fn every_state_against_every_event() {
    let now = NOW;
    let states = states(now);
    assert!(states.len() > 2000);
    for state in states {
        for event in events() {
            for later in [Duration::ZERO, RETRY_MAX, DEADLINE] {
                let (after, _) = check(state, event, now + later);
                // What is said twice is said once.
                let (again, effects) = after.step(event, now + later, DEADLINE);
                if !matches!(event, Event::Named | Event::Tick) {
                    assert_eq!(again.signs, after.signs);
                    assert_eq!(effects, Effects::default(), "{state:?} {event:?}");
                }
            }
        }
    }
}

#[test]
fn random_streams_of_events_keep_the_invariants_and_can_always_end_well() {
    let seed = std::env::var("GRIPFAST_SEED").map_or(7, |text| text.parse().expect("a number"));
    eprintln!("failover machine: seed {seed}");
    let mut entropy = Entropy::from_seed(seed);
    let start = NOW;
    let events = events();
    for _ in 0..2_000 {
        let mut now = start;
        let mut state = State::new(
            entropy.next_u64().is_multiple_of(2),
            entropy.next_u64().is_multiple_of(2),
            now,
        );
        for _ in 0..50 {
            now += Duration::from_millis(entropy.next_u64() % 700);
            let event = events[(entropy.next_u64() % events.len() as u64) as usize];
            state = check(state, event, now).0;
        }
        // Whatever came before, a named primary whose link comes up, and that is joined, ends it.
        state = check(state, Event::Named, now).0;
        state = check(state, Event::LinkUp, now).0;
        state = check(state, Event::Joined, now).0;
        assert_eq!(state.phase(), Phase::Serving);
    }
}

#[test]
fn a_planned_failover_holds_writes_and_ends_at_the_new_primary() {
    let now = NOW;
    let state = check(State::new(true, false, now), Event::LinkUp, now).0;
    let (state, effects) = check(state, Event::Announced, now);
    assert!(effects.began);
    assert_eq!(state.scope(), Some(Scope::Writes));
    let (state, effects) = check(state, Event::Named, now);
    assert!(effects.leave && !effects.release);
    assert_eq!(
        (state.phase(), state.scope()),
        (Phase::Connecting, Some(Scope::All))
    );
    let (state, effects) = check(state, Event::LinkUp, now);
    assert!(effects.release && effects.ended);
    assert_eq!(state.phase(), Phase::Serving);
}

#[test]
fn one_that_is_called_off_goes_on_with_the_old_primary() {
    let now = NOW;
    let state = check(State::new(true, false, now), Event::LinkUp, now).0;
    let state = check(state, Event::Announced, now).0;
    let (state, effects) = check(state, Event::CalledOff, now);
    assert!(effects.release && effects.ended && !effects.leave);
    assert_eq!(state.phase(), Phase::Serving);
}

#[test]
fn a_frozen_primary_that_answers_again_calls_its_hold_off_but_no_other() {
    let now = NOW;
    let state = check(State::new(true, false, now), Event::LinkUp, now).0;
    let state = check(state, Event::Node(NodeState::Silent), now).0;
    let state = check(state, Event::Announced, now).0;
    assert_eq!(state.scope(), Some(Scope::All));
    let (state, effects) = check(state, Event::Node(NodeState::Answers), now);
    // Reads may go on, writes wait for the failover that was announced.
    assert!(effects.release && !effects.ended);
    assert_eq!(state.scope(), Some(Scope::Writes));
}

#[test]
fn what_is_refused_is_tried_again_ever_later_and_not_past_the_deadline() {
    let mut now = NOW;
    let begun = now;
    let mut state = check(State::new(true, false, now), Event::LinkUp, now).0;
    let mut pauses = Vec::new();
    while state.phase() != Phase::Shedding {
        state = check(state, Event::Refused(Scope::Writes), now).0;
        if state.phase() == Phase::Shedding {
            break;
        }
        let at = state.next_tick(DEADLINE).expect("it is tried again");
        pauses.push(at - now);
        now = at;
        state = check(state, Event::Tick, now).0;
    }
    assert_eq!(pauses[0], RETRY_MIN);
    assert!(pauses.contains(&RETRY_MAX));
    assert!(now - begun >= DEADLINE && now - begun < DEADLINE + RETRY_MAX);
}

#[test]
fn shedding_lasts_until_a_primary_serves() {
    let now = NOW;
    let state = State::new(false, false, now);
    assert_eq!(state.phase(), Phase::Holding);
    let (state, effects) = check(state, Event::Tick, now + DEADLINE);
    assert!(effects.release && !effects.ended);
    assert_eq!(state.phase(), Phase::Shedding);
    let late = now + DEADLINE * 2;
    let state = check(state, Event::Named, late).0;
    assert_eq!(state.phase(), Phase::Shedding);
    assert_eq!(check(state, Event::LinkUp, late).0.phase(), Phase::Serving);
    let full = check(State::new(true, false, now), Event::Full, now).0;
    assert_eq!(full.phase(), Phase::Shedding);
}

#[test]
fn where_it_joins_nothing_is_served_before_it_has() {
    let now = NOW;
    let up = check(State::new(true, true, now), Event::LinkUp, now).0;
    assert_eq!(
        (up.phase, up.scope()),
        (Phase::Connecting, Some(Scope::All))
    );
    let serving = check(up, Event::Joined, now).0;
    assert_eq!(serving.phase, Phase::Serving);
    // A link to the same primary that is lost changes nothing of what was agreed on.
    let lost = check(serving, Event::LinkLost, now).0;
    assert_eq!(check(lost, Event::LinkUp, now).0.phase, Phase::Serving);
    let named = check(serving, Event::Named, now).0;
    assert!(named.signs.has(Sign::Unjoined));
    assert_eq!(check(named, Event::LinkUp, now).0.phase, Phase::Connecting);
}
