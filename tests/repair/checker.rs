//! What became of acknowledged writes: pure.
//!
//! A session is asked one thing at a time, so what it must hold is known: what the requests leave that were answered, one after
//! the other. One whose outcome is unknown leaves two possibilities. Compared is with what the primary has in the end.

use super::history::{Entry, Session};
use super::model::{Answer, Command, Content, SLACK, Span, State};

/// Sessions that are shown at most.
const EXAMPLES_MAX: usize = 20;

/// Of what such a session may hold, and holds, so much is shown.
const EXAMPLE_CHARS_MAX: usize = 400;

/// What the primary has under a key, asked between two instants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) content: Content,
    /// When it expires by the run's clock; never if there is none.
    pub(crate) deadline: Option<Span>,
    pub(crate) when: Span,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Sessions, and acknowledged writes to them.
    pub(crate) sessions: usize,
    pub(crate) writes: usize,
    /// Sessions that lack an acknowledged write.
    pub(crate) lost: usize,
    /// Those of them that are counters, or hashes with one, and lack no more than counts.
    pub(crate) miscounted: usize,
    /// Sessions that are there although their logout was acknowledged.
    pub(crate) resurrected: usize,
    /// Sessions that hold what they must, for another time than was asked.
    pub(crate) wrong_ttl: usize,
    /// Answers that told of a state which the session can't have been in, though that may have been repaired since.
    pub(crate) misread: usize,
    /// Requests of which the outcome is unknown, that were not executed, and whose answer was none that they can have.
    pub(crate) unknown: usize,
    pub(crate) not_executed: usize,
    pub(crate) odd: Vec<String>,
    pub(crate) examples: Vec<String>,
}

/// What is wrong with one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Lost,
    Miscounted,
    Resurrected,
    Ttl,
}

impl Verdict {
    /// Sessions that are not as they must be.
    pub(crate) fn damaged(&self) -> usize {
        self.lost + self.resurrected + self.wrong_ttl
    }
}

/// Judges all sessions by what was found of each, in the same order.
pub(crate) fn judge(sessions: &[Session], found: &[Found]) -> Verdict {
    assert_eq!(sessions.len(), found.len(), "each session was looked for");
    let mut verdict = Verdict::default();
    for (session, found) in sessions.iter().zip(found) {
        verdict.sessions += 1;
        let possible = possible(&mut verdict, session, found.when);
        let Some(wrong) = compare(&possible, found) else {
            continue;
        };
        match wrong {
            Wrong::Lost => verdict.lost += 1,
            Wrong::Miscounted => {
                verdict.lost += 1;
                verdict.miscounted += 1;
            }
            Wrong::Resurrected => verdict.resurrected += 1,
            Wrong::Ttl => verdict.wrong_ttl += 1,
        }
        if verdict.examples.len() < EXAMPLES_MAX {
            verdict
                .examples
                .push(show(wrong, session, &possible, found));
        }
    }
    verdict
}

/// What a session may hold at the end.
fn possible(verdict: &mut Verdict, session: &Session, end: Span) -> Vec<State> {
    let mut states = vec![State::ABSENT];
    for entry in &session.entries {
        if entry.command.is_write() && is_acknowledged(&entry.answer) {
            verdict.writes += 1;
        }
        states = after(verdict, &states, entry);
    }
    passed(&states, end)
}

/// Whether it was done, by its answer.
pub(crate) fn is_acknowledged(answer: &Answer) -> bool {
    !matches!(
        answer,
        Answer::Unknown | Answer::NotExecuted | Answer::Odd(_)
    )
}

/// What is left of them by then, each once.
fn passed(states: &[State], when: Span) -> Vec<State> {
    once(states.iter().flat_map(|state| state.at(when)))
}

fn once(states: impl Iterator<Item = State>) -> Vec<State> {
    let mut each: Vec<State> = Vec::new();
    for state in states {
        if !each.contains(&state) {
            each.push(state);
        }
    }
    each
}

