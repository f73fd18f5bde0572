//! What a session may hold, what a request makes of it, and what it answers then: pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::harness::encode;

/// What deadlines may differ by: clocks, and what a repair takes.
pub(crate) const SLACK: Duration = Duration::from_secs(1);

/// The share of its TTL by which a touch must move a deadline to be sent, and the most that this comes to: the defaults of
/// `touch.coalesce` and `touch.coalesce_max_s`.
const COALESCE: f64 = 0.01;
const COALESCE_MAX: Duration = Duration::from_secs(30);

/// A session that is written by a script: with its key declared, as scripts in clusters are.
const SCRIPT: &str = "redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) return 1";

/// Two instants by the run's clock, and something happened between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: Duration,
    pub(crate) until: Duration,
}

impl Span {
    pub(crate) fn later(self, by: Duration) -> Self {
        Self {
            from: self.from + by,
            until: self.until + by,
        }
    }
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Absent,
    Text(String),
    Fields(BTreeMap<String, String>),
}

/// A key at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) content: Content,
    /// When it expires; never if there is none.
    pub(crate) deadline: Option<Span>,
}

impl State {
    pub(crate) const ABSENT: Self = Self {
        content: Content::Absent,
        deadline: None,
    };

    /// What it may be by then, if nothing is done to it.
    pub(crate) fn at(&self, when: Span) -> Vec<Self> {
        let Some(deadline) = self.deadline else {
            return vec![self.clone()];
        };
        if deadline.until + SLACK < when.from {
            vec![Self::ABSENT]
        } else if deadline.from <= when.until + SLACK {
            vec![self.clone(), Self::ABSENT]
        } else {
            vec![self.clone()]
        }
    }
}

/// How long a SET lets a value live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Seconds(u64),
    /// As long as what was there before.
    Kept,
    Unlimited,
}

/// By which command a value is set with a TTL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Set,
    Setex,
    Script,
}

