//! All state of the data path.

use std::sync::Arc;

use slab::Slab;
use tokio::time::Instant;

use crate::cache::entry::Millis;
use crate::command::facts::ServerFacts;
use crate::command::table::{ServerCommands, Table};
use crate::command::time::Abilities;
use crate::command::ttl::Rules;
use crate::config::Config;
use crate::downstream::client::Client;
use crate::id::{ClientId, LinkId};
use crate::journal::Micros;
use crate::journal::progress::Progress;
use crate::metrics::Counters;
use crate::outbox::Pool;
use crate::reactor::Ready;
use crate::resp::Words;
use crate::seam::{Clock, Dial, Entropy, HostPort};
use crate::upstream::link::Link;
use crate::upstream::registry::Registry;

use super::acknowledge::Acknowledging;
use super::cached::Cached;
use super::durable::Durability;
use super::hold::Failover;
use super::hygiene::Hygiene;
use super::journalled::Journalled;
use super::loss::Verdict;
use super::maint::Notices;
use super::repair::Repairing;
use super::replica::Replica;
use super::stale::Stale;
use super::switch;

/// All state of the data path.
pub struct Proxy {
    pub(super) config: Arc<Config>,
    pub(super) dial: Box<dyn Dial>,
    /// Where links are dialled to; `None` until the Sentinels have named it.
    pub(super) primary: Option<HostPort>,
    /// Who answers at that address may be another process, maybe empty: nothing is dialled until it is confirmed.
    pub(super) in_doubt: bool,
    /// Which requests wait for a primary.
    pub(super) failover: Failover,
    /// Who is asked for it meanwhile.
    pub(super) replica: Replica,
    /// What is answered meanwhile.
    pub(super) stale: Stale,
    /// Writes that were acknowledged meanwhile.
    pub(super) acknowledging: Acknowledging,
    /// What clients are told of it.
    pub(super) notices: Notices,
    pub(super) ready: Arc<Ready>,
    pub(super) table: Table,
    /// Client connections.
    pub clients: Slab<Client>,
    /// Links.
    pub links: Slab<Link>,
    /// Which link is for what.
    pub registry: Registry,
    /// What the server said of itself, once a link was up.
    pub facts: Option<Arc<ServerFacts>>,
    /// Databases that the server has taken in a SELECT, by number.
    pub(super) known_databases: Vec<bool>,
    /// Empty buffers.
    pub pool: Pool,
    pub(super) words: Words,
    /// The session cache; none when none is wanted.
    pub(super) cached: Option<Box<Cached>>,
    /// What is asked of sessions; none when nothing is.
    pub(super) hygiene: Option<Box<Hygiene>>,
    /// Acknowledged writes; none where none are remembered.
    pub(super) journal: Option<Box<Journalled>>,
    /// Which replies wait for replicas; none where none ever does.
    pub(super) durability: Option<Box<Durability>>,
    /// How what another primary lacks is put back; none where nothing is.
    pub(super) repairing: Option<Box<Repairing>>,
    /// That is under way: requests may have to wait for it, and writes take marks.
    pub(super) in_round: bool,
    pub(super) clock: Box<dyn Clock>,
    /// The boot clock when bytes were looked at last.
    pub(super) boot: Millis,
    /// The same, finer.
    pub(super) boot_micros: Micros,
    /// Where replies are rewritten that are for several clients.
    pub(super) rewritten: Vec<u8>,
    /// Replies that were too large to be kept.
    pub(super) oversized: u64,
    /// Places of clients with something to write.
    pub dirty_clients: Vec<u32>,
    /// Places of links with something to write.
    pub dirty_links: Vec<u32>,
    /// Clients whose next request can be looked at again.
    pub resume: Vec<ClientId>,
    /// Clients that wait for a link's output to drain.
    pub(super) congested: Vec<ClientId>,
    /// Scripts that are running, as far as we know.
    pub(super) scripts: usize,
    /// Somebody watches the server's commands through us (MONITOR, or a slow log of everything): then nothing is answered
    /// here that the server could answer.
    pub(super) observed: Observed,
    /// While a failed dial is dealt with: the server's own words for it.
    pub(super) servers_words: Option<String>,
    /// Clients whose HELLO waits for the server's own greeting.
    pub(super) greeting: Vec<ClientId>,
    /// The run id of the primary, where Sentinels lead to it and it shows one.
    pub(super) run_id: Option<Arc<str>>,
    /// Names of clients on their way to the server.
    pub(super) naming: usize,
    /// Clients that ask who is there, and wait for these names.
    pub(super) asking: Vec<ClientId>,
    /// Links that nobody wants back.
    pub(super) condemned: Vec<LinkId>,
    /// Lost links whose owners' fate hangs on whether the server lives.
    pub(super) verdicts: Vec<Verdict>,
    /// Until when a CLIENT PAUSE that passed through here may last.
    pub(super) paused_until: Option<Instant>,
    /// The time of this turn.
    pub now: Instant,
    /// Plain counts of everything.
    pub counters: Counters,
    pub(super) serial: u32,
    pub(super) draining: bool,
}

