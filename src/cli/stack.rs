//! The throw-away servers: a primary, two replicas and three Sentinels on free loopback ports, each in a temporary directory,
//! nothing saved, gone with the process that started them.
//!
//! [`super::keep`] stands between us and each server; dropping a [`Stack`] closes its standard input, and so does our death.
//! A server that is killed comes back after some seconds, as under a supervisor: the old primary, empty and sure to be one.

use std::env;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{sleep, timeout};

/// How long the server may take to answer its first PING: seconds on a busy machine, far less otherwise.
const START_WAIT_MAX: Duration = Duration::from_secs(15);
/// Pause between two looks at a server that starts.
const START_POLL: Duration = Duration::from_millis(20);
/// How long the keeper may take to kill the server and to remove the directory.
const STOP_WAIT_MAX: Duration = Duration::from_secs(5);
/// The name that the Sentinels know the primary by.
pub(super) const PRIMARY_NAME: &str = "mymaster";
/// Replicas and Sentinels.
const REPLICAS: usize = 2;
const SENTINELS: usize = 3;
/// Programs that will do, the best first.
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(
        "no redis-server found: install it (`make run` does, or apt-get install redis-server), or say where it is with --redis PATH"
    )]
    NoServer,
    #[error("{0:?} is not there: --redis wants the path of a redis-server or valkey-server")]
    NotThere(PathBuf),
    #[error("no free port on 127.0.0.1")]
    Port(#[source] io::Error),
    #[error("cannot start the process that keeps the throw-away Redis")]
    Keeper(#[source] io::Error),
    #[error("the throw-away Redis has ended, the lines above say why ({0})")]
    Ended(ExitStatus),
    #[error("the throw-away Redis does not answer on {0}")]
    Silent(SocketAddr),
}

/// Servers that live as long as this value.
#[derive(Debug)]
pub(super) struct Stack {
    /// The primary, as long as nothing happens, and its replicas.
    nodes: Vec<Kept>,
    sentinels: Vec<Kept>,
}

impl Stack {
    /// Starts the servers and waits until they answer.
    pub(super) async fn start(program: Option<&Path>) -> Result<Self, Error> {
        let program = find(program)?;
        let addresses = free_ports(1 + REPLICAS + SENTINELS).map_err(Error::Port)?;
        let (nodes, sentinels) = addresses.split_at(1 + REPLICAS);
        let primary = nodes[0];
        let mut stack = Self {
            nodes: Vec::new(),
            sentinels: Vec::new(),
        };
        for address in nodes {
            let replicates = (*address != primary).then_some(primary);
            let mut node = Kept::node(&program, *address, replicates)?;
            // One after the other: the replicas find a primary that answers.
            node.until_ready().await?;
            stack.nodes.push(node);
        }
        for address in sentinels {
            let mut sentinel = Kept::sentinel(&program, *address, primary)?;
            sentinel.until_ready().await?;
            stack.sentinels.push(sentinel);
        }
        Ok(stack)
    }

    /// The primary, before anything happened.
    pub(super) fn primary(&self) -> SocketAddr {
        self.nodes[0].address
    }

    pub(super) fn replicas(&self) -> Vec<SocketAddr> {
        self.nodes[1..].iter().map(|kept| kept.address).collect()
    }

    pub(super) fn sentinels(&self) -> Vec<SocketAddr> {
        self.sentinels.iter().map(|kept| kept.address).collect()
    }

    /// Where the primary lives.
    pub(super) fn directory(&self) -> &Path {
        &self.nodes[0].directory
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Kept> {
        self.nodes.iter_mut().chain(&mut self.sentinels)
    }

    /// Waits until a server has ended for good, or its keeper has.
    ///
    /// # Cancellation
    /// Safe: the next call waits on.
    pub(super) async fn ended(&mut self) -> Error {
        let mut waits: Vec<_> = self.all().map(|kept| Box::pin(kept.ended())).collect();
        std::future::poll_fn(|cx| {
            let ended = waits.iter_mut().map(|wait| wait.as_mut().poll(cx));
            ended
                .into_iter()
                .find(Poll::is_ready)
                .unwrap_or(Poll::Pending)
        })
        .await
    }

    /// Ends the servers and waits until their directories are gone.
    pub(super) async fn stop(mut self) {
        for kept in self.all() {
            drop(kept.lifeline.take());
        }
        for kept in self.all() {
            if timeout(STOP_WAIT_MAX, kept.keeper.wait()).await.is_err() {
                tracing::warn!(directory = %kept.directory.display(), "throw-away Redis did not end in time");
            }
        }
    }
}

/// One server and its keeper.
#[derive(Debug)]
struct Kept {
    keeper: Child,
    /// The keeper's standard input; the server lives as long as it is open.
    lifeline: Option<ChildStdin>,
    address: SocketAddr,
    directory: PathBuf,
}

impl Kept {
    fn node(
        program: &Path,
        address: SocketAddr,
        replicates: Option<SocketAddr>,
    ) -> Result<Self, Error> {
        let port = address.port().to_string();
        let mut arguments = vec!["--bind", "127.0.0.1", "--port", &port];
        arguments.extend(["--save", "", "--appendonly", "no"]);
        // The default waits 5 s for more replicas, while a failover would lose what they lack.
        arguments.extend(["--repl-diskless-sync-delay", "0"]);
        let primary_port = replicates.map(|primary| primary.port().to_string());
        if let Some(port) = &primary_port {
            arguments.extend(["--replicaof", "127.0.0.1", port]);
        }
        Self::start(program, address, &arguments, None)
    }

    fn sentinel(program: &Path, address: SocketAddr, primary: SocketAddr) -> Result<Self, Error> {
        let (port, primary_port) = (address.port(), primary.port());
        let config = format!(
            "bind 127.0.0.1\nport {port}\n\
             sentinel monitor {PRIMARY_NAME} 127.0.0.1 {primary_port} 2\n\
             sentinel down-after-milliseconds {PRIMARY_NAME} 1000\n\
             sentinel failover-timeout {PRIMARY_NAME} 5000\n"
        );
        let arguments = ["sentinel.conf", "--sentinel"];
        Self::start(program, address, &arguments, Some(&config))
    }

    fn start(
        program: &Path,
        address: SocketAddr,
        arguments: &[&str],
        config: Option<&str>,
    ) -> Result<Self, Error> {
        let name = format!("gripfast-dev-{}-{}", std::process::id(), address.port());
        let directory = env::temp_dir().join(name);
        let mut command = Command::new(env::current_exe().map_err(Error::Keeper)?);
        command.arg("keep").arg("--directory").arg(&directory);
        if let Some(config) = config {
            command.args(["--file", "sentinel.conf", "--text", config]);
        }
        let mut keeper = command
            .arg("--")
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // Ctrl-C goes to every process of the terminal's foreground group: the server must outlive our drain.
            .process_group(0)
            .spawn()
            .map_err(Error::Keeper)?;
        Ok(Self {
            lifeline: keeper.stdin.take(),
            keeper,
            address,
            directory,
        })
    }

    async fn ended(&mut self) -> Error {
        match self.keeper.wait().await {
            Ok(status) => Error::Ended(status),
            Err(error) => Error::Keeper(error),
        }
    }

    async fn until_ready(&mut self) -> Result<(), Error> {
        let address = self.address;
        let ready = async {
            while !answers(address).await {
                sleep(START_POLL).await;
            }
        };
        // Not biased: a server that answered and one that ended cannot be the same.
        tokio::select! {
            ready = timeout(START_WAIT_MAX, ready) => ready.map_err(|_| Error::Silent(address)),
            ended = self.ended() => Err(ended),
        }
    }
}

async fn answers(address: SocketAddr) -> bool {
    let ping = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"PING\r\n").await?;
        let mut reply = [0; 5];
        stream.read_exact(&mut reply).await?;
        io::Result::Ok(reply == *b"+PONG")
    };
    ping.await.unwrap_or(false)
}

fn find(program: Option<&Path>) -> Result<PathBuf, Error> {
    if let Some(program) = program {
        // The keeper runs it in another directory: a relative path would lead elsewhere there.
        return program
            .canonicalize()
            .map_err(|_| Error::NotThere(program.into()));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = env::split_paths(&path).collect();
    PROGRAMS
        .iter()
        .flat_map(|name| {
            directories
                .iter()
                .map(move |directory| directory.join(name))
        })
        .find(|candidate| candidate.is_file())
        .ok_or(Error::NoServer)
}

/// Asks the kernel for ports that are free at the moment, all held until the last is found, so that none comes twice.
fn free_ports(count: usize) -> io::Result<Vec<SocketAddr>> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let held: Vec<TcpListener> = (0..count).map(|_| bind()).collect::<io::Result<_>>()?;
    held.iter().map(TcpListener::local_addr).collect()
}