/// A request about one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Set {
        value: String,
        life: Life,
        how: How,
    },
    Expire(u64),
    Delete,
    /// GETDEL.
    Take,
    Count,
    Put(Vec<(&'static str, String)>),
    Drop(&'static str),
    Add(&'static str, i64),
    Read,
    ReadFields,
    /// MULTI, these, EXEC.
    Block(Vec<Command>),
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    Number(i64),
    Text(String),
    Nothing,
    Fields(BTreeMap<String, String>),
    Many(Vec<Answer>),
    /// An error that says that nothing was executed.
    NotExecuted,
    /// An error that says that it may have been executed, or no answer at all.
    Unknown,
    /// What does not belong to the request.
    Odd(String),
}

impl Command {
    /// Returns what it leaves of `state`, and its answer. `when` it is executed is only known to lie between two instants.
    pub(crate) fn run(&self, state: &State, when: Span) -> (State, Answer) {
        let mut state = state.clone();
        let answer = match self {
            Self::Set { value, life, how } => {
                state.deadline = match life {
                    Life::Seconds(seconds) => Some(when.later(Duration::from_secs(*seconds))),
                    Life::Kept => state.deadline,
                    Life::Unlimited => None,
                };
                state.content = Content::Text(value.clone());
                match how {
                    How::Script => Answer::Number(1),
                    How::Set | How::Setex => Answer::Done,
                }
            }
            Self::Expire(seconds) => expire(&mut state, *seconds, when),
            Self::Delete => {
                let was_there = state.content != Content::Absent;
                state = State::ABSENT;
                Answer::Number(was_there.into())
            }
            Self::Take => {
                let answer = read(&state);
                state = State::ABSENT;
                answer
            }
            Self::Count => match number(&state.content, None) {
                Some(number) => {
                    state.content = Content::Text((number + 1).to_string());
                    Answer::Number(number + 1)
                }
                None => Answer::Odd("no number".into()),
            },
            Self::Put(fields) => put(&mut state, fields),
            Self::Drop(field) => drop_field(&mut state, field),
            Self::Add(field, by) => match number(&state.content, Some(field)) {
                Some(number) => {
                    put(&mut state, &[(*field, (number + by).to_string())]);
                    Answer::Number(number + by)
                }
                None => Answer::Odd("no number".into()),
            },
            Self::Read | Self::ReadFields => read(&state),
            Self::Block(commands) => {
                let mut answers = Vec::new();
                for command in commands {
                    let (next, answer) = command.run(&state, when);
                    state = next;
                    answers.push(answer);
                }
                Answer::Many(answers)
            }
        };
        (state, answer)
    }

    pub(crate) fn is_write(&self) -> bool {
        !matches!(self, Self::Read | Self::ReadFields)
    }

    /// Whether its answer tells the state that it ran on: a count does. What is repeated after a loss may answer as a second run
    /// does, and a touch may be answered by a sidecar that does not know of another's logout.
    pub(crate) fn tells(&self) -> bool {
        matches!(self, Self::Count | Self::Add(..))
    }

    /// Its bytes.
    pub(crate) fn encode(&self, key: &str) -> Vec<u8> {
        let words: Vec<String> = match self {
            Self::Block(commands) => {
                let mut bytes = encode(&["MULTI"]);
                for command in commands {
                    bytes.extend(command.encode(key));
                }
                bytes.extend(encode(&["EXEC"]));
                return bytes;
            }
            Self::Set { value, life, how } => set_words(key, value, *life, *how),
            Self::Expire(seconds) => words(&["EXPIRE", key, &seconds.to_string()]),
            Self::Delete => words(&["DEL", key]),
            Self::Take => words(&["GETDEL", key]),
            Self::Count => words(&["INCR", key]),
            Self::Put(fields) => {
                let mut all = words(&["HSET", key]);
                for (field, value) in fields {
                    all.extend([(*field).to_owned(), value.clone()]);
                }
                all
            }
            Self::Drop(field) => words(&["HDEL", key, field]),
            Self::Add(field, by) => words(&["HINCRBY", key, field, &by.to_string()]),
            Self::Read => words(&["GET", key]),
            Self::ReadFields => words(&["HGETALL", key]),
        };
        encode(&words)
    }

    /// How many frames answer it, of which the last counts.
    pub(crate) fn frames(&self) -> usize {
        match self {
            Self::Block(commands) => commands.len() + 2,
            _ => 1,
        }
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn set_words(key: &str, value: &str, life: Life, how: How) -> Vec<String> {
    let (life, option) = match life {
        Life::Seconds(seconds) => (seconds.to_string(), "EX"),
        Life::Kept => return words(&["SET", key, value, "KEEPTTL"]),
        Life::Unlimited => return words(&["SET", key, value]),
    };
    match how {
        How::Set => words(&["SET", key, value, option, &life]),
        How::Setex => words(&["SETEX", key, &life, value]),
        How::Script => words(&["EVAL", SCRIPT, "1", key, value, &life]),
    }
}

fn expire(state: &mut State, seconds: u64, when: Span) -> Answer {
    if state.content == Content::Absent {
        return Answer::Number(0);
    }
    let life = Duration::from_secs(seconds);
    let mut deadline = when.later(life);
    deadline.from -= life.mul_f64(COALESCE).min(COALESCE_MAX);
    state.deadline = Some(deadline);
    Answer::Number(1)
}

fn read(state: &State) -> Answer {
    match &state.content {
        Content::Absent => Answer::Nothing,
        Content::Text(text) => Answer::Text(text.clone()),
        Content::Fields(fields) => Answer::Fields(fields.clone()),
    }
}

/// The number that a value, or one of its fields, is; 0 where there is nothing.
fn number(content: &Content, field: Option<&str>) -> Option<i64> {
    let text = match (content, field) {
        (Content::Absent, _) => return Some(0),
        (Content::Text(text), None) => text,
        (Content::Fields(fields), Some(field)) => match fields.get(field) {
            Some(text) => text,
            None => return Some(0),
        },
        _ => return None,
    };
    text.parse().ok()
}

fn put(state: &mut State, new: &[(&'static str, String)]) -> Answer {
    if state.content == Content::Absent {
        state.content = Content::Fields(BTreeMap::new());
    }
    let Content::Fields(fields) = &mut state.content else {
        return Answer::Odd("no hash".into());
    };
    let before = fields.len();
    for (field, value) in new {
        fields.insert((*field).to_owned(), value.clone());
    }
    Answer::Number((fields.len() - before) as i64)
}

fn drop_field(state: &mut State, field: &str) -> Answer {
    let Content::Fields(fields) = &mut state.content else {
        return Answer::Number(0);
    };
    let was_there = fields.remove(field).is_some();
    if fields.is_empty() {
        *state = State::ABSENT;
    }
    Answer::Number(was_there.into())
}
