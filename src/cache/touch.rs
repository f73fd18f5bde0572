//! Which touches need not be sent: requests that only move the deadline of a cached, live session a little.
//!
//! Most session libraries refresh the TTL on every request, and every EXPIRE that reaches the server makes it tell all
//! readers to forget the key. So a touch that would move the deadline by less than a *window* is answered here, in
//! Redis's own bytes, and the server keeps the deadline it has. Everything that is not plainly such a touch is sent.
//!
//! # Invariant
//! Deadlines are compared, never arguments. With d the deadline that the server has and new the one that the request
//! would give it now, it is answered only if d is finite and d <= new < d + window (GT: d < new), where
//! window = min(fraction * the TTL asked for, cap). So a touch that shortens is always sent, and the server's deadline is
//! never behind what the clients were told by a window or more. This is COHERENCE.md's rule 16 but for its other half,
//! which the caller holds: a valid lease, no write pending, the key known to exist. It also asks whether the client may
//! run the command at all.
//!
//! # Milliseconds and clocks
//! The server counts a deadline in whole milliseconds of its own wall clock; we have PTTL's answer and when, by our boot
//! clock, it was asked for and there. What decides is the *gain*, new - d on the server's scale, and we know it only as a
//! range: new >= d is tested with its low end, new < d + window with its high end. In both a doubt means to send.
//! - *Relative forms* need no wall clock: the server cuts both instants down to milliseconds of one clock, so the gain is
//!   the TTL asked for, less PTTL's answer, plus the whole milliseconds that its clock went on between PTTL and now. That
//!   is at least none, since the request comes after PTTL's reply: a TTL that is no shorter than PTTL said needs no further
//!   proof, and a client that reads and refreshes in a tight loop is answered from the second round on.
//! - *Absolute forms* need the server's wall clock, known within an error ([`Wall`]); with none they are sent.
//! - Cutting costs up to one millisecond at each end, different speeds of two clocks one in a thousand.
//! - A *step* of the server's clock between fill and touch can't be seen here. One of ours clears the cache (rule 6); the
//!   server's own moves its absolute deadlines too, whoever counts, and is bounded by the age of an entry.
//!
//! Source: redis `src/expire.c`, `expireGenericCommand`; `src/t_string.c`, `getexCommand`, `setGenericCommand` and
//! `parseExtendedStringArgumentsOrReply`; `src/util.c`, `string2ll`.

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::cache::entry::Millis;
use crate::command::time::{Abilities, COMMANDS, OPTIONS, Time, after, find, seconds_after};
use crate::resp::value::body;

/// Words of the longest request that is looked at; one that was cut to one word more is sent, as it has to be.
pub const WORDS_MAX: usize = 5;

/// By one in how many milliseconds two clocks may drift apart: both ends disciplined by NTP at the most that the kernel
/// allows for a frequency, 500 ppm, in opposite directions.
const SPEED_DIFFERENCE: u64 = 1000;

const ONE: &[u8] = b":1\r\n";
const OK: &[u8] = b"+OK\r\n";
const PAIR: &[u8] = b"*2\r\n+OK\r\n:1\r\n";

/// What to do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Answer it with these bytes, the same in RESP2 and RESP3; the server never sees it.
    Answer(Bytes),
    /// Send it: a write like any other.
    Send,
}

/// By how much less than what was asked for a deadline may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Millionths of the TTL asked for.
    millionths: u32,
    cap: Millis,
}

impl Default for Window {
    fn default() -> Self {
        Self::new(0.01, 30_000)
    }
}

impl Window {
    /// Makes a window of `fraction` (0 to 1, cut to that and to millionths) of the TTL asked for, and at most `cap`
    /// milliseconds. With either 0 no touch is answered.
    pub fn new(fraction: f64, cap: Millis) -> Self {
        // A float's cast saturates, and what is no number becomes 0.
        Self::from_millionths((fraction.min(1.0) * 1e6) as u32, cap)
    }

    /// Makes a window of so many millionths of the TTL asked for, and at most `cap` milliseconds.
    pub fn from_millionths(millionths: u32, cap: Millis) -> Self {
        Self { millionths, cap }
    }

