mod durability;
mod session;

use super::*;

fn built(yaml: &str) -> Result<(Config, Vec<Warning>), Vec<Problem>> {
    build::config(
        serde_yaml::from_str(yaml).unwrap(),
        Path::new("/nowhere/config.yaml"),
    )
}

fn good(yaml: &str) -> Config {
    built(yaml).unwrap().0
}

/// The problems as lines, in order.
fn bad(yaml: &str) -> Vec<String> {
    built(yaml)
        .unwrap_err()
        .iter()
        .map(Problem::to_string)
        .collect()
}

#[test]
fn nothing_given_is_the_defaults() {
    assert_eq!(good(""), Config::default());
    assert_eq!(good("listen:\nupstream: {}\n"), Config::default());
}

#[test]
fn every_key_is_read() {
    let config = good(
        r#"
listen: {tcp: "[::1]:7000", unix: /run/g.sock, unix_mode: "600", clients_max: 5, output_bytes_max: 1048576, allow_open: false, require_auth: true, maint_notifications: false}
upstream: {mode: standalone, address: "redis.internal:7001", username: web, password: "hunter2", pinned_max: 7}
cache: {bytes: 1048576, entry_bytes_max: 1024, ttl_s: 20, ttl_untracked_ms: 0, max_staleness_ms: 300, verify_ratio: 0.5}
touch: {coalesce: 0.02, coalesce_max_s: 60, coalesce_unchanged_set: true}
sessions: {prefixes: ["sess:", "å"], require_ttl: enforce, default_ttl_s: 600, max_ttl_s: 1200}
hold: {requests_max: 7, bytes_max: 1048576, deadline_ms: 9000, stale_grace_ms: 0, ask_replica: true, on_isolation: hold, writes: wait, acknowledge_after_ms: 300, silence_ms: 90}
journal: {enabled: true, bytes_max: 1048576, records_max: 7, age_max_s: 8, retain_s: 9, opaque: ignore}
durability: {mode: replicated, replicas: 2, timeout_ms: 300, on_timeout: error, prefixes: {"log:": async, "auth:": replicated}}
repair: {enabled: false, prefix: "gf:", window_ms: 40000, recheck_s: 11, peer_wait_ms: 12, peer_timeout_ms: 3000, reseed_from_cache: false}
admin: {listen: "0.0.0.0:7002", allow_open: true}
log: {format: json, level: "warn,gripfast=debug"}
shutdown: {grace_s: 3}
"#,
    );
    let expected = Config {
        listen: Listen {
            tcp: vec!["[::1]:7000".parse().unwrap()],
            unix: Some("/run/g.sock".into()),
            unix_mode: 0o600,
            clients_max: 5,
            output_bytes_max: 1 << 20,
            require_auth: true,
            maint_notifications: false,
        },
        upstream: Upstream {
            source: Source::Standalone(HostPort {
                host: "redis.internal".into(),
                port: 7001,
            }),
            credentials: Credentials {
                username: Some("web".into()),
                password: Some(Secret::new("hunter2".into())),
            },
            pinned_max: 7,
        },
        admin: Admin {
            listen: "0.0.0.0:7002".parse().unwrap(),
        },
        log: Log {
            format: LogFormat::Json,
            level: LogFilter::new("warn,gripfast=debug").unwrap(),
        },
        cache: Cache {
            bytes: 1 << 20,
            entry_bytes_max: 1 << 10,
            ttl: Duration::from_secs(20),
            ttl_untracked: Duration::ZERO,
            max_staleness: Duration::from_millis(300),
            verify_ratio: Ratio::from_millionths(500_000),
        },
        touch: Touch {
            coalesce: Ratio::from_millionths(20_000),
            coalesce_max: Duration::from_secs(60),
            coalesce_unchanged_set: true,
        },
        sessions: Sessions {
            prefixes: vec![b"sess:".to_vec(), "å".into()],
            require_ttl: RequireTtl::Enforce,
            default_ttl: Duration::from_secs(600),
            max_ttl: Some(Duration::from_secs(1200)),
        },
        hold: Hold {
            requests_max: 7,
            bytes_max: 1 << 20,
            deadline: Some(Duration::from_millis(9000)),
            stale_grace: Duration::ZERO,
            ask_replica: true,
            on_isolation: OnIsolation::Hold,
            writes: Writes::Wait,
            acknowledge_after: Duration::from_millis(300),
            silence: Duration::from_millis(90),
        },
        journal: Journal {
            enabled: true,
            bytes_max: 1 << 20,
            records_max: 7,
            age_max: Duration::from_secs(8),
            retain: Duration::from_secs(9),
            opaque: Opaque::Ignore,
        },
        repair: Repair {
            enabled: false,
            prefix: "gf:".into(),
            window: Some(Duration::from_millis(40_000)),
            recheck: Duration::from_secs(11),
            peer_wait: Duration::from_millis(12),
            peer_timeout: Duration::from_millis(3000),
            reseed_from_cache: false,
        },
        durability: Durability {
            mode: DurabilityMode::Replicated,
            replicas: 2,
            timeout: Duration::from_millis(300),
            on_timeout: OnTimeout::Error,
            prefixes: vec![
                (b"log:".to_vec(), DurabilityMode::Async),
                (b"auth:".to_vec(), DurabilityMode::Replicated),
            ],
        },
        shutdown_grace: Duration::from_secs(3),
    };
    assert_eq!(config, expected);
}

