//! Opens the sockets that clients connect to, within the runtime that will serve them.
//!
//! A Unix socket file that nobody listens on is left over from a process that died, and is replaced; one that answers
//! belongs to another process, and is left alone, as is any file that is no socket.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket};

use crate::config::Listen;
use crate::seam::{self, Accept, UnixAccept};

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`, 4096 by default.
const BACKLOG: u32 = 4096;

/// Why nothing listens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The TCP address could not be bound.
    #[error("cannot listen on {address} ({key}){}", hint(source))]
    Tcp {
        /// The key in the configuration.
        key: &'static str,
        /// What it says.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The Unix socket could not be bound.
    #[error("cannot listen on {path:?} (listen.unix){}", hint(source))]
    Unix {
        /// The path in the configuration.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process answers at the Unix socket.
    #[error(
        "cannot listen on {0:?} (listen.unix): another process is using it; stop that one or choose another path"
    )]
    UnixInUse(PathBuf),
    /// Something else has the name of the Unix socket.
    #[error(
        "cannot listen on {0:?} (listen.unix): there is a file that is no socket; remove it or choose another path"
    )]
    NoSocket(PathBuf),
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::AddrInUse => {
            ": another program is using it; stop that one (`ss -ltnp` shows it) or choose another port"
        }
        ErrorKind::AddrNotAvailable => {
            ": no interface of this machine has this address (`ip address` shows them)"
        }
        ErrorKind::PermissionDenied => {
            ": not permitted; choose a port above 1023, or a directory that this user may write to"
        }
        ErrorKind::NotFound => ": its directory does not exist; create it or choose another path",
        _ => "",
    }
}

/// What listens, and what has to be cleaned up when it no longer does.
pub(super) struct Bound {
    pub(super) listeners: Vec<Box<dyn Accept>>,
    pub(super) unix_file: Option<UnixFile>,
}

/// Binds everything that `listen` names.
pub(super) fn clients(listen: &Listen) -> Result<Bound, Error> {
    let mut listeners: Vec<Box<dyn Accept>> = Vec::new();
    for address in &listen.tcp {
        listeners.push(Box::new(tcp("listen.tcp", *address)?));
    }
    let mut unix_file = None;
    if let Some(path) = &listen.unix {
        let (listener, file) = unix(path, listen.unix_mode)?;
        listeners.push(Box::new(UnixAccept {
            listener,
            path: path.clone(),
        }));
        unix_file = Some(file);
    }
    Ok(Bound {
        listeners,
        unix_file,
    })
}

/// Binds one TCP address, and only that one: `[::]` does not take `0.0.0.0` along.
pub(super) fn tcp(key: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
    let bind = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => {
                let socket = TcpSocket::new_v6()?;
                rustix::net::sockopt::set_ipv6_v6only(&socket, !is_mapped(address))?;
                socket
            }
        };
        // A restart must not wait for the old process's closed connections to time out.
        socket.set_reuseaddr(true)?;
        // A connection inherits this from its listener: one system call less for each.
        socket.set_nodelay(true)?;
        socket.bind(address)?;
        seam::spare_congestion_control(&socket, address.ip());
        socket.listen(BACKLOG)
    };
    bind().map_err(|source| Error::Tcp {
        key,
        address,
        source,
    })
}

fn is_mapped(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_ipv4()
}

fn unix(path: &Path, mode: u32) -> Result<(UnixListener, UnixFile), Error> {
    make_way(path)?;
    let bind = || {
        let socket = UnixSocket::new_stream()?;
        socket.bind(path)?;
        // Nobody can connect before `listen`: so there is no moment with other permissions.
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        let file = UnixFile::new(path)?;
        Ok((socket.listen(BACKLOG)?, file))
    };
    bind().map_err(|source| Error::Unix {
        path: path.into(),
        source,
    })
}

/// Removes a stale socket file, and refuses to remove anything else.
fn make_way(path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Unix {
        path: path.into(),
        source,
    };
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(Error::NoSocket(path.into()));
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    }
    match UnixStream::connect(path) {
        // A full backlog answers WouldBlock: somebody listens all the same.
        Ok(_) => Err(Error::UnixInUse(path.into())),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(Error::UnixInUse(path.into())),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "stale socket file replaced");
            fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

/// The socket file that we made; it goes with us, unless another process has replaced it since.
#[derive(Debug)]
pub(super) struct UnixFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl UnixFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.into(),
            identity: identity(path)?,
        })
    }
}

impl Drop for UnixFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}