    /// Tells whether touches are answered at all.
    pub fn is_on(self) -> bool {
        self.millionths > 0 && self.cap > 0
    }

    /// Returns the window of a request for `ttl` milliseconds, cut to whole ones.
    fn of(self, ttl: i128) -> i128 {
        (ttl * i128::from(self.millionths) / 1_000_000).min(i128::from(self.cap))
    }
}

/// What is known of a key that exists, from one reply kept for it.
#[derive(Clone, Copy, Debug)]
pub struct Live<'a> {
    /// When the key expires at the earliest: `sent_at` + PTTL, not lowered by any limit of our own; `None` = never.
    pub deadline: Option<Millis>,
    /// When PTTL was sent, or earlier.
    pub sent_at: Millis,
    /// When its reply was there, or later: `now` is never wrong, and only has more sent.
    pub answered_at: Millis,
    /// GET's reply as kept, if it is what was read.
    pub value: Option<&'a [u8]>,
}

/// The time at which a request is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// By the boot clock, as in [`Live`].
    pub now: Millis,
    /// By the server's wall clock; `None` = not known well enough for absolute deadlines.
    pub wall: Option<Wall>,
}

/// What the server's wall clock shows: Unix milliseconds, at most `error` away from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wall {
    /// Unix milliseconds.
    pub at: Millis,
    /// How far the server's clock may be from `at`, in milliseconds. Where `at` is this machine's clock: how far apart
    /// the two machines may be.
    pub error: Millis,
}

impl Wall {
    /// Reckons it at `now` from an answer to TIME, cut to milliseconds; the other times are of the boot clock.
    pub fn from_time(time: Millis, sent_at: Millis, answered_at: Millis, now: Millis) -> Self {
        let round = answered_at.saturating_sub(sent_at);
        let age = now.saturating_sub(sent_at);
        Self {
            at: time.saturating_add(now.saturating_sub(answered_at)),
            // One for the cut of TIME, one for that of our own clock.
            error: round.saturating_add(2 + age.div_ceil(SPEED_DIFFERENCE)),
        }
    }
}

/// Which way the deadline may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    /// None, or XX: for a key with a deadline there is no difference.
    None,
    /// GT.
    Later,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form<'a> {
    Expire(Time, Condition),
    Touch,
    Read,
    ReadAndExpire(Time),
    Set(&'a [u8], Time),
}

/// A request that may be a touch; its key says which entry decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The key.
    pub key: &'a [u8],
    form: Form<'a>,
}

impl Candidate<'_> {
    /// Tells whether the key's value decides, or is the answer.
    pub fn wants_value(&self) -> bool {
        matches!(
            self.form,
            Form::Read | Form::ReadAndExpire(_) | Form::Set(..)
        )
    }
}

/// What is configured, and what the server can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Which touches are answered.
    pub window: Window,
    /// Whether a SET of the bytes that are cached is one, too.
    pub unchanged_set: bool,
    /// What the server can do.
    pub abilities: Abilities,
}

