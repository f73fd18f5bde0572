//! One connection to a server, spoken by the `redis` crate over a stream that the seam dialled.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, RedisConnectionInfo, RedisError, Value, cmd};
use tokio::time::timeout;

use crate::config::Credentials;
use crate::seam::{Dial, HostPort};

/// How long the two ends of a connection may keep us waiting.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For resolving, connecting and greeting together.
    pub open: Duration,
    /// For a reply.
    pub reply: Duration,
}

/// How the connection shows in `CLIENT LIST`.
const NAME: &str = "gripfast-control";

/// Why a connection could not be opened or was given up.
///
/// A server's error text is left out: it can repeat what we sent, the password included ("unknown command 'AUTH', with
/// args beginning with …").
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No stream.
    #[error("dial failed: {kind}")]
    Dial {
        /// What the kernel or the resolver said.
        kind: io::ErrorKind,
    },
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The server closed the connection.
    #[error("closed by the server")]
    Closed,
    /// The stream failed.
    #[error("connection failed: {kind}")]
    Io {
        /// What the kernel said.
        kind: io::ErrorKind,
    },
    /// The credentials are not accepted, or are missing.
    #[error("not authenticated: {code}")]
    Auth {
        /// First word of the server's error.
        code: String,
    },
    /// The server answered a command with an error.
    #[error("refused: {code}")]
    Refused {
        /// First word of the server's error.
        code: String,
    },
    /// The server has as many clients as it may.
    #[error("the server is full")]
    Full,
    /// The peer does not speak RESP, or answers something else than asked.
    #[error("unexpected reply")]
    Protocol,
}

/// Drives a connection; completes when it is lost.
pub type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An open connection; it makes progress only while its driver is polled.
#[derive(Clone)]
pub struct Link {
    connection: MultiplexedConnection,
}

impl Link {
    /// Dials and greets.
    ///
    /// # Errors
    /// What failed; nothing is left open.
    pub async fn open(
        dial: &dyn Dial,
        address: &HostPort,
        credentials: &Credentials,
        patience: Patience,
    ) -> Result<(Self, Driver), Failure> {
        let opened = timeout(
            patience.open,
            Self::connect(dial, address, credentials, patience),
        );
        opened.await.unwrap_or(Err(Failure::Timeout))
    }

    async fn connect(
        dial: &dyn Dial,
        address: &HostPort,
        credentials: &Credentials,
        patience: Patience,
    ) -> Result<(Self, Driver), Failure> {
        let dialled = dial.dial(address).await;
        let stream = dialled.map_err(|error| Failure::Dial { kind: error.kind() })?;
        // RESP2 and without a greeting of the crate's own: its AUTH hides the server's reason.
        let silent = RedisConnectionInfo::default().set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(patience.reply))
            .set_connection_timeout(None);
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&silent, stream, config).await?;
        let mut driver: Driver = Box::pin(driver);
        let mut link = Self { connection };
        // Biased: when the server refuses and closes, the refusal says more than the loss.
        tokio::select! {
            biased;
            greeted = link.greet(credentials) => greeted?,
            () = &mut driver => return Err(Failure::Closed),
        }
        Ok((link, driver))
    }

    /// Authenticates and says its name.
    async fn greet(&mut self, credentials: &Credentials) -> Result<(), Failure> {
        if let Some(password) = &credentials.password {
            let mut auth = cmd("AUTH");
            auth.arg(credentials.username.as_deref());
            auth.arg(password.reveal());
            self.ask(&auth).await.map_err(Failure::of_auth)?;
        }
        let mut name = cmd("CLIENT");
        match self.ask(name.arg("SETNAME").arg(NAME)).await {
            // A name is a courtesy; a server or an ACL without it will do.
            Ok(_) => Ok(()),
            // Not so protected mode, which refuses everything and closes.
            Err(Failure::Refused { code }) if code != "DENIED" => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Asks, and takes an error in the reply for a failure.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn ask(&mut self, command: &Cmd) -> Result<Value, Failure> {
        match self.connection.send_packed_command(command).await? {
            Value::ServerError(error) => Err(RedisError::from(error).into()),
            reply => Ok(reply),
        }
    }
}

impl Failure {
    /// Reads an error in reply to AUTH: whatever it is, these credentials do not let us in.
    fn of_auth(self) -> Self {
        match self {
            Self::Refused { code } => Self::Auth { code },
            other => other,
        }
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        match (error.kind(), error.code()) {
            (_, Some(code @ ("NOAUTH" | "WRONGPASS"))) => Self::Auth { code: code.into() },
            // Source: redis `src/networking.c`, acceptCommonHandler; then it closes.
            (_, Some("ERR")) if is_full(&error) => Self::Full,
            (_, Some(code)) => Self::Refused { code: code.into() },
            (ErrorKind::Io, None) if error.is_timeout() => Self::Timeout,
            (ErrorKind::Io, None) if error.is_connection_dropped() => Self::Closed,
            (ErrorKind::Io, None) => Self::Io {
                kind: io_kind(&error),
            },
            (_, None) => Self::Protocol,
        }
    }
}

fn is_full(error: &RedisError) -> bool {
    error
        .detail()
        .is_some_and(|detail| detail.starts_with("max number of clients"))
}

fn io_kind(error: &RedisError) -> io::ErrorKind {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<io::Error>())
        .map_or(io::ErrorKind::Other, io::Error::kind)
}
