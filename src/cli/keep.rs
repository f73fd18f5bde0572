//! `gripfast keep`: the process between [`super::stack`] and a throw-away server.
//!
//! It makes a directory, runs a command in it, runs it again when it ends by itself (as the supervisor of a real server
//! would), and when its standard input ends it kills the command and removes the directory. The other end of that pipe is in the process that started it: however that one dies (SIGKILL included), the
//! kernel closes the pipe. This asks for no `unsafe` (a pre-exec hook would), and unlike a parent-death signal it also tidies up.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::Failure;
use crate::app;
use crate::shutdown::Signals;

/// Where the command's output goes, within the directory.
pub(super) const OUTPUT: &str = "output.log";
/// A command that ends sooner could not start; one that ends later was killed.
const GOOD_AFTER: Duration = Duration::from_secs(2);
/// Pause before a killed command is run again: longer than the Sentinels need to elect another primary.
const RESTART_AFTER: Duration = Duration::from_secs(8);
/// Lines of the output that are repeated when the command ends by itself.
const LAST_LINES: usize = 10;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Directory to make, and to remove at the end; must not exist
    #[arg(long)]
    directory: PathBuf,
    /// File to write there first
    #[arg(long, requires = "text")]
    file: Option<String>,
    /// What goes into that file
    #[arg(long)]
    text: Option<String>,
    /// Command to run there
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot make the directory {path:?}")]
    Directory { path: PathBuf, source: io::Error },
    #[error("cannot write {path:?}")]
    File { path: PathBuf, source: io::Error },
    #[error("cannot start {program:?}")]
    Spawn { program: String, source: io::Error },
    #[error("{program:?} has ended by itself, {status}")]
    Ended { program: String, status: ExitStatus },
    #[error("cannot catch signals")]
    Signals(#[source] io::Error),
    #[error("standard input must be a pipe that the starting process holds open")]
    Input(#[source] io::Error),
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    app::runtime()?.block_on(async {
        let directory = Directory::make(&options.directory)?;
        if let (Some(file), Some(text)) = (&options.file, &options.text) {
            let path = directory.0.join(file);
            fs::write(&path, text).map_err(|source| Error::File { path, source })?;
        }
        Ok(keep(&directory.0, &options.command).await?)
        // `directory` is removed here, and no destructor is skipped: the caller only returns an exit code.
    })
}

async fn keep(directory: &Path, command: &[String]) -> Result<(), Error> {
    let mut signals = Signals::catch().map_err(Error::Signals)?;
    let input = input().map_err(Error::Input)?;
    let (program, arguments) = command.split_first().expect("clap requires a command");
    let mut end = pin!(end_of(input));
    loop {
        let began = Instant::now();
        let mut child = spawn(directory, program, arguments).map_err(|source| Error::Spawn {
            program: program.clone(),
            source,
        })?;
        // Not biased: each ends it, and the child is killed in each case.
        let ended = tokio::select! {
            () = &mut end => None,
            _ = signals.next() => None,
            status = child.wait() => status.ok(),
        };
        let Some(status) = ended else {
            let _ = child.kill().await;
            return Ok(());
        };
        if began.elapsed() < GOOD_AFTER {
            repeat_output(directory);
            let program = program.clone();
            return Err(Error::Ended { program, status });
        }
        // Not biased: whichever comes first.
        tokio::select! {
            () = &mut end => return Ok(()),
            _ = signals.next() => return Ok(()),
            () = sleep(RESTART_AFTER) => {}
        }
    }
}

fn spawn(directory: &Path, program: &str, arguments: &[String]) -> io::Result<Child> {
    let output = fs::File::create(directory.join(OUTPUT))?;
    Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .kill_on_drop(true)
        .spawn()
}

/// Standard input as a pipe that can be waited for: a blocking read would hold up our own end.
fn input() -> io::Result<pipe::Receiver> {
    pipe::Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?)
}

async fn end_of(mut input: pipe::Receiver) {
    let mut buffer = [0; 64];
    while matches!(input.read(&mut buffer).await, Ok(1..)) {}
}

fn repeat_output(directory: &Path) {
    let output = fs::read(directory.join(OUTPUT)).unwrap_or_default();
    let output = String::from_utf8_lossy(&output);
    let lines: Vec<&str> = output.lines().collect();
    for line in &lines[lines.len().saturating_sub(LAST_LINES)..] {
        let _ = writeln!(io::stderr(), "  | {line}");
    }
}

/// A directory that we made, for this user alone; it is removed with all that is in it.
struct Directory(PathBuf);

impl Directory {
    fn make(path: &Path) -> Result<Self, Error> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => Ok(Self(path.to_owned())),
            Err(source) => Err(Error::Directory {
                path: path.to_owned(),
                source,
            }),
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let _ = writeln!(
                    io::stderr(),
                    "gripfast: cannot remove {:?}: {error}",
                    self.0
                );
            }
            _ => {}
        }
    }
}
