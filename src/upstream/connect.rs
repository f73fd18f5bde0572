//! Opens a link: dial, then HELLO with AUTH and SETNAME, and SELECT, in one packet; learns the server's greeting.
//!
//! Nothing else is sent, so that a link can be opened while the server is busy with a script (it takes HELLO then), and
//! the server's statistics show no commands of ours that fail.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio_util::codec::Framed;

use crate::command::facts::ServerFacts;
use crate::config::Credentials;
use crate::resp::FrameCodec;
use crate::resp::encode::{self, Protocol};
use crate::seam::{BoxStream, Dial, Dialing, HostPort};

/// From the first packet to the last reply of the handshake. A primary in the same network answers within milliseconds;
/// one that takes longer than this is not of use to a web request.
const ESTABLISH_TIMEOUT: Duration = Duration::from_secs(3);

/// What a new link is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Protocol that the link speaks.
    pub protocol: Protocol,
    /// Database that it selects.
    pub database: u32,
    /// The run id of the process that must answer, where it is known: another process at the same address is a restarted
    /// one, maybe empty, and not served from before somebody has looked at its data.
    pub run_id: Option<Arc<str>>,
    /// Whether a replica is wanted, and not a primary.
    pub replica: bool,
    /// What CLIENT LIST shows; `None` leaves the name empty, for a client of ours to set.
    pub name: Option<&'static str>,
}

/// A link ready for requests.
pub struct Established {
    /// The stream, with nothing unread.
    pub stream: BoxStream,
    /// What the server said of itself, on links in RESP3.
    pub facts: Option<ServerFacts>,
}

/// Why a link could not be opened; no request was sent on it.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address can't be resolved or refuses, or the network fails.
    #[error("cannot connect")]
    Dial(#[source] io::Error),
    /// No answer in time.
    #[error("no answer within {} s", ESTABLISH_TIMEOUT.as_secs())]
    Timeout,
    /// The connection broke during the handshake.
    #[error("connection lost during the handshake")]
    Lost(#[source] io::Error),
    /// The server refused one of our commands, with its words.
    #[error("refused {command}: {text}")]
    Refused {
        /// HELLO or SELECT.
        command: &'static str,
        /// The server's error line.
        text: String,
    },
    /// Another process than the known one answers.
    #[error(
        "another process answers at its address (it was restarted?), waiting for a look at its data"
    )]
    Stranger,
    /// What answers is a replica.
    #[error("a replica answers at its address, waiting for a primary")]
    Replica,
    /// A primary answers where a replica was.
    #[error("it is a primary now")]
    NoReplica,
    /// What answered does not speak RESP3.
    #[error("the answer to HELLO is not that of a Redis 6.0 or later")]
    Greeting,
}

async fn establish(
    dialing: Dialing,
    credentials: Credentials,
    profile: Profile,
) -> Result<Established, ConnectError> {
    let work = async {
        let stream = dialing.await.map_err(ConnectError::Dial)?;
        shake_hands(stream, &credentials, &profile).await
    };
    match tokio::time::timeout(ESTABLISH_TIMEOUT, work).await {
        Ok(result) => result,
        Err(_) => Err(ConnectError::Timeout),
    }
}

impl ConnectError {
    /// Returns the words in which the server said that it can't serve at the moment: they are an answer to whatever was
    /// to be sent on the link, too.
    pub fn servers_words(&self) -> Option<&str> {
        match self {
            Self::Refused { text, .. } if text.starts_with("BUSY ") => Some(text),
            _ => None,
        }
    }
}

/// Starts to open a link to `address`: dials and shakes hands.
///
/// # Errors
/// [`ConnectError`]; nothing but the handshake was sent in any case.
///
/// # Cancellation
/// Dropping the future closes the connection.
pub fn start(
    dial: &dyn Dial,
    address: &HostPort,
    credentials: &Credentials,
    profile: Profile,
) -> impl Future<Output = Result<Established, ConnectError>> + Send + use<> {
    establish(dial.dial(address), credentials.clone(), profile)
}