impl Rules {
    /// Reads a request; `None` if it is no touch, whatever is cached.
    pub fn read<'a>(&self, words: &[&'a [u8]]) -> Option<Candidate<'a>> {
        let (&name, arguments) = words.split_first()?;
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match *arguments {
            [key] if is("touch") => self.candidate(key, Form::Touch),
            [key, ..] if is("getex") => self.read_getex(key, &arguments[1..]),
            [key, time, ref options @ ..] if options.len() < 2 => {
                if let Some(read) = find(&COMMANDS, name) {
                    let condition = self.condition(options)?;
                    return self.candidate(key, Form::Expire(read(time)?, condition));
                }
                match *options {
                    [value] if is("setex") => self.read_set(key, value, seconds_after(time)?),
                    [value] if is("psetex") => self.read_set(key, value, after(time)?),
                    _ => None,
                }
            }
            [key, value, unit, time] if is("set") => {
                self.read_set(key, value, self.option(unit, time)?)
            }
            _ => None,
        }
    }

    /// Decides about a request by what is known of its key.
    pub fn decide(&self, candidate: &Candidate<'_>, live: &Live<'_>, clock: &Clock) -> Decision {
        if live.deadline.is_some_and(|deadline| clock.now >= deadline) {
            return Decision::Send;
        }
        let is_small = |time, condition| self.is_small(time, condition, live, clock);
        match candidate.form {
            Form::Touch => Decision::Answer(Bytes::from_static(ONE)),
            Form::Expire(time, condition) => answer_if(is_small(time, condition), ONE),
            Form::Read => answer_value(live),
            Form::ReadAndExpire(time) if is_small(time, Condition::None) => answer_value(live),
            Form::ReadAndExpire(_) => Decision::Send,
            Form::Set(value, time) => {
                answer_if(has(live, value) && is_small(time, Condition::None), OK)
            }
        }
    }

    /// Decides about a request while nothing can be sent: any extension of a live key's deadline is answered, whatever the
    /// window, if the key lives for longer than `at_least` milliseconds. Returns the answer, and the deadline that is to
    /// be applied later, in milliseconds since 1970 by the server's clock; none where there is nothing to apply.
    ///
    /// REPAIR.md, "Answers while holding". The caller sees to it that no write of the key waits or is under way.
    pub fn decide_held(
        &self,
        candidate: &Candidate<'_>,
        live: &Live<'_>,
        clock: &Clock,
        at_least: Millis,
    ) -> Option<(Bytes, Option<i64>)> {
        let left = live.deadline?.checked_sub(clock.now)?;
        if left <= at_least {
            return None;
        }
        let (time, condition, answer) = match candidate.form {
            Form::Touch => return Some((Bytes::from_static(ONE), None)),
            Form::Read => return Some((answered(answer_value(live))?, None)),
            Form::Expire(time, condition) => (time, condition, Bytes::from_static(ONE)),
            Form::ReadAndExpire(time) => (time, Condition::None, answered(answer_value(live))?),
            Form::Set(value, time) if has(live, value) => {
                (time, Condition::None, Bytes::from_static(OK))
            }
            Form::Set(..) => return None,
        };
        let (ttl, error) = asked_for(time, clock)?;
        let gain = gain(ttl, error, live, clock.now)?;
        let least = match condition {
            Condition::None => 0,
            Condition::Later => 1,
        };
        let at = match time {
            Time::At(at) => at,
            Time::After(ttl) => i64::try_from(clock.wall?.at).ok()?.checked_add(ttl)?,
        };
        (*gain.start() >= least).then_some((answer, Some(at)))
    }

    /// Decides about a transaction of just `SET key value` and an EXPIRE, PEXPIRE, EXPIREAT or PEXPIREAT of the same
    /// key: an [`Decision::Answer`] has the bytes that EXEC is answered with.
    ///
    /// The SET takes the deadline away and the second request gives one, so it may have no option: XX and GT, looking
    /// at a key without deadline, do nothing. Each must be a whole request, or cut no shorter than [`WORDS_MAX`] + 1.
    pub fn decide_pair(
        &self,
        first: &[&[u8]],
        second: &[&[u8]],
        live: &Live<'_>,
        clock: &Clock,
    ) -> Decision {
        let (&[set, key, value], &[_, _, _]) = (first, second) else {
            return Decision::Send;
        };
        let Some(expire) = self.read(second) else {
            return Decision::Send;
        };
        let is_pair = self.unchanged_set
            && set.eq_ignore_ascii_case(b"set")
            && matches!(expire.form, Form::Expire(..))
            && expire.key == key
            && has(live, value);
        if is_pair && self.decide(&expire, live, clock) != Decision::Send {
            Decision::Answer(Bytes::from_static(PAIR))
        } else {
            Decision::Send
        }
    }

    fn candidate<'a>(&self, key: &'a [u8], form: Form<'a>) -> Option<Candidate<'a>> {
        let is_wanted = self.window.is_on() || form == Form::Read;
        is_wanted.then_some(Candidate { key, form })
    }

    fn read_getex<'a>(&self, key: &'a [u8], options: &[&'a [u8]]) -> Option<Candidate<'a>> {
        if !self.abilities.getex {
            return None;
        }
        match *options {
            [] => self.candidate(key, Form::Read),
            [unit, time] => self.candidate(key, Form::ReadAndExpire(self.option(unit, time)?)),
            _ => None,
        }
    }

    fn read_set<'a>(&self, key: &'a [u8], value: &'a [u8], time: Time) -> Option<Candidate<'a>> {
        if !self.unchanged_set {
            return None;
        }
        self.candidate(key, Form::Set(value, time))
    }

    /// Reads the one option that an EXPIRE may have.
    fn condition(&self, options: &[&[u8]]) -> Option<Condition> {
        match *options {
            [] => Some(Condition::None),
            // An older server refuses the request for its number of words.
            _ if !self.abilities.expire_options => None,
            [option] if option.eq_ignore_ascii_case(b"xx") => Some(Condition::None),
            [option] if option.eq_ignore_ascii_case(b"gt") => Some(Condition::Later),
            _ => None,
        }
    }

    /// Reads the time of SET's and GETEX's options.
    fn option(&self, unit: &[u8], time: &[u8]) -> Option<Time> {
        let read = find(&OPTIONS, unit)?;
        // The two absolute ones came to SET together with GETEX.
        read(time).filter(|time| self.abilities.getex || matches!(time, Time::After(_)))
    }

    /// The rule: whether the deadline that is asked for lies less than a window past the one that the server has.
    fn is_small(&self, time: Time, condition: Condition, live: &Live<'_>, clock: &Clock) -> bool {
        let Some((ttl, error)) = asked_for(time, clock) else {
            return false;
        };
        let Some(gain) = gain(ttl, error, live, clock.now) else {
            return false;
        };
        let least = match condition {
            Condition::None => 0,
            Condition::Later => 1,
        };
        *gain.start() >= least && *gain.end() < self.window.of(ttl - error)
    }
}