#[test]
fn all_problems_are_reported_at_once_with_key_value_and_rule() {
    let problems = bad(
        "listen: {tcp: '10.0.0.1:6380', clients_max: 0, prot: 5}\nupstream: {mode: cluster, address: redis}\nshutdown: {grace_s: -1}\nextra: [1]\n",
    );
    let expected = [
        "listen.clients_max: 0: must be a whole number of connections from 1 to 1000000",
        "listen.prot: 5: unknown key; known here: allow_open, clients_max, maint_notifications, output_bytes_max, require_auth, tcp, unix, unix_mode",
        "listen.tcp: 10.0.0.1:6380: must be a loopback address, as there is no password here; if others may connect, set listen.allow_open: true",
        "upstream.mode: \"cluster\": must be one of sentinel, standalone",
        "upstream.address: \"redis\": must be host:port, such as redis.internal:6379, 10.0.0.7:6379 or [::1]:6379",
        "shutdown.grace_s: -1: must be a whole number of seconds from 0 to 3600",
        "extra: [1]: unknown key; known here: admin, cache, durability, hold, journal, listen, log, repair, sessions, shutdown, touch, upstream",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn numbers_hold_their_bounds() {
    for (key, low, high) in [
        ("listen: {clients_max", 1, 1_000_000),
        ("listen: {output_bytes_max", 1_048_576, 68_719_476_736_u64),
        ("upstream: {pinned_max", 1, 60_000),
        ("cache: {entry_bytes_max", 1024, 67_108_864),
        ("cache: {ttl_s", 1, 3600),
        ("cache: {ttl_untracked_ms", 0, 60_000),
        ("cache: {max_staleness_ms", 200, 60_000),
        ("touch: {coalesce_max_s", 0, 3600),
        ("sessions: {default_ttl_s", 1, 315_360_000),
        ("sessions: {max_ttl_s", 1, 315_360_000),
        ("hold: {requests_max", 1, 1_000_000),
        ("hold: {bytes_max", 1 << 20, 1 << 40),
        ("hold: {deadline_ms", 0, 600_000),
        ("hold: {stale_grace_ms", 0, 3_600_000),
        ("hold: {acknowledge_after_ms", 0, 60_000),
        ("hold: {silence_ms", 50, 5_000),
        ("journal: {bytes_max", 1 << 20, 1 << 40),
        ("journal: {records_max", 1, 1_000_000_000),
        ("journal: {age_max_s", 1, 86_400),
        ("journal: {retain_s", 0, 3600),
        ("durability: {replicas", 1, 16),
        ("durability: {timeout_ms", 1, 600_000),
        ("repair: {window_ms", 1_000, 3_600_000),
        ("repair: {recheck_s", 1, 600),
        ("repair: {peer_wait_ms", 0, 10_000),
        ("repair: {peer_timeout_ms", 2_000, 60_000),
        ("shutdown: {grace_s", 0, 3600),
    ] {
        for fits in [low, high] {
            assert!(built(&format!("{key}: {fits}}}")).is_ok(), "{key} {fits}");
        }
        let (below, above) = (i128::from(low) - 1, i128::from(high) + 1);
        for outside in [
            below.to_string(),
            above.to_string(),
            "1.5".into(),
            "x".into(),
        ] {
            assert_eq!(
                bad(&format!("{key}: {outside}}}")).len(),
                1,
                "{key} {outside}"
            );
        }
    }
}

#[test]
fn host_and_port_are_read_in_all_their_forms() {
    for (text, host, port) in [
        ("127.0.0.1:6379", "127.0.0.1", 6379),
        ("[::1]:1", "::1", 1),
        (
            "redis-1.internal_net.:65535",
            "redis-1.internal_net.",
            65535,
        ),
    ] {
        let config = good(&format!(
            "upstream: {{mode: standalone, address: '{text}'}}"
        ));
        let Source::Standalone(address) = config.upstream.source else {
            panic!("asked for standalone");
        };
        assert_eq!((address.host.as_str(), address.port), (host, port));
    }
    for text in [
        "",
        ":6379",
        "redis",
        "redis:",
        "redis:0",
        "redis:65536",
        "redis:x",
        "::1:6379",
        "[::1]",
        "[redis]:6379",
        "redis://redis:6379",
        "a b:6379",
        "[::1:6379",
        "::1]:6379",
    ] {
        assert_eq!(
            bad(&format!(
                "upstream: {{mode: standalone, address: '{text}'}}"
            ))
            .len(),
            1,
            "{text}"
        );
    }
}

#[test]
fn listen_takes_one_address_a_list_or_a_socket_alone() {
    assert_eq!(good("listen: {tcp: '127.0.0.1:1'}").listen.tcp.len(), 1);
    assert_eq!(
        good("listen: {tcp: ['127.0.0.1:1', '[::1]:1']}")
            .listen
            .tcp
            .len(),
        2
    );
    assert_eq!(
        good("listen: {tcp: ['127.0.0.1:0', '127.0.0.1:0']}")
            .listen
            .tcp
            .len(),
        2
    );
    assert!(good("listen: {tcp: [], unix: /x}").listen.tcp.is_empty());
    for yaml in [
        "listen: {tcp: []}",
        "listen: {tcp: ['127.0.0.1:1', '127.0.0.1:1']}",
        "listen: {tcp: ['127.0.0.1:1', 'localhost:2']}",
        "listen: {tcp: 6380}",
        "listen: {unix: relative.sock}",
        "listen: {unix_mode: 660}",
        "listen: {unix_mode: '0999'}",
        "listen: {unix_mode: '1777'}",
    ] {
        assert_eq!(bad(yaml).len(), 1, "{yaml}");
    }
}

#[test]
fn what_others_can_reach_must_be_allowed() {
    for address in [
        "0.0.0.0:1",
        "[::]:1",
        "192.168.0.1:1",
        "[::ffff:10.0.0.1]:1",
    ] {
        for section in ["listen: {tcp:", "admin: {listen:"] {
            assert_eq!(
                bad(&format!("{section} '{address}'}}")).len(),
                1,
                "{section} {address}"
            );
            let allowed = format!("{section} '{address}', allow_open: true}}");
            assert!(built(&allowed).is_ok(), "{allowed}");
        }
    }
    assert!(built("listen: {tcp: '127.9.9.9:1'}").is_ok());
    assert!(built("listen: {tcp: '[::ffff:127.0.0.1]:1'}").is_ok());
}

#[test]
fn addresses_of_our_own_do_not_collide() {
    for yaml in [
        "admin: {listen: '127.0.0.1:6380'}",
        "upstream: {mode: standalone, address: '127.0.0.1:6380'}",
        "upstream: {mode: standalone, address: 'localhost:6380'}",
        "listen: {tcp: '0.0.0.0:7', allow_open: true}\nupstream: {mode: standalone, address: '127.0.0.1:7'}",
    ] {
        assert_eq!(bad(yaml).len(), 1, "{yaml}");
    }
}

#[test]
fn no_problem_repeats_a_secret() {
    for yaml in [
        "upstream: {pasword: hunter2}",
        "upstream: {p: hunter2}",
        "upstream: {password: [hunter2]}",
        "upstream: {password: hunter2, password_file: /x}",
        "upstream: 'redis://:hunter2@redis:6379'",
        "upstream: {address: 'redis://:hunter2@redis:6379'}",
        "listen: {Password: hunter2}",
        "redis_auth: hunter2",
        "upstrem: {password: hunter2}",
    ] {
        let problems = bad(yaml);
        assert!(!problems.is_empty(), "{yaml}");
        assert!(!problems.concat().contains("hunter2"), "{problems:?}");
    }
    let config = good("upstream: {password: hunter2}");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_user_needs_a_password() {
    assert_eq!(bad("upstream: {username: web}").len(), 1);
    // The file cannot be read: that is the only problem, not the user too.
    assert_eq!(
        bad("upstream: {username: web, password_file: /nowhere/at/all}").len(),
        1
    );
    assert_eq!(bad("upstream: {password: ''}").len(), 1);
}

#[test]
fn log_levels_are_checked() {
    for level in ["INFO", "warn", "info,gripfast::proxy=trace", "off"] {
        assert!(
            built(&format!("log: {{level: '{level}'}}")).is_ok(),
            "{level}"
        );
    }
    for level in ["", "inof", "gripfast=loud", "info,,x"] {
        assert_eq!(
            bad(&format!("log: {{level: '{level}'}}")).len(),
            1,
            "{level}"
        );
    }
    assert_eq!(
        bad("log: {format: xml}"),
        ["log.format: \"xml\": must be one of text, json"]
    );
}

#[test]
fn what_is_no_section_is_refused() {
    assert_eq!(
        bad("just text")[0],
        "the file: \"just text\": must be a section, that is, keys with values"
    );
    assert_eq!(bad("listen: 6380").len(), 1);
    assert_eq!(bad("listen: !tag {tcp: []}").len(), 1);
    assert_eq!(bad("1: 2")[0].split(": ").next(), Some("1"));
}

fn sentinels(yaml: &str) -> Sentinels {
    match good(yaml).upstream.source {
        Source::Sentinel(sentinels) => sentinels,
        Source::Standalone(address) => panic!("standalone at {address}"),
    }
}

#[test]
fn sentinel_keys_are_read() {
    let read = sentinels(
        "upstream: {mode: sentinel, primary_name: sessions, sentinels: ['s1.internal:26379', '[::1]:7'], sentinel_username: watch, sentinel_password: hunter2, password: other}",
    );
    assert_eq!(read.primary_name, "sessions");
    let places: Vec<String> = read.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(places, ["s1.internal:26379", "[::1]:7"]);
    assert_eq!(read.credentials.username.as_deref(), Some("watch"));
    assert_eq!(read.credentials.password.unwrap().reveal(), "hunter2");
    // One alone needs no list, and the mode is the default.
    assert_eq!(
        sentinels("upstream: {sentinels: 's1:1'}").addresses.len(),
        1
    );
    for yaml in [
        "upstream: {sentinels: []}",
        "upstream: {sentinels: ['a:1', 'a:1']}",
        "upstream: {sentinels: ['a:1', 'b']}",
        "upstream: {sentinels: ['127.0.0.1:6380']}",
        "upstream: {sentinel_username: web}",
        "upstream: {sentinel_password: a, sentinel_password_file: /x}",
        "upstream: {sentinel_password_file: /nowhere/at/all}",
        "upstream: {primary_name: ''}",
    ] {
        assert_eq!(bad(yaml).len(), 1, "{yaml}");
    }
}

/// A file of the first version, which knew no other mode, must not silently look for Sentinels.
#[test]
fn an_address_alone_means_standalone_and_beside_sentinels_it_is_refused() {
    let config = good("upstream: {address: 'redis:6379'}");
    assert!(matches!(config.upstream.source, Source::Standalone(_)));
    for beside in ["mode: sentinel", "sentinels: 'a:1'", "primary_name: x"] {
        let problems = bad(&format!("upstream: {{address: 'redis:6379', {beside}}}"));
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains("mode standalone"), "{problems:?}");
    }
    // The other way round the keys wait for the other mode: one word switches.
    assert!(built("upstream: {mode: standalone, sentinels: 'a:1', primary_name: x}").is_ok());
}