fn after(verdict: &mut Verdict, states: &[State], entry: &Entry) -> Vec<State> {
    let before = passed(states, entry.when);
    let ran: Vec<(State, Answer)> = before
        .iter()
        .map(|state| entry.command.run(state, entry.when))
        .collect();
    match &entry.answer {
        Answer::NotExecuted => {
            verdict.not_executed += 1;
            return before;
        }
        Answer::Unknown => verdict.unknown += 1,
        Answer::Odd(reply) => verdict.odd.push(format!("{:?}: {reply}", entry.command)),
        answer => return acknowledged(verdict, entry, ran, answer),
    }
    let may_have_run = ran.into_iter().map(|(state, _)| state);
    once(before.into_iter().chain(may_have_run))
}

fn acknowledged(
    verdict: &mut Verdict,
    entry: &Entry,
    ran: Vec<(State, Answer)>,
    answer: &Answer,
) -> Vec<State> {
    let (fit, other): (Vec<_>, Vec<_>) = ran
        .into_iter()
        .partition(|(_, expected)| expected == answer);
    let tells = entry.command.tells();
    if fit.is_empty() && (tells || !entry.command.is_write()) {
        verdict.misread += 1;
    }
    // What was acknowledged is held against the server, whatever the server told in between.
    let kept = match tells && !fit.is_empty() {
        true => Vec::new(),
        false => other,
    };
    once(fit.into_iter().chain(kept).map(|(state, _)| state))
}

fn compare(possible: &[State], found: &Found) -> Option<Wrong> {
    let same: Vec<&State> = possible
        .iter()
        .filter(|state| state.content == found.content)
        .collect();
    if same.iter().any(|state| is_near(state.deadline, found)) {
        return None;
    }
    if !same.is_empty() {
        return Some(Wrong::Ttl);
    }
    if possible
        .iter()
        .all(|state| state.content == Content::Absent)
    {
        return Some(Wrong::Resurrected);
    }
    let counted = |content: &Content| without_counts(content) == without_counts(&found.content);
    match possible.iter().any(|state| counted(&state.content)) {
        true => Some(Wrong::Miscounted),
        false => Some(Wrong::Lost),
    }
}

fn is_near(asked: Option<Span>, found: &Found) -> bool {
    match (asked, found.deadline) {
        (None, None) => true,
        (Some(asked), Some(deadline)) => {
            deadline.until + SLACK >= asked.from && deadline.from <= asked.until + SLACK
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// The same with each number replaced.
fn without_counts(content: &Content) -> Content {
    let blank = |text: &String| match text.parse::<i64>() {
        Ok(_) => "a number".to_owned(),
        Err(_) => text.clone(),
    };
    match content {
        Content::Absent => Content::Absent,
        Content::Text(text) => Content::Text(blank(text)),
        Content::Fields(fields) => {
            let each = fields
                .iter()
                .map(|(field, text)| (field.clone(), blank(text)));
            Content::Fields(each.collect())
        }
    }
}

/// The end of a session's history, and what was made of it.
fn show(wrong: Wrong, session: &Session, possible: &[State], found: &Found) -> String {
    const ENTRIES: usize = 4;
    let skipped = session.entries.len().saturating_sub(ENTRIES);
    let mut text = format!("{wrong:?} {}:", session.key);
    for entry in &session.entries[skipped..] {
        let command = match &entry.command {
            Command::Set { life, how, .. } => format!("{how:?} {life:?}"),
            other => format!("{other:.60?}"),
        };
        text.push_str(&format!(
            "\n    {:.3}..{:.3} by {}: {command} -> {:.60}",
            entry.when.from.as_secs_f64(),
            entry.when.until.as_secs_f64(),
            entry.sidecar,
            format!("{:?}", entry.answer)
        ));
    }
    let brief = |text: String| text.chars().take(EXAMPLE_CHARS_MAX).collect::<String>();
    text.push_str(&format!(
        "\n    may be {}\n    is {}",
        brief(format!("{possible:.0?}")),
        brief(format!("{found:.0?}"))
    ));
    text
}
