//! The sections about sessions: what is kept of them, how they are touched, which keys they are, what is held of them,
//! what is remembered of writes to them.

use std::time::Duration;

use serde_yaml::Value;

use super::{Findings, size};
use crate::config::parse;
use crate::config::section::{Section, Shown};
use crate::config::{
    Cache, Hold, Journal, OnIsolation, Opaque, Repair, RequireTtl, Sessions, Source, Touch,
    Warning, Writes,
};

/// Ten years in seconds, the longest expiry that can be asked for: what is longer is a mistake in the unit.
const TTL_MAX_S: u64 = 315_360_000;

pub(super) fn cache(root: &mut Section, findings: &mut Findings) -> Cache {
    let default = Cache::default();
    let problems = &mut findings.problems;
    let mut section = root.section("cache", Shown::Plain, problems);
    let bytes = parse::zero_or_number(1 << 20..=1 << 40, "bytes");
    let bytes = section.take("bytes", Shown::Plain, problems, bytes);
    let entry = parse::number(1 << 10..=64 << 20, "bytes");
    let entry_bytes_max = section.take("entry_bytes_max", Shown::Plain, problems, entry);
    let ttl = parse::number(1..=3600, "seconds");
    let ttl = section.take("ttl_s", Shown::Plain, problems, ttl);
    let untracked = parse::number(0..=60_000, "milliseconds");
    let ttl_untracked = section.take("ttl_untracked_ms", Shown::Plain, problems, untracked);
    let staleness = parse::number(200..=60_000, "milliseconds");
    let max_staleness = section.take("max_staleness_ms", Shown::Plain, problems, staleness);
    let verify_ratio = section.take("verify_ratio", Shown::Plain, problems, parse::ratio);
    section.finish(problems);

    let bytes = bytes.unwrap_or(default.bytes);
    if let Some(entry) = entry_bytes_max.filter(|entry| bytes > 0 && *entry > bytes) {
        let rule = format!("must not be greater than cache.bytes ({bytes})");
        findings.problem("cache.entry_bytes_max", entry, rule);
    }
    Cache {
        bytes,
        entry_bytes_max: entry_bytes_max.map_or(default.entry_bytes_max, size),
        ttl: ttl.map_or(default.ttl, Duration::from_secs),
        ttl_untracked: ttl_untracked.map_or(default.ttl_untracked, Duration::from_millis),
        max_staleness: max_staleness.map_or(default.max_staleness, Duration::from_millis),
        verify_ratio: verify_ratio.unwrap_or(default.verify_ratio),
    }
}

pub(super) fn touch(root: &mut Section, findings: &mut Findings) -> Touch {
    let default = Touch::default();
    let problems = &mut findings.problems;
    let mut section = root.section("touch", Shown::Plain, problems);
    let coalesce = section.take("coalesce", Shown::Plain, problems, parse::ratio);
    let most = parse::number(0..=3600, "seconds");
    let coalesce_max = section.take("coalesce_max_s", Shown::Plain, problems, most);
    let key = "coalesce_unchanged_set";
    let coalesce_unchanged_set = section.take(key, Shown::Plain, problems, parse::flag);
    section.finish(problems);
    Touch {
        coalesce: coalesce.unwrap_or(default.coalesce),
        coalesce_max: coalesce_max.map_or(default.coalesce_max, Duration::from_secs),
        coalesce_unchanged_set: coalesce_unchanged_set.unwrap_or(default.coalesce_unchanged_set),
    }
}

