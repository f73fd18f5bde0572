//! When a write is acknowledged: at once, or when replicas have it.

use std::time::Duration;

/// When a write is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durability {
    /// When a write is, of whose keys `prefixes` says nothing else.
    pub mode: DurabilityMode,
    /// How many replicas must have a write: 1 to 16.
    pub replicas: usize,
    /// How long that is waited for.
    pub timeout: Duration,
    /// What its sender gets then.
    pub on_timeout: OnTimeout,
    /// What the names of some keys begin with, and when their writes are acknowledged.
    pub prefixes: Vec<(Vec<u8>, DurabilityMode)>,
}

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DurabilityMode {
    /// When the primary has run it, as Redis does.
    #[default]
    Async,
    /// When so many replicas have it.
    Replicated,
}

/// What the sender of a write gets that too few replicas have in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTimeout {
    /// The primary's reply.
    #[default]
    Reply,
    /// An error.
    Error,
}

impl Default for Durability {
    fn default() -> Self {
        Self {
            mode: DurabilityMode::default(),
            replicas: 1,
            timeout: Duration::from_secs(1),
            on_timeout: OnTimeout::default(),
            prefixes: Vec::new(),
        }
    }
}

impl Durability {
    /// Tells whether any write may have to wait for replicas.
    pub fn is_on(&self) -> bool {
        self.mode == DurabilityMode::Replicated || self.names_replicated()
    }

    /// Tells when a write of this key is acknowledged: the longest prefix decides.
    pub fn mode_of(&self, key: &[u8]) -> DurabilityMode {
        let fits = self
            .prefixes
            .iter()
            .filter(|(prefix, _)| key.starts_with(prefix));
        let longest = fits.max_by_key(|(prefix, _)| prefix.len());
        longest.map_or(self.mode, |(_, mode)| *mode)
    }

    /// Tells when a write is acknowledged that may change any key: when the strictest of them is.
    pub fn strictest(&self) -> DurabilityMode {
        match self.is_on() {
            true => DurabilityMode::Replicated,
            false => DurabilityMode::Async,
        }
    }

    fn names_replicated(&self) -> bool {
        let is_replicated = |(_, mode): &(_, _)| *mode == DurabilityMode::Replicated;
        self.prefixes.iter().any(is_replicated)
    }
}

#[cfg(test)]
mod tests {
    use super::DurabilityMode::{Async, Replicated};
    use super::*;

    #[test]
    fn the_longest_prefix_decides_and_an_unknown_key_is_taken_for_the_strictest() {
        let prefixes = [("auth:", Replicated), ("auth:seen:", Async)];
        let named = |mode, prefixes: &[(&str, DurabilityMode)]| Durability {
            mode,
            prefixes: prefixes
                .iter()
                .map(|(prefix, mode)| (prefix.as_bytes().to_vec(), *mode))
                .collect(),
            ..Durability::default()
        };
        let some = named(Async, &prefixes);
        for (key, mode) in [
            ("auth:1", Replicated),
            ("auth:seen:1", Async),
            ("auth:seen", Replicated),
            ("aut", Async),
            ("", Async),
        ] {
            assert_eq!(some.mode_of(key.as_bytes()), mode, "{key}");
        }
        assert_eq!((some.is_on(), some.strictest()), (true, Replicated));
        let most = named(Replicated, &[("log:", Async)]);
        assert_eq!(
            (most.mode_of(b"log:1"), most.mode_of(b"x")),
            (Async, Replicated)
        );
        assert_eq!(most.strictest(), Replicated);
        let none = named(Async, &[("log:", Async)]);
        assert_eq!((none.is_on(), none.strictest()), (false, Async));
    }
}
