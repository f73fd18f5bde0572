//! One Sentinel: a connection to ask it, kept open, and one to listen to it.
//!
//! They are two, since a connection that subscribes can ask nothing, and each dials again by itself. A Sentinel that is slow
//! holds up only its own tasks. What it says is dropped with the connection over which it was said.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::PubSub;
use redis::{Cmd, RedisConnectionInfo, Value, cmd};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::backoff::Backoff;
use super::event::{CHANNELS, Event};
use super::link::{Failure, Link, Patience};
use super::reply::{self, Fields};
use super::topology::{Epoch, Named, SentinelView};
use crate::config::Sentinels;
use crate::seam::{Dial, Entropy, HostPort};

/// A Sentinel answers within a millisecond; one that takes longer than this tells us nothing in time.
pub(super) const PATIENCE: Patience = Patience {
    open: Duration::from_millis(500),
    reply: Duration::from_millis(300),
};

/// How often the lists of replicas and Sentinels are asked for: they change rarely.
const LISTS_EVERY: Duration = Duration::from_secs(1);

/// How often a connection that listens is pinged: one that is silently dead shows within two of these.
const PING_EVERY: Duration = Duration::from_secs(1);

/// How often everybody is asked; changed by the watcher for all tasks at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// Pause between two questions.
    pub(super) every: Duration,
    /// Raised when all are to be asked at once.
    pub(super) nudge: u64,
}

/// What a task has seen.
#[derive(Debug)]
pub(super) enum Observation {
    /// A Sentinel's answer, or why there is none.
    Sentinel(HostPort, Result<Answer, Failure>),
    /// A Sentinel can be listened to, or not.
    Listening(HostPort, Result<(), Failure>),
    /// A Sentinel published something about our primary.
    Heard(HostPort, Event),
    /// What a node says of itself, or why it says nothing.
    Node(HostPort, Result<super::topology::Node, Failure>),
}

/// A Sentinel's answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) view: SentinelView,
    /// Replicas that it knows of; `None` when they were not asked for this time.
    pub(super) replicas: Option<Vec<HostPort>>,
    /// Other Sentinels that it knows of, with their ids.
    pub(super) sentinels: Option<Vec<(HostPort, Option<String>)>>,
}

/// What the tasks of one Sentinel need.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) address: HostPort,
    pub(super) settings: Arc<Sentinels>,
    pub(super) dial: Arc<dyn Dial>,
    pub(super) pace: watch::Receiver<Pace>,
    pub(super) seen: mpsc::Sender<Observation>,
}

impl Client {
    /// Asks for ever, at the pace given.
    pub(super) async fn ask(mut self, entropy: Entropy) {
        let mut backoff = Backoff::new(entropy);
        loop {
            let opened = Link::open(
                &*self.dial,
                &self.address,
                &self.settings.credentials,
                PATIENCE,
            );
            let failure = match opened.await {
                // Not biased: either end is final.
                Ok((link, driver)) => tokio::select! {
                    () = driver => Failure::Closed,
                    failure = self.poll(link, &mut backoff) => failure,
                },
                Err(failure) => failure,
            };
            let lost = Observation::Sentinel(self.address.clone(), Err(failure));
            if self.seen.send(lost).await.is_err() {
                return;
            }
            pause(&mut self.pace, &mut backoff).await;
        }
    }

    /// Asks over an open connection until it fails.
    async fn poll(&mut self, link: Link, backoff: &mut Backoff) -> Failure {
        let mut questions = Questions::new(link, &self.settings.primary_name);
        loop {
            let answer = match questions.ask().await {
                Ok(answer) => answer,
                Err(failure) => return failure,
            };
            backoff.reset();
            let said = Observation::Sentinel(self.address.clone(), Ok(answer));
            if self.seen.send(said).await.is_err() {
                return Failure::Closed;
            }
            until_due(&mut self.pace).await;
        }
    }

