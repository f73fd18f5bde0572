//! How acknowledged writes that another primary lacks are put back.

use std::time::Duration;

/// How acknowledged writes that another primary lacks are put back ([`crate::repair`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// Whether they are. It needs the journal, and Sentinels that name the primary.
    pub enabled: bool,
    /// What the names of its keys on the server begin with.
    pub prefix: String,
    /// How long a round lasts at most; `None` = as long as a hold, and [`Hold::MARGIN`](super::Hold::MARGIN), but not less than
    /// [`Repair::WINDOW`].
    pub window: Option<Duration>,
    /// How long before a hold what was written is compared.
    pub recheck: Duration,
    /// How long what depends on other sidecars' writes waits for their reports.
    pub peer_wait: Duration,
    /// How much older than the newest a sidecar's heartbeat may be for it to be waited for.
    pub peer_timeout: Duration,
    /// Whether cached sessions are put back on a primary that has lost all data.
    pub reseed_from_cache: bool,
}

impl Repair {
    /// The least time of a round.
    pub const WINDOW: Duration = Duration::from_secs(30);
}

impl Default for Repair {
    fn default() -> Self {
        Self {
            enabled: true,
            prefix: "gripfast:".into(),
            window: None,
            recheck: Duration::from_secs(10),
            peer_wait: Duration::from_millis(250),
            peer_timeout: Duration::from_secs(5),
            reseed_from_cache: true,
        }
    }
}
