//! The sections `cache`, `touch` and `sessions`.

use super::*;

#[test]
fn cache_is_off_or_holds_its_largest_entry() {
    for bytes in [0, 1 << 20, 1_u64 << 40] {
        assert_eq!(
            good(&format!("cache: {{bytes: {bytes}}}")).cache.bytes,
            bytes
        );
    }
    for bytes in ["1", "1048575", "1099511627777", "-1", "1.5", "64M"] {
        let rule = "must be a whole number of bytes from 1048576 to 1099511627776, or 0";
        let problems = bad(&format!("cache: {{bytes: {bytes}}}"));
        assert_eq!(problems.len(), 1, "{bytes}");
        assert!(problems[0].ends_with(rule), "{problems:?}");
    }
    assert_eq!(
        bad("cache: {bytes: 1048576, entry_bytes_max: 1048577}"),
        ["cache.entry_bytes_max: 1048577: must not be greater than cache.bytes (1048576)"]
    );
    assert!(built("cache: {bytes: 1048576, entry_bytes_max: 1048576}").is_ok());
    assert!(built("cache: {bytes: 0, entry_bytes_max: 67108864}").is_ok());
}

#[test]
fn ratios_are_numbers_from_0_to_1_kept_in_millionths() {
    for (text, millionths) in [
        ("0", 0),
        ("0.0", 0),
        ("-0.0", 0),
        ("1", 1_000_000),
        ("1.0", 1_000_000),
        ("0.001", 1000),
        (".25", 250_000),
        ("1e-6", 1),
        ("0.0000014", 1),
        ("0.0000016", 2),
        ("0.29", 290_000),
        ("0.9999999", 1_000_000),
    ] {
        let config = good(&format!(
            "cache: {{verify_ratio: {text}}}\ntouch: {{coalesce: {text}}}"
        ));
        let expected = Ratio::from_millionths(millionths);
        assert_eq!(config.cache.verify_ratio, expected, "{text}");
        assert_eq!(config.touch.coalesce, expected, "{text}");
    }
    for text in [
        ".nan",
        ".inf",
        "-.inf",
        "-1",
        "-0.1",
        "-1e-300",
        "2",
        "1.0000001",
        "1e300",
        "9e-7",
        "5e-324",
        "'0.5'",
        "1%",
        "true",
        "[0.5]",
    ] {
        for key in ["cache: {verify_ratio", "touch: {coalesce"] {
            let problems = bad(&format!("{key}: {text}}}"));
            assert_eq!(problems.len(), 1, "{key} {text}");
            let rule = "must be 0, or a number from 0.000001 to 1, without quotes";
            assert!(problems[0].ends_with(rule), "{problems:?}");
        }
    }
}

/// Every ratio that can be held is read back from how `gripfast check` shows it.
#[test]
fn every_millionth_survives_being_shown() {
    for millionths in 0..=1_000_000 {
        let shown = f64::from(millionths) / 1e6;
        let read = parse::ratio(&serde_yaml::Value::from(shown));
        assert_eq!(read, Ok(Ratio::from_millionths(millionths)));
    }
}

#[test]
fn prefixes_are_one_text_or_a_list_without_repetition() {
    let read = |yaml: &str| {
        good(&format!("sessions: {{prefixes: {yaml}}}"))
            .sessions
            .prefixes
    };
    assert!(read("[]").is_empty() && read("null").is_empty());
    assert_eq!(read("'sess:'"), [b"sess:"]);
    assert_eq!(read("['a', 'ab', ' ']"), [&b"a"[..], b"ab", b" "]);
    let longest = "x".repeat(256);
    assert_eq!(read(&longest), [longest.as_bytes()]);
    let many = |count: usize| {
        let names: Vec<String> = (0..count).map(|index| format!("p{index}:")).collect();
        format!(
            "[{}]",
            names
                .iter()
                .map(|one| format!("'{one}'"))
                .collect::<Vec<_>>()
                .join(", ")
        )
    };
    assert_eq!(read(&many(64)).len(), 64);
    let long = "x".repeat(257);
    // Bytes are counted, not characters.
    let wide = "å".repeat(129);
    for (yaml, rule) in [
        (
            "''",
            "must be text of 1 to 256 bytes (put numbers in quotes)",
        ),
        (
            "7",
            "must be text of 1 to 256 bytes (put numbers in quotes)",
        ),
        (
            long.as_str(),
            "must be text of 1 to 256 bytes (put numbers in quotes)",
        ),
        (
            wide.as_str(),
            "must be text of 1 to 256 bytes (put numbers in quotes)",
        ),
        (
            "{a: b}",
            "must be text of 1 to 256 bytes (put numbers in quotes)",
        ),
        (
            "[a, '']",
            "entry 2 of the list must be text of 1 to 256 bytes (put numbers in quotes)",
        ),
        ("[a, b, a]", "entry 3 of the list is there twice"),
        (&many(65), "must be at most 64 prefixes"),
    ] {
        let problems = bad(&format!("sessions: {{prefixes: {yaml}}}"));
        assert_eq!(problems.len(), 1, "{yaml}");
        assert!(problems[0].ends_with(&format!(": {rule}")), "{problems:?}");
    }
}

