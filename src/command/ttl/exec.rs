//! The client's reply among those to a transaction of ours.
//!
//! The server answers `+OK` to MULTI, `+QUEUED` to each request, and the replies in an array to EXEC. Else:
//! - it refuses to queue the client's request (no memory, a replica, no permission): that error is the client's reply;
//! - it refuses one of ours, or EXEC (it looks at memory and role once more): nothing has run, and it may be sent alone;
//! - it refuses MULTI (no permission, not authenticated): the requests behind it ran, or were refused, one by one.
//!
//! Source: redis `src/multi.c`, `execCommand`; `src/server.c`, `rejectCommand`.

use crate::resp::Scanner;

/// What became of a request that was sent in a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// It was answered.
    Answered {
        /// The client's reply, in the link's protocol.
        reply: &'a [u8],
        /// How many keys had no expiry and were given one.
        given: u32,
        /// The replies to the requests of ours in front of it; none where the client's was refused.
        front: Vec<&'a [u8]>,
    },
    /// Nothing has run, and not for the client's request alone: it is to be sent as it came.
    NotRun,
}

/// Takes apart the replies to a [`super::Verdict::Transaction`], all of them and nothing else (pushes taken out), with so many
/// requests of ours in front of the client's.
///
/// `None` if these can't be such replies: the link is out of step.
pub fn read(replies: &[u8], front: usize) -> Option<Outcome<'_>> {
    let frames = frames(replies)?;
    let [multi, queued @ .., exec] = frames.as_slice() else {
        return None;
    };
    let (marks, queued) = queued.split_at_checked(front)?;
    let (request, ours) = queued.split_first()?;
    if ours.is_empty() && front == 0 {
        return None;
    }
    if is_error(multi) {
        return Some(answered(request, ours, marks));
    }
    if *multi != b"+OK\r\n" {
        return None;
    }
    if is_error(request) {
        return Some(answered(request, &[], &[]));
    }
    if *request != b"+QUEUED\r\n" {
        return None;
    }
    if is_error(exec) || matches!(*exec, b"*-1\r\n" | b"_\r\n") {
        return Some(Outcome::NotRun);
    }
    let elements = elements(exec)?;
    let (marks, elements) = elements.split_at_checked(front)?;
    let (request, given) = elements.split_first()?;
    (given.len() == ours.len()).then(|| answered(request, given, marks))
}

fn answered<'a>(reply: &'a [u8], ours: &[&[u8]], front: &[&'a [u8]]) -> Outcome<'a> {
    let given = ours.iter().filter(|reply| **reply == b":1\r\n").count();
    Outcome::Answered {
        reply,
        given: given as u32,
        front: front.to_vec(),
    }
}

fn is_error(frame: &[u8]) -> bool {
    matches!(frame.first(), Some(b'-' | b'!'))
}

/// Cuts an array into its elements.
fn elements(array: &[u8]) -> Option<Vec<&[u8]>> {
    let end = array.iter().position(|&byte| byte == b'\n')? + 1;
    (array.first() == Some(&b'*')).then(|| frames(&array[end..]))?
}

/// Cuts bytes into whole frames; `None` if something is left.
pub fn frames(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let run = Scanner::default().run(bytes, 1).ok()?;
        if run.frames != 1 {
            return None;
        }
        let (frame, rest) = bytes.split_at(run.consumed);
        frames.push(frame);
        bytes = rest;
    }
    Some(frames)
}
