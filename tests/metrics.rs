//! Promise: a scrape is well-formed, shows exactly the metrics declared in `metrics::ALL`, and the counts are those that
//! the data thread made.

use std::collections::{BTreeMap, BTreeSet};

use gripfast::metrics::{
    ALL, ClearCause, CloseCause, Counters, DialOutcome, DurabilityCounters, Durable, ErrorKind,
    Eviction, Fate, HoldCounters, HoldReason, JournalCounters, Kind, Lane, Looked, LossCause,
    Phase, Recorder, RejectReason, RepairCounters, SessionRead, Settled, Side, Touched, TtlFinding,
    Verified,
};

/// One metric as a scrape shows it.
#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    /// Value by label value; "" without a label.
    samples: BTreeMap<String, f64>,
    label: Option<String>,
}

/// Reads the text format strictly: HELP, TYPE, then samples of that metric only, each metric and each series once.
fn parse(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'), "the last line must end");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("HELP has a name and a text");
            assert!(!help.trim().is_empty(), "{line}");
            let family = Family {
                help: help.into(),
                ..Family::default()
            };
            assert!(
                families.insert(name.into(), family).is_none(),
                "twice: {line}"
            );
            current = name.into();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("TYPE has a name and a kind");
            assert_eq!(name, current, "TYPE without HELP in front");
            let family = families.get_mut(name).expect("HELP came first");
            assert!(
                family.kind.is_empty() && family.samples.is_empty(),
                "{line}"
            );
            family.kind = kind.into();
        } else {
            assert!(!line.starts_with('#'), "neither HELP nor TYPE: {line}");
            let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
            let value: f64 = value
                .parse()
                .unwrap_or_else(|_| panic!("no number: {line}"));
            let (name, label) = split_series(series);
            assert_eq!(name, current, "a sample outside its metric's block");
            let family = families.get_mut(name).expect("HELP came first");
            assert!(!family.kind.is_empty(), "sample before TYPE: {line}");
            let label_value = label.map_or("", |(_, value)| value);
            let label_name = label.map(|(name, _)| name.to_owned());
            assert!(
                family.samples.is_empty() || family.label == label_name,
                "{line}"
            );
            family.label = label_name;
            let before = family.samples.insert(label_value.into(), value);
            assert!(before.is_none(), "series twice: {line}");
        }
    }
    families
}

/// Splits `name{label="value"}`; our metrics have one label at most.
fn split_series(series: &str) -> (&str, Option<(&str, &str)>) {
    let word = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let Some((name, labels)) = series.split_once('{') else {
        assert!(word(series), "{series}");
        return (series, None);
    };
    let labels = labels.strip_suffix('}').expect("the brace closes");
    let (label, value) = labels.split_once('=').expect("label=value");
    let value = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'));
    let value = value.expect("the value is quoted");
    assert!(word(name) && word(label), "{series}");
    assert!(
        !value.contains(['"', '\\', '\n', '{', '}', ',']),
        "{series}"
    );
    (name, Some((label, value)))
}

/// A recorder with the handles of both threads made.
fn used() -> (Recorder, gripfast::metrics::DataMetrics) {
    let recorder = Recorder::new();
    let data = recorder.data();
    let _control = recorder.control();
    let _topology = recorder.topology();
    (recorder, data)
}

#[test]
fn scrape_shows_exactly_the_declared_metrics() {
    let (recorder, _data) = used();
    let scrape = parse(&recorder.render());
    let shown: BTreeSet<&str> = scrape.keys().map(String::as_str).collect();
    let declared: BTreeSet<&str> = ALL.iter().map(|definition| definition.name).collect();
    assert_eq!(shown, declared);
    assert_eq!(declared.len(), ALL.len(), "a name is declared twice");
    for definition in ALL {
        let family = &scrape[definition.name];
        assert_eq!(family.kind, definition.kind.as_str(), "{}", definition.name);
        assert_eq!(family.help, definition.help, "{}", definition.name);
        let label = family.label.as_deref();
        assert_eq!(
            label,
            definition.label.map(|label| label.name),
            "{}",
            definition.name
        );
        let values: BTreeSet<&str> = family.samples.keys().map(String::as_str).collect();
        let expected = definition.label.map_or(&[""][..], |label| label.values);
        // Each series is there before anything was counted, so that a rate has a first point.
        assert_eq!(
            values,
            expected.iter().copied().collect(),
            "{}",
            definition.name
        );
    }
}

