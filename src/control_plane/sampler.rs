//! Asks the primary how far its replicas are, while acknowledged writes are at risk ([`crate::journal`]): some times a second, and at
//! once where a client waits for replicas ([`crate::journal::waits`]).
//!
//! Replicas acknowledge once a second by themselves, and at once where somebody waits for them. So a question is: something
//! that goes into the replication stream, WAIT for all replicas, INFO. What the server does not let us do is left out: without the
//! first two it takes a second longer, without INFO nothing is known.
//!
//! The connection is one of its own, since WAIT holds up what stands behind it.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value, cmd};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Target;
use crate::config::Config;
use crate::data_plane::Handle;
use crate::journal::BARRIER_CHANNEL;
use crate::journal::progress::Asked;
use crate::journal::reach::Reach;
use crate::journal::samples::Sample;
use crate::outbox::Ticket;
use crate::seam::Dial;
use crate::sentinel::backoff::Backoff;
use crate::sentinel::link::{Failure, Link, Patience};
use crate::sentinel::reply::{Stream, stream, version};

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
    /// Any command: the server lacks SPUBLISH, and then its WAIT looks at the end of the stream, or it keeps it from us.
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
    async fn sample(&mut self, link: Link, generation: u64) -> Failure {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut questions = Questions::new(link, self.config.durability.replicas);
        let mut refused = false;
        loop {
            // Not biased: either is a reason to ask.
            let ticked = tokio::select! {
                _ = ticks.tick() => true,
                () = self.data.journal().wait_begun() => false,
            };
            // Before anything is asked: what is acknowledged later may stand behind what is told.
            let Some(asked) = self.data.journal().to_sample(generation) else {
                continue;
            };
            // Its ticket was in hand the last time.
            if !ticked && asked.ticket == questions.newest {
                continue;
            }
            let answered = match questions.before.take() {
                // INFO is not worth its cost each time: some times a second it tells the rest.
                Some(before) if !ticked && asked.waits => questions.wait(asked, before).await,
                _ => questions.ask(asked, generation).await,
            };
            match answered {
                Ok(None) => {}
                Ok(Some(sample)) => {
                    self.data.sampled(sample.clone()).await;
                    questions.before = questions.waits_behind_push().then_some(sample);
                }
                Err(Failure::Refused { code }) => {
                    if !std::mem::replace(&mut refused, true) {
                        tracing::warn!(
                            code,
                            "server refuses INFO, it is not known which writes replicas have"
                        );
                    }
                }
                Err(failure) => return failure,
            }
        }
    }
}

/// What one connection is asked, and has told.
struct Questions {
    link: Link,
    barrier: Barrier,
    /// Whether WAIT waits for all that stands in front of it in the stream, and not for our own last write alone.
    waits_for_all: bool,
    /// Replicas online when it was asked last.
    online: usize,
    /// How many are to have what waits.
    wanted: usize,
    /// The newest ticket that was in hand.
    newest: Ticket,
    reach: Reach,
    /// What was told the last time, where WAIT can tell the next.
    before: Option<Sample>,
}

impl Questions {
    fn new(link: Link, wanted: usize) -> Self {
        Self {
            link,
            barrier: Barrier::Shards,
            waits_for_all: false,
            online: 0,
            wanted,
            newest: 0,
            reach: Reach::new(wanted),
            before: None,
        }
    }

    /// Tells whether WAIT waits for all that was in the stream before the push in front of it.
    fn waits_behind_push(&self) -> bool {
        self.barrier == Barrier::Shards || self.waits_for_all
    }

    /// Has as many replicas acknowledge as are wanted, and asks nothing more: the connection leads to the process that has told
    /// what was `before`, so its history is the same.
    ///
    /// # Errors
    /// The connection's end.
    async fn wait(&mut self, asked: Asked, before: Sample) -> Result<Option<Sample>, Failure> {
        self.newest = asked.ticket;
        let (push, wait) = (self.push(), wait(self.wanted));
        let mut first = self.link.clone();
        let (pushed, waited) = tokio::join!(first.ask(&push), self.link.ask(&wait));
        match (pushed, waited) {
            (Ok(_), Ok(Value::Int(count))) => {
                let count = usize::try_from(count).unwrap_or(0);
                let replicated = self.reach.waited(asked.ticket, count);
                Ok(Some(Sample {
                    replicated,
                    ..before
                }))
            }
            // Something has changed, its role or our rights: INFO is asked the next time.
            (Ok(_) | Err(Failure::Refused { .. }), Ok(_) | Err(Failure::Refused { .. })) => {
                Ok(None)
            }
            (Err(failure), _) | (_, Err(failure)) => Err(failure),
        }
    }