async fn shake_hands(
    stream: BoxStream,
    credentials: &Credentials,
    profile: &Profile,
) -> Result<Established, ConnectError> {
    let mut framed = Framed::new(stream, FrameCodec);
    let database = profile.database.to_string();
    let mut packet = greeting(credentials, profile);
    if profile.database != 0 {
        encode::request(&mut packet, &["SELECT", &database]);
    }
    if profile.run_id.is_some() {
        encode::request(&mut packet, &["INFO", "server"]);
    }
    framed.send(&packet[..]).await.map_err(ConnectError::Lost)?;
    let hello = accepted("HELLO", receive(&mut framed).await?)?;
    match (is_replica(&hello), profile.replica) {
        (true, false) => return Err(ConnectError::Replica),
        (false, true) => return Err(ConnectError::NoReplica),
        _ => {}
    }
    if profile.database != 0 {
        accepted("SELECT", receive(&mut framed).await?)?;
    }
    if let Some(run_id) = &profile.run_id {
        let info = receive(&mut framed).await?;
        if is_stranger(&info, run_id) {
            return Err(ConnectError::Stranger);
        }
    }
    let facts = match profile.protocol {
        Protocol::Resp2 => None,
        Protocol::Resp3 => Some(ServerFacts::from_hello(&hello).ok_or(ConnectError::Greeting)?),
    };
    Ok(Established {
        stream: framed.into_inner(),
        facts,
    })
}

fn greeting(credentials: &Credentials, profile: &Profile) -> Vec<u8> {
    let protocol = profile.protocol.number().to_string();
    let mut words = vec!["HELLO", &protocol];
    if let Some(password) = &credentials.password {
        let user = credentials.username.as_deref().unwrap_or("default");
        words.extend(["AUTH", user, password.reveal()]);
    }
    if let Some(name) = profile.name {
        words.extend(["SETNAME", name]);
    }
    encode::request_bytes(&words)
}

/// Tells whether INFO shows another run id; a user that may not ask INFO can't tell.
///
/// Source: redis `src/server.c`, `genRedisInfoString`.
fn is_stranger(info: &[u8], run_id: &str) -> bool {
    let text = String::from_utf8_lossy(info);
    let shown = text.lines().find_map(|line| line.strip_prefix("run_id:"));
    shown.is_some_and(|shown| shown.trim_end() != run_id)
}

/// Tells whether HELLO's reply, in either protocol, says that a replica gave it.
///
/// Source: redis `src/networking.c`, `helloCommand`.
fn is_replica(hello: &[u8]) -> bool {
    const REPLICA: &[u8] = b"$4\r\nrole\r\n$7\r\nreplica\r\n";
    hello.windows(REPLICA.len()).any(|window| window == REPLICA)
}

fn accepted(command: &'static str, reply: Bytes) -> Result<Bytes, ConnectError> {
    match reply.strip_prefix(b"-") {
        None => Ok(reply),
        Some(error) => Err(ConnectError::Refused {
            command,
            text: String::from_utf8_lossy(error).trim_end().to_owned(),
        }),
    }
}

async fn receive(framed: &mut Framed<BoxStream, FrameCodec>) -> Result<Bytes, ConnectError> {
    match framed.next().await {
        Some(Ok(frame)) => Ok(frame),
        Some(Err(error)) => Err(ConnectError::Lost(error)),
        None => Err(ConnectError::Lost(io::ErrorKind::UnexpectedEof.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_told_from_a_primary_in_both_protocols() {
        for begin in ["%2\r\n", "*4\r\n"] {
            for (role, expected) in [("$7\r\nreplica", true), ("$6\r\nmaster", false)] {
                let hello =
                    format!("{begin}$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n{role}\r\n");
                assert_eq!(is_replica(hello.as_bytes()), expected, "{hello}");
            }
        }
    }

    #[test]
    fn another_run_id_is_a_stranger_and_no_run_id_is_no_proof() {
        let info = b"$40\r\n# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\n\r\n";
        assert!(!is_stranger(info, "abc"));
        assert!(is_stranger(info, "abd"));
        assert!(!is_stranger(
            b"-NOPERM this user has no permissions\r\n",
            "abc"
        ));
    }
}