    /// Listens for ever.
    pub(super) async fn listen(mut self, entropy: Entropy) {
        let mut backoff = Backoff::new(entropy);
        loop {
            let failure = match self.subscribe().await {
                Ok(subscribed) => {
                    backoff.reset();
                    let news = Observation::Listening(self.address.clone(), Ok(()));
                    if self.seen.send(news).await.is_err() {
                        return;
                    }
                    self.hear(subscribed).await
                }
                Err(failure) => failure,
            };
            let news = Observation::Listening(self.address.clone(), Err(failure));
            if self.seen.send(news).await.is_err() {
                return;
            }
            pause(&mut self.pace, &mut backoff).await;
        }
    }

    async fn subscribe(&self) -> Result<PubSub, Failure> {
        let open = async {
            let dialled = self.dial.dial(&self.address).await;
            let stream = dialled.map_err(|error| Failure::Dial { kind: error.kind() })?;
            let credentials = &self.settings.credentials;
            let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
            if let Some(password) = &credentials.password {
                login = login.set_password(password.reveal());
                if let Some(username) = &credentials.username {
                    login = login.set_username(username.as_str());
                }
            }
            let mut connection = PubSub::new(&login, stream).await?;
            connection.subscribe(CHANNELS).await?;
            Ok(connection)
        };
        timeout(PATIENCE.open, open)
            .await
            .unwrap_or(Err(Failure::Timeout))
    }

    /// Passes on what is published until the connection fails.
    async fn hear(&mut self, subscribed: PubSub) -> Failure {
        let (mut sink, mut stream) = subscribed.split();
        let mut pings = interval(PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Biased: what was published comes before the question whether the other end is there.
            tokio::select! {
                biased;
                message = stream.next() => {
                    let Some(message) = message else {
                        return Failure::Closed;
                    };
                    let text: String = message.get_payload().unwrap_or_default();
                    let name = &self.settings.primary_name;
                    if let Some(event) = Event::parse(message.get_channel_name(), &text, name) {
                        let heard = Observation::Heard(self.address.clone(), event);
                        if self.seen.send(heard).await.is_err() {
                            return Failure::Closed;
                        }
                    }
                }
                _ = pings.tick() => {
                    match timeout(PATIENCE.reply, sink.ping::<Value>()).await {
                        Ok(Ok(_)) => {}
                        Ok(Err(error)) => return error.into(),
                        Err(_) => return Failure::Timeout,
                    }
                }
            }
        }
    }
}

/// Waits until the next question is due: the pause is over, or the pace changed.
pub(super) async fn until_due(pace: &mut watch::Receiver<Pace>) {
    let every = pace.borrow().every;
    until_due_within(pace, every).await;
}

/// Waits until so much time is over, or the pace changed.
pub(super) async fn until_due_within(pace: &mut watch::Receiver<Pace>, every: Duration) {
    pace.borrow_and_update();
    // Not biased: both mean "now".
    tokio::select! {
        () = sleep(every) => {}
        _ = pace.changed() => {}
    }
}

/// Waits before the next dial: not long when the pace is high.
pub(super) async fn pause(pace: &mut watch::Receiver<Pace>, backoff: &mut Backoff) {
    let every = pace.borrow_and_update().every;
    let delay = backoff.next_delay().min(every * 2);
    // Not biased: a change of pace shortens the wait.
    let nudged = tokio::select! {
        () = sleep(delay) => return,
        changed = pace.changed() => changed.is_ok(),
    };
    if nudged {
        backoff.reset();
    }
    sleep(backoff.next_delay()).await;
}

/// What is asked over one connection.
struct Questions<'a> {
    link: Link,
    name: &'a str,
    id: Option<String>,
    id_asked: bool,
    lists_asked: Option<Instant>,
}

impl<'a> Questions<'a> {
    fn new(link: Link, name: &'a str) -> Self {
        Self {
            link,
            name,
            id: None,
            id_asked: false,
            lists_asked: None,
        }
    }

    async fn ask(&mut self) -> Result<Answer, Failure> {
        if !self.id_asked {
            // From 6.2 on; without it a Sentinel under two names would vote twice, no more.
            self.id = optional(self.link.ask(cmd("SENTINEL").arg("MYID")).await)?
                .and_then(|value| redis::from_redis_value(value).ok());
            self.id_asked = true;
        }
        let view = self.view().await?;
        let mut answer = Answer {
            view,
            replicas: None,
            sentinels: None,
        };
        let due = self
            .lists_asked
            .is_none_or(|at| at.elapsed() >= LISTS_EVERY);
        if due && matches!(answer.view, SentinelView::Named(_)) {
            self.lists_asked = Some(Instant::now());
            (answer.replicas, answer.sentinels) = self.lists().await?;
        }
        Ok(answer)
    }

