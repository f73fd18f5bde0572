//! Which looks are admitted, and how many were of use.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::command::leaves::Look;
use crate::config::Opaque;
use crate::metrics::Looked;

/// For how long nothing is asked after the server refused it, and of a key after its DUMP was too large.
const LEFT_ALONE_FOR: Duration = Duration::from_secs(60);

/// Keys that are left alone, at most.
const LARGE_MAX: usize = 1024;

/// How the looks stand.
#[derive(Debug)]
pub(in crate::proxy) struct Looks {
    pub(super) opaque: Opaque,
    /// Nothing is asked before that time: of DUMP, and of the others.
    from: [Option<Instant>; 2],
    /// Keys that are too large, by database, and until when.
    large: HashMap<(u32, Box<[u8]>), Instant>,
    /// What became of keys whose payload was to be asked for.
    pub(in crate::proxy) counts: [u64; Looked::COUNT],
}

impl Looks {
    pub(in crate::proxy) fn new(opaque: Opaque) -> Self {
        Self {
            opaque,
            from: [None; 2],
            large: HashMap::new(),
            counts: [0; Looked::COUNT],
        }
    }

    pub(super) fn count(&mut self, outcome: Looked, count: u32) {
        self.counts[outcome.index()] += u64::from(count);
    }

    /// Tells whether such a look may be sent now; counts a payload that is not asked for.
    pub(super) fn admits(&mut self, look: Look, database: u32, key: &[u8], now: Instant) -> bool {
        let is_payload = look == Look::Payload;
        let is_over = |from: &Option<Instant>| from.is_none_or(|from| from <= now);
        let wanted = !is_payload || self.opaque == Opaque::Capture;
        let admitted = wanted
            && is_over(&self.from[usize::from(!is_payload)])
            && !(is_payload && self.is_large(database, key, now));
        if is_payload && !admitted {
            self.count_unasked(1);
        }
        admitted
    }

    /// Counts keys whose payload is not asked for; not where their writes are to wait for replicas.
    pub(super) fn count_unasked(&mut self, count: u32) {
        if self.opaque != Opaque::Wait {
            self.count(Looked::Ignored, count);
        }
    }

    fn is_large(&self, database: u32, key: &[u8], now: Instant) -> bool {
        if self.large.is_empty() {
            return false;
        }
        let until = self.large.get(&(database, Box::from(key)));
        until.is_some_and(|until| *until > now)
    }

    /// A key's DUMP was too large.
    pub(super) fn leave_alone(&mut self, database: u32, key: &[u8], now: Instant) {
        if self.large.len() >= LARGE_MAX {
            self.large.retain(|_, until| *until > now);
        }
        if self.large.len() < LARGE_MAX {
            self.large
                .insert((database, key.into()), now + LEFT_ALONE_FOR);
        }
    }

    /// The server refuses such looks.
    pub(super) fn refused(&mut self, is_payload: bool, now: Instant) {
        let from = &mut self.from[usize::from(!is_payload)];
        let is_news = from.is_none();
        *from = Some(now + LEFT_ALONE_FOR);
        if is_news && is_payload {
            tracing::warn!(
                "the server refuses DUMP: what writes of lists, sets, scripts and their like left stays unknown"
            );
        } else if is_news {
            tracing::warn!(
                "the server refuses HLEN or PTTL: what writes left stays partly unknown"
            );
        }
    }
}
