//! Asks the primary how far its replicas are, while acknowledged writes are at risk ([`crate::journal`]).
//!
//! Replicas acknowledge once a second by themselves, and at once where somebody waits for them. So a question is: something
//! that goes into the replication stream, WAIT for all replicas, INFO. What the server does not let us do is left out: without the
//! first two it takes a second longer, without INFO nothing is known.
//!
//! The connection is one of its own, since WAIT holds up what stands behind it.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, cmd};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Target;
use crate::config::Config;
use crate::data_plane::Handle;
use crate::journal::BARRIER_CHANNEL;
use crate::journal::samples::Sample;
use crate::seam::Dial;
use crate::sentinel::backoff::Backoff;
use crate::sentinel::link::{Failure, Link, Patience};
use crate::sentinel::reply::{Stream, stream};

/// How often it is asked while writes are at risk.
const EVERY: Duration = Duration::from_millis(50);

/// How long replicas are waited for, in milliseconds.
const WAIT_MS: &str = "40";

/// A primary that does not answer for this long is left to those who watch it.
const PATIENCE: Patience = Patience {
    open: Duration::from_secs(1),
    reply: Duration::from_secs(1),
};

/// What makes replicas acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Barrier {
    /// SPUBLISH, which no pattern subscription sees.
    Shards,
    /// Any command: the server lacks SPUBLISH, and WAIT looks at the end of the stream.
    Ping,
}

/// What the task needs.
pub(super) struct Sampler {
    pub(super) config: Arc<Config>,
    pub(super) data: Handle,
    pub(super) dial: Arc<dyn Dial>,
    pub(super) backoff: Backoff,
    /// Where the primary is; `None` until it is found.
    pub(super) at: watch::Receiver<Option<Target>>,
}

impl Sampler {
    /// Samples for ever, where there is a journal.
    pub(super) async fn run(mut self) {
        if !self.config.journal.enabled {
            return;
        }
        loop {
            let found = self.at.wait_for(Option::is_some).await;
            let Some(target) = found.ok().and_then(|found| found.clone()) else {
                return;
            };
            let credentials = &self.config.upstream.credentials;
            let opened = Link::open(&*self.dial, &target.address, credentials, PATIENCE).await;
            if let Ok((link, driver)) = opened {
                let mut at = self.at.clone();
                // Not biased: each end is final.
                tokio::select! {
                    () = driver => {}
                    _ = self.sample(link, target.generation) => self.backoff.reset(),
                    _ = at.changed() => {}
                }
            }
            // Not biased: another primary is as good a reason to dial.
            tokio::select! {
                () = sleep(self.backoff.next_delay()) => {}
                _ = self.at.changed() => self.backoff.reset(),
            }
        }
    }

    /// Asks until the connection fails.
    async fn sample(&mut self, mut link: Link, generation: u64) -> Failure {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut barrier, mut online) = (Barrier::Shards, 0);
        let mut refused = false;
        loop {
            ticks.tick().await;
            // Before anything is asked: what is acknowledged later may stand behind what is told.
            let Some(newest) = self.data.journal().to_sample(generation) else {
                continue;
            };
            let told = match ask(&mut link, &mut barrier, online).await {
                Ok(told) => told,
                Err(Failure::Refused { code }) => {
                    if !std::mem::replace(&mut refused, true) {
                        tracing::warn!(
                            code,
                            "server refuses INFO, it is not known which writes replicas have"
                        );
                    }
                    continue;
                }
                Err(failure) => return failure,
            };
            // A replica: the control plane learns of it elsewhere.
            let Some(told) = told else { continue };
            let acknowledged = told.replicas.iter().filter(|replica| replica.online);
            online = acknowledged.clone().count();
            let sample = Sample {
                generation,
                newest,
                replid: told.replid.into(),
                offset: told.offset,
                acknowledged: acknowledged.map(|replica| replica.offset).min(),
            };
            self.data.sampled(sample).await;
        }
    }
}

/// Has `online` replicas acknowledge, and asks how far all are.
async fn ask(
    link: &mut Link,
    barrier: &mut Barrier,
    online: usize,
) -> Result<Option<Stream>, Failure> {
    let info = words(&["INFO", "replication"]);
    if online == 0 {
        return Ok(stream(&link.ask(&info).await?));
    }
    let push = match barrier {
        Barrier::Shards => words(&["SPUBLISH", BARRIER_CHANNEL, ""]),
        Barrier::Ping => words(&["PING"]),
    };
    let wait = words(&["WAIT", &online.to_string(), WAIT_MS]);
    let (mut first, mut second) = (link.clone(), link.clone());
    let (pushed, waited, told) = tokio::join!(first.ask(&push), second.ask(&wait), link.ask(&info));
    match pushed {
        Err(Failure::Refused { .. }) => *barrier = Barrier::Ping,
        Err(failure) => return Err(failure),
        Ok(_) => {}
    }
    match waited {
        // They acknowledge within a second anyway.
        Ok(_) | Err(Failure::Refused { .. }) => {}
        Err(failure) => return Err(failure),
    }
    Ok(stream(&told?))
}

fn words(words: &[&str]) -> Cmd {
    let mut command = cmd(words[0]);
    for word in &words[1..] {
        command.arg(word);
    }
    command
}
