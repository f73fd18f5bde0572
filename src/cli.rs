//! The command line: what a person types, what is printed, and the exit code.

mod check;
mod dev;
mod keep;
mod run;
mod stack;

use std::error::Error;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use crate::app::{Lost, StartError};
use crate::config::{self, Config, Warning};

/// Exit code of a start that failed, or of a sidecar that ended without having been drained.
const FAILED: u8 = 1;
/// Exit code of a command line that makes no sense (clap's own).
const USAGE: u8 = 2;
/// Exit code of a configuration that is refused (EX_CONFIG of sysexits.h).
const BAD_CONFIG: u8 = 78;

const AFTER_HELP: &str = "\
First steps:
  gripfast dev                       try it with throw-away servers, nothing to configure
  gripfast check -c config.yaml      see what a configuration would do
  gripfast run -c config.yaml        serve; SIGTERM or Ctrl-C drains and ends

Exit codes:
  0   ended as asked
  1   did not start, or ended without having been asked
  2   the command line makes no sense
  78  the configuration is refused";

/// A sidecar that keeps web sessions alive through Redis failovers.
///
/// Point the Redis client of your application at it instead of at Redis.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve, until SIGTERM or Ctrl-C
    Run(run::Options),
    /// Say what a configuration would do, and end
    Check(check::Options),
    /// Start a throw-away primary with replicas and Sentinels, and a sidecar in front
    Dev(dev::Options),
    /// Keep a child process and a directory for as long as standard input is open
    #[command(hide = true)]
    Keep(keep::Options),
}

/// Why a subcommand did not end well.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Lost(#[from] Lost),
    #[error(transparent)]
    Stack(#[from] stack::Error),
    #[error(transparent)]
    Keep(#[from] keep::Error),
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => BAD_CONFIG,
            Self::Start(_) | Self::Lost(_) | Self::Stack(_) | Self::Keep(_) | Self::Output(_) => {
                FAILED
            }
        }
    }
}

/// Does what the arguments say and returns the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(answer) => {
            let _ = answer.print();
            return u8::try_from(answer.exit_code()).unwrap_or(USAGE);
        }
    };
    let done = match arguments.command {
        Command::Run(options) => run::run(&options),
        Command::Check(options) => check::run(&options),
        Command::Dev(options) => dev::run(&options),
        Command::Keep(options) => keep::run(&options),
    };
    match done {
        Ok(()) => 0,
        Err(failure) => {
            complain(&failure);
            failure.exit_code()
        }
    }
}

/// Where the configuration is.
#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// Configuration file; without it every key has its default
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    path: Option<PathBuf>,
}

impl ConfigFile {
    fn load(&self) -> Result<(Config, Vec<Warning>), config::Error> {
        match &self.path {
            Some(path) => Config::load(path),
            None => Ok((Config::default(), Vec::new())),
        }
    }

    fn name(&self) -> String {
        match &self.path {
            Some(path) => Path::display(path).to_string(),
            None => "the defaults".into(),
        }
    }
}

/// Writes an error and its causes to standard error, in one line unless the error itself has several.
fn complain(failure: &Failure) {
    let mut text = format!("gripfast: {failure}");
    let mut cause = failure.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    let _ = writeln!(io::stderr(), "{text}");
}
