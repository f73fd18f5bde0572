//! The section `durability`: when a write is acknowledged.

use std::time::Duration;

use super::{Findings, size};
use crate::config::parse;
use crate::config::section::{Section, Shown};
use crate::config::{Durability, DurabilityMode, Journal, OnTimeout, Opaque};

pub(super) fn durability(
    root: &mut Section,
    journal: &Journal,
    findings: &mut Findings,
) -> Durability {
    let default = Durability::default();
    let problems = &mut findings.problems;
    let mut section = root.section("durability", Shown::Plain, problems);
    let mode = parse::choice(parse::DURABILITY_MODES);
    let mode = section.take("mode", Shown::Plain, problems, mode);
    let replicas = parse::number(1..=16, "replicas");
    let replicas = section.take("replicas", Shown::Plain, problems, replicas);
    let timeout = parse::number(1..=600_000, "milliseconds");
    let timeout = section.take("timeout_ms", Shown::Plain, problems, timeout);
    let on_timeout = parse::choice(&[("reply", OnTimeout::Reply), ("error", OnTimeout::Error)]);
    let on_timeout = section.take("on_timeout", Shown::Plain, problems, on_timeout);
    let prefixes = section.take("prefixes", Shown::Plain, problems, parse::prefix_modes);
    section.finish(problems);
    let durability = Durability {
        mode: mode.unwrap_or(default.mode),
        replicas: replicas.map_or(default.replicas, size),
        timeout: timeout.map_or(default.timeout, Duration::from_millis),
        on_timeout: on_timeout.unwrap_or(default.on_timeout),
        prefixes: prefixes.unwrap_or(default.prefixes),
    };
    if !journal.enabled {
        let rule = "needs the journal: set journal.enabled: true";
        if durability.is_on() {
            let key = match durability.mode {
                DurabilityMode::Replicated => "durability.mode",
                DurabilityMode::Async => "durability.prefixes",
            };
            findings.problem(key, "replicated", rule);
        }
        if journal.opaque == Opaque::Wait {
            findings.problem("journal.opaque", "wait", rule);
        }
    }
    durability
}