#[test]
fn require_ttl_is_a_word_or_what_yaml_makes_of_off() {
    for (text, expected) in [
        ("off", RequireTtl::Off),
        ("'off'", RequireTtl::Off),
        ("false", RequireTtl::Off),
        ("null", RequireTtl::Off),
        ("warn", RequireTtl::Warn),
        ("enforce", RequireTtl::Enforce),
    ] {
        let config = good(&format!("sessions: {{require_ttl: {text}}}"));
        assert_eq!(config.sessions.require_ttl, expected, "{text}");
    }
    for text in ["true", "on", "Off", "'false'", "0", "''"] {
        let problems = bad(&format!("sessions: {{require_ttl: {text}}}"));
        assert_eq!(problems.len(), 1, "{text}");
        assert!(
            problems[0].ends_with("must be one of off, warn, enforce"),
            "{problems:?}"
        );
    }
}

#[test]
fn longest_expiry_is_no_less_than_the_one_that_is_given() {
    assert_eq!(
        bad("sessions: {require_ttl: enforce, default_ttl_s: 60, max_ttl_s: 59}"),
        [
            "sessions.max_ttl_s: 59: must not be less than sessions.default_ttl_s (60) where sessions.require_ttl is enforce"
        ]
    );
    // The default counts, too; but not in the place of a bad value.
    assert_eq!(
        bad("sessions: {require_ttl: enforce, max_ttl_s: 86399}").len(),
        1
    );
    let problems = bad("sessions: {require_ttl: enforce, default_ttl_s: 0, max_ttl_s: 59}");
    assert_eq!(problems.len(), 1, "{problems:?}");
    for yaml in [
        "sessions: {require_ttl: enforce, default_ttl_s: 60, max_ttl_s: 60}",
        "sessions: {require_ttl: enforce, max_ttl_s: null}",
        "sessions: {require_ttl: warn, default_ttl_s: 60, max_ttl_s: 59}",
    ] {
        assert_eq!(built(yaml).unwrap().1, [], "{yaml}");
    }
    let (config, warnings) = built("sessions: {max_ttl_s: 59}").unwrap();
    assert_eq!(config.sessions.max_ttl, Some(Duration::from_secs(59)));
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].key, "sessions.max_ttl_s");
}

#[test]
fn writes_are_acknowledged_where_they_can_be_put_back() {
    let upstream = "upstream: {mode: sentinel, sentinels: [\"s:26379\"], primary_name: m}\n";
    let wished = "hold: {writes: acknowledge}\n";
    let config = good(&format!("{upstream}{wished}"));
    assert_eq!(config.hold.writes, Writes::Acknowledge);
    assert_eq!(good(upstream).hold.writes, Writes::Wait);
    let rule = "hold.writes: acknowledge: needs repair (repair.enabled), which puts them back, and the cache (cache.bytes)";
    for other in [
        "upstream: {mode: standalone}\n",
        &format!("{upstream}cache: {{bytes: 0}}\n"),
        &format!("{upstream}repair: {{enabled: false}}\n"),
    ] {
        assert_eq!(bad(&format!("{other}{wished}")), [rule], "{other}");
    }
}
