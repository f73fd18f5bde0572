//! What is wrong with a configuration, in words for the one who wrote it. No secret appears in any of them.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be read, or is not UTF-8.
    #[error("cannot read the configuration {path:?}")]
    Unreadable {
        /// The file as it was named.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not YAML.
    #[error("{path:?} is not valid YAML")]
    Yaml {
        /// The file as it was named.
        path: PathBuf,
        /// Where and why.
        source: Syntax,
    },
    /// The file is YAML, and says things that cannot be done.
    #[error("{path:?} is refused, {}:{}", count(problems), list(problems))]
    Problems {
        /// The file as it was named.
        path: PathBuf,
        /// All of them, in the order of the sections.
        problems: Vec<Problem>,
    },
}

/// Where YAML itself is broken; the text names line and column.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Syntax(#[from] serde_yaml::Error);

impl Syntax {
    /// Line and column, both counted from 1; `None` when the parser does not know.
    pub fn location(&self) -> Option<(usize, usize)> {
        self.0.location().map(|at| (at.line(), at.column()))
    }
}

/// One key that cannot stand as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it is: `listen.clients_max`.
    pub key: String,
    /// What stands there, shortened; secrets are left out.
    pub value: String,
    /// What may stand there.
    pub rule: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.key, self.value, self.rule)
    }
}

/// One key that can stand, but that its owner should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where it is: `upstream.password_file`.
    pub key: &'static str,
    /// What is wrong and what to do.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.text)
    }
}

fn count(problems: &[Problem]) -> String {
    match problems.len() {
        1 => "1 problem".into(),
        several => format!("{several} problems"),
    }
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(|one| format!("\n  {one}")).collect()
}