pub(super) fn sessions(root: &mut Section, findings: &mut Findings) -> Sessions {
    let default = Sessions::default();
    let problems = &mut findings.problems;
    let mut section = root.section("sessions", Shown::Plain, problems);
    let prefixes = section.take("prefixes", Shown::Plain, problems, parse::prefixes);
    let require_ttl = section.take("require_ttl", Shown::Plain, problems, require_ttl);
    let before = problems.len();
    let ttl = parse::number(1..=TTL_MAX_S, "seconds");
    let default_ttl = section.take("default_ttl_s", Shown::Plain, problems, ttl);
    let default_ttl_is_bad = problems.len() > before;
    let longest = parse::number(1..=TTL_MAX_S, "seconds");
    let max_ttl = section.take("max_ttl_s", Shown::Plain, problems, longest);
    section.finish(problems);

    let require_ttl = require_ttl.unwrap_or(default.require_ttl);
    let default_ttl = default_ttl.map_or(default.default_ttl, Duration::from_secs);
    let max_ttl = max_ttl.map(Duration::from_secs);
    match (require_ttl, max_ttl) {
        // A bad default has its own problem; the one that stands in for it is not what was asked for.
        (RequireTtl::Enforce, Some(max)) if max < default_ttl && !default_ttl_is_bad => {
            let rule = format!(
                "must not be less than sessions.default_ttl_s ({}) where sessions.require_ttl is enforce",
                default_ttl.as_secs()
            );
            findings.problem("sessions.max_ttl_s", max.as_secs(), rule);
        }
        (RequireTtl::Off, Some(_)) => findings.warnings.push(Warning {
            key: "sessions.max_ttl_s",
            text: "has no effect while sessions.require_ttl is off".into(),
        }),
        _ => {}
    }
    Sessions {
        prefixes: prefixes.unwrap_or(default.prefixes),
        require_ttl,
        default_ttl,
        max_ttl,
    }
}

pub(super) fn hold(root: &mut Section, findings: &mut Findings) -> Hold {
    let default = Hold::default();
    let problems = &mut findings.problems;
    let mut section = root.section("hold", Shown::Plain, problems);
    let requests = parse::number(1..=1_000_000, "requests");
    let requests_max = section.take("requests_max", Shown::Plain, problems, requests);
    let bytes = parse::number(1 << 20..=1 << 40, "bytes");
    let bytes_max = section.take("bytes_max", Shown::Plain, problems, bytes);
    let deadline = parse::number(0..=600_000, "milliseconds");
    let deadline = section.take("deadline_ms", Shown::Plain, problems, deadline);
    let grace = parse::number(0..=3_600_000, "milliseconds");
    let stale_grace = section.take("stale_grace_ms", Shown::Plain, problems, grace);
    let ask_replica = section.take("ask_replica", Shown::Plain, problems, parse::flag);
    let choices = &[("serve", OnIsolation::Serve), ("hold", OnIsolation::Hold)];
    let isolation = parse::choice(choices);
    let on_isolation = section.take("on_isolation", Shown::Plain, problems, isolation);
    let choices = &[("wait", Writes::Wait), ("acknowledge", Writes::Acknowledge)];
    let writes = section.take("writes", Shown::Plain, problems, parse::choice(choices));
    let after = parse::number(0..=60_000, "milliseconds");
    let after = section.take("acknowledge_after_ms", Shown::Plain, problems, after);
    let silence = parse::number(50..=5_000, "milliseconds");
    let silence = section.take("silence_ms", Shown::Plain, problems, silence);
    section.finish(problems);
    Hold {
        requests_max: requests_max.map_or(default.requests_max, size),
        bytes_max: bytes_max.map_or(default.bytes_max, size),
        deadline: deadline.map(Duration::from_millis),
        stale_grace: stale_grace.map_or(default.stale_grace, Duration::from_millis),
        ask_replica: ask_replica.unwrap_or(default.ask_replica),
        on_isolation: on_isolation.unwrap_or(default.on_isolation),
        writes: writes.unwrap_or(default.writes),
        acknowledge_after: after.map_or(default.acknowledge_after, Duration::from_millis),
        silence: silence.map_or(default.silence, Duration::from_millis),
    }
}