/// Returns the TTL that is asked for, counted from now by the server's clock, and how far it may be from that.
fn asked_for(time: Time, clock: &Clock) -> Option<(i128, i128)> {
    match time {
        Time::After(ttl) => Some((i128::from(ttl), 0)),
        Time::At(at) => {
            let wall = clock.wall?;
            Some((i128::from(at) - i128::from(wall.at), i128::from(wall.error)))
        }
    }
}

/// Returns by how many milliseconds the server's deadline would move, at least and at most; `None` if there is no deadline.
///
/// The server's deadline is its clock at PTTL, cut to milliseconds, plus PTTL's answer; the new one is its clock now plus
/// `ttl`, give or take `error`. What is left to find is how far its clock went on between the two. PTTL ran after we sent it
/// and before its reply was there; two readings of a cut clock that are a time apart differ by that time give or take less
/// than one millisecond, and so do ours; the server's never differ by less than none. So: at least the time since the reply
/// less one, at most the time since the sending plus one.
fn gain(ttl: i128, error: i128, live: &Live<'_>, now: Millis) -> Option<RangeInclusive<i128>> {
    let told = live.deadline?.checked_sub(live.sent_at)?;
    let since_answer = now.saturating_sub(live.answered_at);
    let since_sending = now.saturating_sub(live.sent_at);
    let least = since_answer
        .saturating_sub(1)
        .saturating_sub(since_answer.div_ceil(SPEED_DIFFERENCE));
    let most = since_sending.saturating_add(1 + since_sending.div_ceil(SPEED_DIFFERENCE));
    let without = ttl - i128::from(told);
    Some(without - error + i128::from(least)..=without + error + i128::from(most))
}

fn answered(decision: Decision) -> Option<Bytes> {
    match decision {
        Decision::Answer(reply) => Some(reply),
        Decision::Send => None,
    }
}

fn answer_if(condition: bool, reply: &'static [u8]) -> Decision {
    if condition {
        Decision::Answer(Bytes::from_static(reply))
    } else {
        Decision::Send
    }
}

/// Answers with the value; a bulk string has the same bytes in both protocols, a null or an error has not.
fn answer_value(live: &Live<'_>) -> Decision {
    match live.value {
        Some(reply) if body(reply).is_some() => Decision::Answer(Bytes::copy_from_slice(reply)),
        _ => Decision::Send,
    }
}

/// Tells whether the key's value is known to be `value`.
fn has(live: &Live<'_>, value: &[u8]) -> bool {
    live.value.and_then(body) == Some(value)
}

#[cfg(test)]
mod tests;