    fn push(&self) -> Cmd {
        match self.barrier {
            Barrier::Shards => words(&["SPUBLISH", BARRIER_CHANNEL, ""]),
            Barrier::Ping => words(&["PING"]),
        }
    }

    /// Has replicas acknowledge, and asks how far all are, and up to which ticket enough of them have everything; `None` where it
    /// is no primary, of which the control plane learns elsewhere.
    ///
    /// # Errors
    /// [`Failure::Refused`] where it does not say; all others are the connection's end.
    async fn ask(&mut self, asked: Asked, generation: u64) -> Result<Option<Sample>, Failure> {
        self.newest = asked.ticket;
        let info = words(&["INFO", "replication"]);
        // Who waits is waited for with those who are enough; else with all, whom the journal wants to hear of.
        let (told, waited) = match (asked.waits, self.online) {
            (false, 0) => (self.link.ask(&info).await?, None),
            (false, online) => self.ask_behind_barrier(online, &info).await?,
            (true, _) => self.ask_behind_barrier(self.wanted, &info).await?,
        };
        let Some(told) = stream(&told) else {
            return Ok(None);
        };
        let acknowledged = acknowledged(&told);
        self.online = acknowledged.clone().count();
        let replicated = self
            .reach
            .told(asked.ticket, waited, told.offset, acknowledged);
        Ok(Some(read(asked, generation, told, replicated)))
    }

    /// Has so many replicas acknowledge, then asks; says how many have, where that can be told.
    async fn ask_behind_barrier(
        &mut self,
        replicas: usize,
        info: &Cmd,
    ) -> Result<(Value, Option<usize>), Failure> {
        let (push, wait) = (self.push(), wait(replicas));
        let (mut first, mut second) = (self.link.clone(), self.link.clone());
        let (pushed, waited, told) =
            tokio::join!(first.ask(&push), second.ask(&wait), self.link.ask(info));
        let behind = match pushed {
            Ok(_) => self.waits_behind_push(),
            Err(Failure::Refused { .. }) => {
                self.barrier = Barrier::Ping;
                self.waits_for_all = self.is_old().await?;
                false
            }
            Err(failure) => return Err(failure),
        };
        let count = match waited {
            Ok(Value::Int(count)) if behind => usize::try_from(count).ok(),
            // They acknowledge within a second anyway.
            Ok(_) | Err(Failure::Refused { .. }) => None,
            Err(failure) => return Err(failure),
        };
        Ok((told?, count))
    }

    /// Tells whether the server is one whose WAIT looks at the end of the stream, whoever wrote there.
    ///
    /// Source: redis `src/server.c`, `call`: from 7.2 on only what a connection writes itself moves what it waits for.
    async fn is_old(&mut self) -> Result<bool, Failure> {
        match self.link.ask(&words(&["INFO", "server"])).await {
            Ok(server) => Ok(version(&server).is_some_and(|version| version < (7, 2))),
            Err(Failure::Refused { .. }) => Ok(false),
            Err(failure) => Err(failure),
        }
    }
}

/// What the replicas online have acknowledged.
fn acknowledged(told: &Stream) -> impl Iterator<Item = i64> + Clone {
    let online = told.replicas.iter().filter(|replica| replica.online);
    online.map(|replica| replica.offset)
}

fn read(asked: Asked, generation: u64, told: Stream, replicated: Ticket) -> Sample {
    Sample {
        generation,
        newest: asked.newest,
        acknowledged: acknowledged(&told).min(),
        replid: told.replid.into(),
        offset: told.offset,
        replicated,
    }
}

fn wait(replicas: usize) -> Cmd {
    words(&["WAIT", &replicas.to_string(), WAIT_MS])
}

fn words(words: &[&str]) -> Cmd {
    let mut command = cmd(words[0]);
    for word in &words[1..] {
        command.arg(word);
    }
    command
}