pub(super) fn journal(root: &mut Section, source: &Source, findings: &mut Findings) -> Journal {
    let default = Journal::default();
    let problems = &mut findings.problems;
    let mut section = root.section("journal", Shown::Plain, problems);
    let enabled = section.take("enabled", Shown::Plain, problems, parse::flag);
    let bytes = parse::number(1 << 20..=1 << 40, "bytes");
    let bytes_max = section.take("bytes_max", Shown::Plain, problems, bytes);
    let records = parse::number(1..=1_000_000_000, "records");
    let records_max = section.take("records_max", Shown::Plain, problems, records);
    let age = parse::number(1..=86_400, "seconds");
    let age_max = section.take("age_max_s", Shown::Plain, problems, age);
    let retain = parse::number(0..=3_600, "seconds");
    let retain = section.take("retain_s", Shown::Plain, problems, retain);
    let choices = &[
        ("capture", Opaque::Capture),
        ("ignore", Opaque::Ignore),
        ("wait", Opaque::Wait),
    ];
    let opaque = section.take("opaque", Shown::Plain, problems, parse::choice(choices));
    section.finish(problems);
    Journal {
        enabled: enabled.unwrap_or(matches!(source, Source::Sentinel(_))),
        bytes_max: bytes_max.map_or(default.bytes_max, size),
        records_max: records_max.map_or(default.records_max, size),
        age_max: age_max.map_or(default.age_max, Duration::from_secs),
        retain: retain.map_or(default.retain, Duration::from_secs),
        opaque: opaque.unwrap_or(default.opaque),
    }
}

pub(super) fn repair(
    root: &mut Section,
    source: &Source,
    journal: &Journal,
    findings: &mut Findings,
) -> Repair {
    let default = Repair::default();
    let problems = &mut findings.problems;
    let mut section = root.section("repair", Shown::Plain, problems);
    let enabled = section.take("enabled", Shown::Plain, problems, parse::flag);
    let prefix = section.take("prefix", Shown::Plain, problems, key_prefix);
    let window = parse::number(1_000..=3_600_000, "milliseconds");
    let window = section.take("window_ms", Shown::Plain, problems, window);
    let recheck = parse::number(1..=600, "seconds");
    let recheck = section.take("recheck_s", Shown::Plain, problems, recheck);
    let wait = parse::number(0..=10_000, "milliseconds");
    let peer_wait = section.take("peer_wait_ms", Shown::Plain, problems, wait);
    let timeout = parse::number(2_000..=60_000, "milliseconds");
    let peer_timeout = section.take("peer_timeout_ms", Shown::Plain, problems, timeout);
    let reseed = section.take("reseed_from_cache", Shown::Plain, problems, parse::flag);
    section.finish(problems);

    let has_sentinels = matches!(source, Source::Sentinel(_));
    if enabled == Some(true) && !(has_sentinels && journal.enabled) {
        let rule = "needs the journal (journal.enabled), and Sentinels that name the primary";
        findings.problem("repair.enabled", true, rule);
    }
    Repair {
        enabled: enabled.unwrap_or(has_sentinels && journal.enabled),
        prefix: prefix.unwrap_or(default.prefix),
        window: window.map(Duration::from_millis),
        recheck: recheck.map_or(default.recheck, Duration::from_secs),
        peer_wait: peer_wait.map_or(default.peer_wait, Duration::from_millis),
        peer_timeout: peer_timeout.map_or(default.peer_timeout, Duration::from_millis),
        reseed_from_cache: reseed.unwrap_or(default.reseed_from_cache),
    }
}

/// Reads what the names of our keys begin with.
fn key_prefix(value: &Value) -> Result<String, String> {
    let text = parse::text(value)?;
    let is_short = (1..=64).contains(&text.len());
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    match is_short && is_plain {
        true => Ok(text),
        false => Err("must be 1 to 64 letters, digits and signs, without blanks".into()),
    }
}

/// Reads what becomes of a session without expiry; readers of YAML 1.1 take a bare `off` for false, so that is the same.
fn require_ttl(value: &Value) -> Result<RequireTtl, String> {
    let choices = &[
        ("off", RequireTtl::Off),
        ("warn", RequireTtl::Warn),
        ("enforce", RequireTtl::Enforce),
    ];
    match value {
        Value::Bool(false) => Ok(RequireTtl::Off),
        other => parse::choice(choices)(other),
    }
}
