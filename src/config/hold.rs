//! What is held while there is no primary.

use std::time::Duration;

/// What is held while there is no primary, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Requests that wait at once.
    pub requests_max: usize,
    /// Bytes of all that waits.
    pub bytes_max: usize,
    /// How long a hold lasts at most; `None` = what the Sentinels need, and [`Hold::MARGIN`].
    pub deadline: Option<Duration>,
    /// How old a reply may be that is served meanwhile.
    pub stale_grace: Duration,
    /// Whether a replica is asked for what no reply is kept of.
    pub ask_replica: bool,
    /// What becomes of writes while the primary is cut off from Sentinels and replicas.
    pub on_isolation: OnIsolation,
    /// What becomes of writes whose reply is known.
    pub writes: Writes,
    /// After which part of a hold they are acknowledged.
    pub acknowledge_after: Duration,
    /// How long the primary may leave a ping unanswered before requests are held.
    pub silence: Duration,
}

/// What becomes of writes while requests are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writes {
    /// They wait.
    #[default]
    Wait,
    /// Those whose reply is known are acknowledged, and put back when there is a primary.
    Acknowledge,
}

/// What becomes of writes to a primary that can be reached, and is cut off from Sentinels and replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnIsolation {
    /// They go to it, and are put back on the one that was elected meanwhile.
    #[default]
    Serve,
    /// They wait.
    Hold,
}

impl Hold {
    /// What an election may take, besides the time after which Sentinels take a primary for down.
    pub const MARGIN: Duration = Duration::from_secs(15);

    /// How long a hold lasts at most where nobody says after which time a primary is taken for down.
    pub const DEADLINE: Duration = Duration::from_secs(20);
}

impl Default for Hold {
    fn default() -> Self {
        Self {
            requests_max: 10_000,
            bytes_max: 64 << 20,
            deadline: None,
            stale_grace: Duration::from_secs(60),
            ask_replica: false,
            on_isolation: OnIsolation::Serve,
            writes: Writes::Wait,
            acknowledge_after: Duration::from_millis(250),
            silence: Duration::from_millis(500),
        }
    }
}
