//! The server of a world, and what travels on its links.

use std::collections::VecDeque;

use bytes::Bytes;

use super::super::FlightId;
use crate::cache::entry::Millis;

/// The links.
pub(super) const TRACKED: usize = 0;
/// The link that is not tracked.
pub(super) const GENERAL: usize = 1;

/// A request on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Request {
    Get {
        client: usize,
        op: usize,
        flight: Option<FlightId>,
    },
    Ttl(FlightId),
    Write {
        client: usize,
        op: usize,
        exists: bool,
    },
    Queue,
    Track,
}

/// An answer on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    Value {
        client: usize,
        op: usize,
        flight: Option<FlightId>,
        seen: Seen,
    },
    Ttl(FlightId, i64),
    Done {
        client: usize,
        op: usize,
        version: u8,
    },
    Queued,
    /// Whether it tracks.
    Tracking(bool),
    Changed,
}

/// What a read saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Seen {
    pub version: u8,
    pub exists: bool,
}

impl Seen {
    pub(super) fn bytes(self) -> Bytes {
        Bytes::copy_from_slice(&[self.version, u8::from(self.exists)])
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Self {
            version: bytes[0],
            exists: bytes[1] != 0,
        }
    }
}

/// Both directions of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Link {
    pub requests: VecDeque<Request>,
    pub answers: VecDeque<Answer>,
}

/// One key: each write makes a version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Server {
    pub version: u8,
    pub exists: bool,
    pub deadline: Option<Millis>,
    /// It has agreed to track what is read on the tracked link.
    pub tracking: bool,
    /// It agrees to no further link (an ACL forbids it).
    pub refuses: bool,
    /// That link is to hear of the next change.
    pub remembers: bool,
}

impl Server {
    pub(super) fn sees(&self, now: Millis) -> Seen {
        Seen {
            version: self.version,
            exists: self.exists && self.deadline.is_none_or(|deadline| now < deadline),
        }
    }

    /// Runs a request of a link.
    pub(super) fn serve(&mut self, link: usize, request: Request, now: Millis, links: &mut [Link]) {
        let seen = self.sees(now);
        let answer = match request {
            Request::Get { client, op, flight } => {
                self.remembers |= link == TRACKED && self.tracking;
                Answer::Value {
                    client,
                    op,
                    flight,
                    seen,
                }
            }
            Request::Ttl(flight) => {
                self.remembers |= self.tracking;
                let left = self.deadline.map_or(-1, |at| at.saturating_sub(now) as i64);
                Answer::Ttl(flight, if seen.exists { left } else { -2 })
            }
            Request::Write { client, op, exists } => {
                // The answer stands before the message that it deserves.
                links[link].answers.push_back(Answer::Done {
                    client,
                    op,
                    version: self.version + 1,
                });
                return self.change(exists, links);
            }
            Request::Queue => Answer::Queued,
            Request::Track => {
                self.tracking = !self.refuses;
                Answer::Tracking(self.tracking)
            }
        };
        links[link].answers.push_back(answer);
    }

    /// Writes, whoever does.
    pub(super) fn change(&mut self, exists: bool, links: &mut [Link]) {
        self.version += 1;
        self.exists = exists;
        self.deadline = None;
        self.announce(links);
    }

    /// Deletes what has expired.
    pub(super) fn reap(&mut self, links: &mut [Link]) {
        self.exists = false;
        self.deadline = None;
        self.announce(links);
    }

    fn announce(&mut self, links: &mut [Link]) {
        if std::mem::take(&mut self.remembers) {
            links[TRACKED].answers.push_back(Answer::Changed);
        }
    }
}