    /// Asks which primary it names, twice: while a failover changes the state between two answers they belong to
    /// different epochs.
    ///
    /// The address is not taken from SENTINEL MASTER, which shows the old one, with the new epoch, until the end of the failover.
    async fn view(&mut self) -> Result<SentinelView, Failure> {
        let (address, master, info) = (
            self.about("GET-MASTER-ADDR-BY-NAME"),
            self.about("MASTER"),
            tilt(),
        );
        let links = (
            &mut self.link.clone(),
            &mut self.link.clone(),
            &mut self.link.clone(),
        );
        let (before, master, after, info) = tokio::join!(
            links.0.ask(&address),
            links.1.ask(&master),
            links.2.ask(&address),
            self.link.ask(&info),
        );
        let before = reply::address(&before?).map_err(|()| Failure::Protocol)?;
        let after = reply::address(&after?).map_err(|()| Failure::Protocol)?;
        let Some(address) = before else {
            return Ok(SentinelView::Unknown);
        };
        let fields = match master {
            Ok(master) => reply::fields(&master).ok_or(Failure::Protocol)?,
            // The name was removed in between.
            Err(Failure::Refused { code }) if code == "ERR" => return Ok(SentinelView::Unknown),
            Err(failure) => return Err(failure),
        };
        if after.as_ref() != Some(&address) {
            return Ok(SentinelView::Pending);
        }
        let tilt = optional(info)?.and_then(|info| reply::info(&info));
        let tilt =
            tilt.is_some_and(|info| info.get("sentinel_tilt").is_some_and(|tilt| tilt == "1"));
        self.named(address, &fields, tilt).ok_or(Failure::Protocol)
    }

    fn named(&self, address: HostPort, fields: &Fields, tilt: bool) -> Option<SentinelView> {
        let configured = reply::place(fields)?;
        Some(SentinelView::Named(Named {
            epoch: Epoch(fields.get("config-epoch")?.parse().ok()?),
            // While a failover goes on, the run id is the old primary's.
            run_id: reply::filled(fields, "runid").filter(|_| configured == address),
            id: self.id.clone(),
            tilt,
            // While a failover goes on, the flags are the old primary's, too.
            subjectively_down: configured == address && reply::has_flag(fields, "s_down"),
            objectively_down: configured == address && reply::has_flag(fields, "o_down"),
            failover: reply::has_flag(fields, "failover_in_progress"),
            ahead: reply::is_ahead(fields),
            down_after: reply::down_after(fields),
            address,
        }))
    }

    async fn lists(
        &mut self,
    ) -> Result<
        (
            Option<Vec<HostPort>>,
            Option<Vec<(HostPort, Option<String>)>>,
        ),
        Failure,
    > {
        let (replicas, sentinels) = (self.about("REPLICAS"), self.about("SENTINELS"));
        let replicas = optional(self.link.ask(&replicas).await)?;
        let sentinels = optional(self.link.ask(&sentinels).await)?;
        let replicas = replicas.map(|value| {
            reply::list(&value)
                .iter()
                .filter_map(reply::place)
                .collect()
        });
        let sentinels = sentinels.map(|value| {
            let with_id =
                |fields: &Fields| Some((reply::place(fields)?, reply::filled(fields, "runid")));
            reply::list(&value).iter().filter_map(with_id).collect()
        });
        Ok((replicas, sentinels))
    }

    fn about(&self, question: &str) -> Cmd {
        let mut command = cmd("SENTINEL");
        command.arg(question).arg(self.name);
        command
    }
}

fn tilt() -> Cmd {
    let mut info = cmd("INFO");
    info.arg("sentinel");
    info
}

/// Lets a refusal pass: an ACL may forbid what is useful but not needed.
pub(super) fn optional(answer: Result<Value, Failure>) -> Result<Option<Value>, Failure> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(Failure::Refused { .. }) => Ok(None),
        Err(failure) => Err(failure),
    }
}
