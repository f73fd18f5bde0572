//! The throw-away Redis: a free loopback port, a temporary directory, nothing saved, gone with the process that started it.
//!
//! [`super::keep`] stands between us and the server; dropping a [`Stack`] closes its standard input, and so does our death.

use std::env;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
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

/// A Redis that lives as long as this value.
#[derive(Debug)]
pub(super) struct Stack {
    keeper: Child,
    /// The keeper's standard input; the server lives as long as it is open.
    lifeline: Option<ChildStdin>,
    address: SocketAddr,
    directory: PathBuf,
}

impl Stack {
    /// Starts the server and waits until it answers.
    pub(super) async fn start(program: Option<&Path>) -> Result<Self, Error> {
        let program = find(program)?;
        let address = free_port().map_err(Error::Port)?;
        let directory = env::temp_dir().join(format!(
            "gripfast-dev-{}-{}",
            std::process::id(),
            address.port()
        ));
        let mut keeper = Command::new(env::current_exe().map_err(Error::Keeper)?)
            .arg("keep")
            .arg("--directory")
            .arg(&directory)
            .arg("--")
            .arg(program)
            .args(["--bind", "127.0.0.1", "--port"])
            .arg(address.port().to_string())
            .args(["--save", "", "--appendonly", "no"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // Ctrl-C goes to every process of the terminal's foreground group: the server must outlive our drain.
            .process_group(0)
            .spawn()
            .map_err(Error::Keeper)?;
        let mut stack = Self {
            lifeline: keeper.stdin.take(),
            keeper,
            address,
            directory,
        };
        stack.until_ready().await?;
        Ok(stack)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Waits until the server has ended by itself.
    ///
    /// # Cancellation
    /// Safe: the next call waits on.
    pub(super) async fn ended(&mut self) -> Error {
        match self.keeper.wait().await {
            Ok(status) => Error::Ended(status),
            Err(error) => Error::Keeper(error),
        }
    }

    /// Ends the server and waits until its directory is gone.
    pub(super) async fn stop(mut self) {
        drop(self.lifeline.take());
        if timeout(STOP_WAIT_MAX, self.keeper.wait()).await.is_err() {
            tracing::warn!(directory = %self.directory.display(), "throw-away Redis did not end in time");
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

/// Asks the kernel for a port that is free at the moment.
fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