#[test]
fn names_follow_the_rules() {
    for definition in ALL {
        let name = definition.name;
        assert!(
            name.starts_with("gripfast_") || name.starts_with("process_"),
            "{name}"
        );
        assert_eq!(
            name.ends_with("_total"),
            definition.kind == Kind::Counter,
            "{name}"
        );
        let stem = name.trim_end_matches("_total");
        let unit = definition.unit.as_str();
        assert!(
            unit == "count" || stem.ends_with(unit),
            "{name} is in {unit}"
        );
        assert!(!definition.help.ends_with('.'), "{name}");
    }
}

#[test]
fn flush_publishes_each_count_under_its_label() {
    let (recorder, mut data) = used();
    let counters = Counters {
        clients_accepted: 10,
        clients_rejected: [11],
        clients_closed: [21, 22, 23, 24, 25, 26, 27],
        requests: [31, 32, 33, 34],
        error_replies: [41, 42, 43, 44],
        link_dials: [51, 52, 53],
        links_lost: [61, 62, 63, 0],
        received_bytes: [71, 72],
        sent_bytes: [81, 82],
        session_reads: [101, 102, 103, 104, 105, 106],
        touches: [111, 112, 113],
        ttl_findings: [115, 116],
        cache_invalidations: 120,
        cache_clears: [131, 132, 133, 134, 135, 136, 137],
        cache_evictions: [141, 142],
        cache_oversized: 150,
        hits_verified: [161, 162, 163],
        staleness_worst_ms: 1700,
        cache_entries: 6,
        cache_bytes: 7,
        links_announcing: 8,
        hold: HoldCounters {
            holds: [171, 172, 173, 174, 175, 176, 177, 178, 179, 180, 181, 182],
            held: 181,
            taken_back: 182,
            refused: 183,
            shed: 184,
            acknowledged: 186,
            gave_up: 185,
            held_now: 9,
            held_bytes: 10,
            phase: 1,
        },
        journal: JournalCounters {
            added: 191,
            dropped: 192,
            missed: 193,
            opaque: [201, 202],
            inherited: 198,
            in_doubt: 199,
            records: 194,
            bytes: 195,
            oldest_ms: 1960,
            at_risk: 197,
        },
        durability: DurabilityCounters {
            waits: [221, 222, 223],
            waiting: 224,
            last_us: 2_050_000,
        },
        repair: RepairCounters {
            settled: [201, 202, 203, 204, 205, 206],
            lost: [211, 212, 213, 214, 215],
            reseeded: 216,
            last_us: 250_000,
        },
        loop_turns: 90,
        clients_open: 5,
        links_open: [1, 2, 3, 0],
        pinned_waiting: 4,
        upstream_up: true,
    };
    data.flush(&counters);
    // Counts are totals, not steps: a second flush of the same changes nothing.
    data.flush(&counters);
    let scrape = parse(&recorder.render());
    let value = |name: &str, label: &str| scrape[name].samples[label];
    let plain = [
        ("gripfast_client_connections_accepted_total", 10.0),
        ("gripfast_loop_turns_total", 90.0),
        ("gripfast_requests_held_total", 181.0),
        ("gripfast_requests_taken_back_total", 182.0),
        ("gripfast_requests_refused_total", 183.0),
        ("gripfast_requests_shed_total", 184.0),
        ("gripfast_clients_gave_up_total", 185.0),
        ("gripfast_held_requests", 9.0),
        ("gripfast_held_bytes", 10.0),
        ("gripfast_journal_writes_total", 191.0),
        ("gripfast_journal_dropped_total", 192.0),
        ("gripfast_journal_missed_total", 193.0),
        ("gripfast_journal_records", 194.0),
        ("gripfast_journal_bytes", 195.0),
        ("gripfast_journal_oldest_seconds", 1.96),
        ("gripfast_writes_at_risk", 197.0),
        ("gripfast_durability_waiting_writes", 224.0),
        ("gripfast_durability_wait_seconds", 2.05),
        ("gripfast_keys_reseeded_total", 216.0),
        ("gripfast_repair_last_seconds", 0.25),
        ("gripfast_cache_invalidations_total", 120.0),
        ("gripfast_cache_oversized_total", 150.0),
        ("gripfast_cache_staleness_worst_seconds", 1.7),
        ("gripfast_cache_entries", 6.0),
        ("gripfast_cache_bytes", 7.0),
        ("gripfast_cache_tracking_links", 8.0),
        ("gripfast_client_connections", 5.0),
        ("gripfast_pinned_waiting_clients", 4.0),
        ("gripfast_upstream_up", 1.0),
    ];
    for (name, expected) in plain {
        assert_eq!(value(name, ""), expected, "{name}");
    }
    let labelled: [(&str, &[&str], &[u64]); 22] = [
        ("gripfast_journal_opaque_total", Looked::NAMES, &[201, 202]),
        ("gripfast_writes_at_switch_total", Fate::NAMES, &[198, 199]),
        (
            "gripfast_durability_waits_total",
            Durable::NAMES,
            &counters.durability.waits,
        ),
        (
            "gripfast_writes_settled_total",
            Settled::NAMES,
            &counters.repair.settled,
        ),
        (
            "gripfast_writes_lost_total",
            LossCause::NAMES,
            &counters.repair.lost,
        ),
        (
            "gripfast_holds_total",
            HoldReason::NAMES,
            &counters.hold.holds,
        ),
        ("gripfast_failover_phase", Phase::NAMES, &[0, 1, 0, 0]),
        (
            "gripfast_session_ttl_findings_total",
            TtlFinding::NAMES,
            &counters.ttl_findings,
        ),
        (
            "gripfast_session_reads_total",
            SessionRead::NAMES,
            &counters.session_reads,
        ),
        ("gripfast_touches_total", Touched::NAMES, &counters.touches),
        (
            "gripfast_cache_clears_total",
            ClearCause::NAMES,
            &counters.cache_clears,
        ),
        (
            "gripfast_cache_evictions_total",
            Eviction::NAMES,
            &counters.cache_evictions,
        ),
        (
            "gripfast_cache_verified_total",
            Verified::NAMES,
            &counters.hits_verified,
        ),
        (
            "gripfast_client_connections_rejected_total",
            RejectReason::NAMES,
            &counters.clients_rejected,
        ),
        (
            "gripfast_client_connections_closed_total",
            CloseCause::NAMES,
            &counters.clients_closed,
        ),
        ("gripfast_requests_total", Lane::NAMES, &counters.requests),
        (
            "gripfast_error_replies_total",
            ErrorKind::NAMES,
            &counters.error_replies,
        ),
        (
            "gripfast_link_dials_total",
            DialOutcome::NAMES,
            &counters.link_dials,
        ),
        (
            "gripfast_links_lost_total",
            Lane::LINK_NAMES,
            &counters.links_lost[..3],
        ),
        (
            "gripfast_received_bytes_total",
            Side::NAMES,
            &counters.received_bytes,
        ),
        (
            "gripfast_sent_bytes_total",
            Side::NAMES,
            &counters.sent_bytes,
        ),
        (
            "gripfast_links",
            Lane::LINK_NAMES,
            &counters.links_open[..3],
        ),
    ];
    for (name, labels, expected) in labelled {
        assert_eq!(labels.len(), expected.len(), "{name}");
        for (label, expected) in labels.iter().zip(expected) {
            assert_eq!(value(name, label), *expected as f64, "{name} {label}");
        }
    }
}

#[test]
fn gauges_go_down_again() {
    let (recorder, mut data) = used();
    data.flush(&Counters {
        clients_open: 5,
        upstream_up: true,
        ..Counters::default()
    });
    data.flush(&Counters::default());
    let scrape = parse(&recorder.render());
    assert_eq!(scrape["gripfast_client_connections"].samples[""], 0.0);
    assert_eq!(scrape["gripfast_upstream_up"].samples[""], 0.0);
}

#[test]
fn recorders_do_not_share_counts() {
    let (one, mut data) = used();
    let (other, _) = used();
    data.flush(&Counters {
        loop_turns: 7,
        ..Counters::default()
    });
    let turns =
        |recorder: &Recorder| parse(&recorder.render())["gripfast_loop_turns_total"].samples[""];
    assert_eq!((turns(&one), turns(&other)), (7.0, 0.0));
}

#[test]
fn label_names_and_indices_agree() {
    for lane in Lane::ALL {
        assert_eq!(lane.as_str(), Lane::NAMES[lane.index()]);
    }
    for (lane, name) in Lane::LINKS.iter().zip(Lane::LINK_NAMES) {
        assert_eq!(lane.as_str(), *name);
    }
}
