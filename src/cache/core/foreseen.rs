//! What a key holds by our own words, while the server has not said so: of a write that was answered, as long as the read behind
//! it is not; and of one under way that leaves the value alone.
//!
//! It is served only where the server can't say it any more: when the link is lost, it is kept as the read's reply would have been
//! ([`Core::keep_foreseen`]). That is as sound as what the read before it brought: the server has said nothing on that link
//! since, neither a change of the key (which moves the fence) nor a reply from behind the write.

use std::hash::BuildHasher;

use bytes::Bytes;

use super::{Core, Rules};
use crate::cache::entry::{Kept, Store};
use crate::cache::fence::Ticket;

/// What a key holds unless somebody has changed it meanwhile.
#[derive(Debug)]
pub struct Foreseen {
    key: Bytes,
    kept: Kept,
    ticket: Ticket,
}

impl Foreseen {
    /// Returns the key.
    pub fn key(&self) -> &Bytes {
        &self.key
    }

    /// Tells whether it is about this key.
    pub fn is_of(&self, database: u32, key: &[u8]) -> bool {
        self.kept.database == database && self.key == key
    }

    /// Returns what it holds.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }
}

impl<S: Store, H: BuildHasher, R: Rules> Core<S, H, R> {
    /// Foresees what a key holds from now on. Our own write to it may be under way, which has spoiled before.
    pub fn foresee(&self, key: Bytes, kept: Kept) -> Foreseen {
        let ticket = self.fence.ticket_regardless(&key);
        Foreseen { key, kept, ticket }
    }

    /// Tells whether nothing may have changed since.
    pub fn is_foreseen(&self, foreseen: &Foreseen) -> bool {
        self.fence.holds(foreseen.ticket)
    }

    /// The link that would have told is lost: keeps what was foreseen.
    pub fn keep_foreseen(&mut self, foreseen: Foreseen) {
        self.store.keep(&foreseen.key, foreseen.kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::core::{Question, Tracking};
    use crate::cache::fence::Fence;
    use crate::cache::store::{Limits, MokaStore};

    fn core() -> Core<MokaStore> {
        let limits = Limits {
            bytes: 1 << 20,
            entry_bytes_max: 1 << 10,
            ttl: std::time::Duration::from_secs(10),
        };
        Core::new(MokaStore::new(limits), Fence::default())
    }

    fn kept() -> Kept {
        Kept {
            database: 0,
            shape: Bytes::from_static(b"get"),
            reply: Bytes::from_static(b"$1\r\nv\r\n"),
            deadline: Some(100),
            sent_at: 1,
            answered_at: 1,
            link: 7,
        }
    }

    #[test]
    fn what_is_foreseen_is_void_once_the_key_may_have_changed() {
        let changes: [fn(&mut Core<MokaStore>); 4] = [
            |core| core.changed(b"a"),
            |core| core.all_changed(),
            |core| {
                core.write_sent(b"a");
            },
            |core| core.changed(b"b"),
        ];
        let holds = changes.map(|change| {
            let mut core = core();
            let foreseen = core.foresee(Bytes::from_static(b"a"), kept());
            change(&mut core);
            core.is_foreseen(&foreseen)
        });
        assert_eq!(holds, [false, false, false, true]);
    }

    #[test]
    fn what_is_foreseen_is_shown_when_it_is_kept_and_not_before() {
        let mut core = core();
        core.write_sent(b"a");
        let foreseen = core.foresee(Bytes::from_static(b"a"), kept());
        let question = |serial| Question {
            key: b"a",
            database: 0,
            shape: b"get",
            link: Tracking {
                serial,
                ttl: Some(50),
                lease_until: 1_000,
                ..Tracking::default()
            },
            now: 9,
            after: None,
        };
        assert_eq!(core.look_up(&question(7), |_| ()), None);
        assert!(
            core.is_foreseen(&foreseen),
            "its own write had begun before"
        );
        core.keep_foreseen(foreseen);
        assert_eq!(core.look_up(&question(8), |_| ()), None, "another link's");
        assert_eq!(core.look_up(&question(7), |_| ()), Some(()));
    }
}