/// Who watches the server's commands through us.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// Clients in MONITOR.
    pub(super) monitors: usize,
    /// The slow log was told to take everything.
    pub(super) slow_log: bool,
}

impl Proxy {
    /// Starts with no clients; the first link is dialled by [`Proxy::tick`].
    pub fn new(
        config: Arc<Config>,
        dial: Box<dyn Dial>,
        mut entropy: Entropy,
        clock: Box<dyn Clock>,
        ready: Arc<Ready>,
        progress: Arc<Progress>,
    ) -> Self {
        let primary = switch::configured(&config);
        let cached = Cached::new(&config, Entropy::from_seed(entropy.next_u64()));
        let hygiene = Hygiene::new(Rules::new(&config.sessions, Abilities::default()));
        let journal = Journalled::new(&config, progress);
        let now = Instant::now();
        let repairing = Repairing::new(&config, &mut entropy, now);
        let mut registry = Registry::new(entropy);
        if primary.is_none() {
            registry.health = switch::waiting_for_sentinels();
        }
        let durability = Durability::new(&config, now);
        let failover = Failover::new(
            config.hold.clone(),
            primary.is_some(),
            config.repair.enabled,
            now,
        );
        Self {
            config,
            dial,
            failover,
            replica: Replica::default(),
            stale: Stale::default(),
            acknowledging: Acknowledging::default(),
            notices: Notices::default(),
            primary,
            in_doubt: false,
            ready,
            table: Table::default(),
            clients: Slab::new(),
            links: Slab::new(),
            registry,
            facts: None,
            known_databases: vec![true],
            pool: Pool::default(),
            words: Words::default(),
            cached,
            hygiene,
            journal,
            durability,
            repairing,
            in_round: false,
            boot: clock.boot(),
            boot_micros: clock.boot_micros(),
            clock,
            rewritten: Vec::new(),
            oversized: 0,
            dirty_clients: Vec::new(),
            dirty_links: Vec::new(),
            resume: Vec::new(),
            congested: Vec::new(),
            scripts: 0,
            observed: Observed::default(),
            servers_words: None,
            greeting: Vec::new(),
            run_id: None,
            naming: 0,
            asking: Vec::new(),
            condemned: Vec::new(),
            verdicts: Vec::new(),
            paused_until: None,
            now,
            counters: Counters::default(),
            serial: 0,
            draining: false,
        }
    }

    /// Takes the server's own command table.
    pub fn learn_commands(&mut self, commands: Arc<ServerCommands>) {
        if let Some(hygiene) = &mut self.hygiene {
            hygiene.rules = Rules::new(&self.config.sessions, Abilities::of(&commands));
        }
        if let Some(cached) = &mut self.cached {
            cached.touches.abilities = Abilities::of(&commands);
            cached.fields_may_expire = commands.by_name.contains_key(&b"hexpire"[..]);
        }
        self.table.learn(commands);
    }
}
