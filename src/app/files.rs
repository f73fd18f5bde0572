//! The limit on open files: raised to what the configuration needs, or said.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// Files besides clients and pinned links: the shared links of 16 databases, listeners, admin port, runtime, standard streams.
const OTHERS: u64 = 128;

/// What became of the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Files {
    /// Open files that the configuration may need.
    pub needed: u64,
    /// Open files that this process may have.
    pub limit: u64,
}

impl Files {
    /// Whether all that the configuration allows can be open at once.
    pub fn suffice(self) -> bool {
        self.limit >= self.needed
    }
}

/// Raises the limit as far as needed and permitted.
pub fn raise(config: &Config) -> Files {
    let needed = needed(config);
    let now = getrlimit(Resource::Nofile);
    for wanted in plan(needed, now.current, now.maximum).into_iter().flatten() {
        if setrlimit(Resource::Nofile, wanted).is_ok() {
            break;
        }
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    Files { needed, limit }
}

fn needed(config: &Config) -> u64 {
    (config.listen.clients_max + config.upstream.pinned_max) as u64 + OTHERS
}

/// What to try, one after the other: all that is needed (past the hard limit only root may go), then the hard limit.
fn plan(needed: u64, soft: Option<u64>, hard: Option<u64>) -> [Option<Rlimit>; 2] {
    if soft.is_none_or(|soft| soft >= needed) {
        return [None, None];
    }
    let limit = |current, maximum| {
        Some(Rlimit {
            current: Some(current),
            maximum,
        })
    };
    match hard {
        Some(hard) if hard < needed => [limit(needed, Some(needed)), limit(hard, Some(hard))],
        _ => [limit(needed, hard), None],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(needed: u64, soft: u64, hard: Option<u64>) -> Vec<(Option<u64>, Option<u64>)> {
        plan(needed, Some(soft), hard)
            .into_iter()
            .flatten()
            .map(|one| (one.current, one.maximum))
            .collect()
    }

    #[test]
    fn limit_is_raised_only_when_it_is_too_low() {
        assert_eq!(tried(100, 100, Some(100)), []);
        assert_eq!(tried(100, 50, Some(200)), [(Some(100), Some(200))]);
        assert_eq!(tried(100, 50, None), [(Some(100), None)]);
        assert!(plan(100, None, None).into_iter().flatten().next().is_none());
    }

    #[test]
    fn hard_limit_is_taken_when_more_is_not_permitted() {
        let expected = [(Some(100), Some(100)), (Some(80), Some(80))];
        assert_eq!(tried(100, 50, Some(80)), expected);
    }

    #[test]
    fn every_client_and_pinned_link_is_counted() {
        assert_eq!(needed(&Config::default()), 10_000 + 1024 + OTHERS);
    }
}
