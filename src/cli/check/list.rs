//! A configuration in full, as YAML: a file with this text means the same, but for the passwords.

use std::fmt::{self, Display, Write as _};

use crate::config::{
    Admin, Cache, Config, Credentials, Durability, DurabilityMode, Hold, Journal, Listen, Log,
    LogFormat, OnIsolation, OnTimeout, Opaque, Ratio, Repair, RequireTtl, Sessions, Source, Touch,
    Upstream, Writes,
};

/// Lists every key as it would be in force.
pub(super) fn config(config: &Config, out: &mut String) -> fmt::Result {
    let Config {
        listen,
        upstream,
        cache,
        touch,
        sessions,
        hold,
        journal,
        durability,
        repair,
        admin,
        log,
        shutdown_grace,
    } = config;
    list_listen(listen, out)?;
    list_upstream(upstream, out)?;
    list_cache(cache, out)?;
    list_touch(touch, out)?;
    list_sessions(sessions, out)?;
    list_hold(hold, out)?;
    list_journal(journal, out)?;
    list_durability(durability, out)?;
    list_repair(repair, out)?;
    list_admin(admin, out)?;
    list_log(log, out)?;
    writeln!(out, "shutdown:")?;
    writeln!(out, "  grace_s: {}", shutdown_grace.as_secs())
}

fn list_listen(listen: &Listen, out: &mut String) -> fmt::Result {
    let Listen {
        tcp,
        unix,
        unix_mode,
        clients_max,
        output_bytes_max,
        require_auth,
        maint_notifications,
    } = listen;
    let open = tcp.iter().any(|one| !one.ip().to_canonical().is_loopback());
    let tcp: Vec<String> = tcp.iter().map(|one| format!("\"{one}\"")).collect();
    let unix = quoted(unix.as_ref().map(|path| path.display()));
    writeln!(out, "listen:")?;
    writeln!(out, "  tcp: [{}]", tcp.join(", "))?;
    writeln!(out, "  unix: {unix}")?;
    writeln!(out, "  unix_mode: \"{unix_mode:04o}\"")?;
    writeln!(out, "  allow_open: {open}")?;
    writeln!(out, "  clients_max: {clients_max}")?;
    writeln!(out, "  output_bytes_max: {output_bytes_max}")?;
    writeln!(out, "  require_auth: {require_auth}")?;
    writeln!(out, "  maint_notifications: {maint_notifications}")
}

fn list_upstream(upstream: &Upstream, out: &mut String) -> fmt::Result {
    let Upstream {
        source,
        credentials,
        pinned_max,
    } = upstream;
    writeln!(out, "upstream:")?;
    list_source(source, out)?;
    list_login("", credentials, out)?;
    writeln!(out, "  pinned_max: {pinned_max}")
}

fn list_cache(cache: &Cache, out: &mut String) -> fmt::Result {
    let Cache {
        bytes,
        entry_bytes_max,
        ttl,
        ttl_untracked,
        max_staleness,
        verify_ratio,
    } = cache;
    writeln!(out, "cache:")?;
    writeln!(out, "  bytes: {bytes}")?;
    writeln!(out, "  entry_bytes_max: {entry_bytes_max}")?;
    writeln!(out, "  ttl_s: {}", ttl.as_secs())?;
    writeln!(out, "  ttl_untracked_ms: {}", ttl_untracked.as_millis())?;
    writeln!(out, "  max_staleness_ms: {}", max_staleness.as_millis())?;
    writeln!(out, "  verify_ratio: {}", share(*verify_ratio))
}

fn list_touch(touch: &Touch, out: &mut String) -> fmt::Result {
    let Touch {
        coalesce,
        coalesce_max,
        coalesce_unchanged_set,
    } = touch;
    writeln!(out, "touch:")?;
    writeln!(out, "  coalesce: {}", share(*coalesce))?;
    writeln!(out, "  coalesce_max_s: {}", coalesce_max.as_secs())?;
    writeln!(out, "  coalesce_unchanged_set: {coalesce_unchanged_set}")
}

fn list_sessions(sessions: &Sessions, out: &mut String) -> fmt::Result {
    let Sessions {
        prefixes,
        require_ttl,
        default_ttl,
        max_ttl,
    } = sessions;
    writeln!(out, "sessions:")?;
    let prefixes = prefixes
        .iter()
        .map(|one| quoted(Some(String::from_utf8_lossy(one))));
    let prefixes: Vec<String> = prefixes.collect();
    writeln!(out, "  prefixes: [{}]", prefixes.join(", "))?;
    let require_ttl = match require_ttl {
        RequireTtl::Off => "off",
        RequireTtl::Warn => "warn",
        RequireTtl::Enforce => "enforce",
    };
    writeln!(out, "  require_ttl: \"{require_ttl}\"")?;
    writeln!(out, "  default_ttl_s: {}", default_ttl.as_secs())?;
    match max_ttl {
        Some(max) => writeln!(out, "  max_ttl_s: {}", max.as_secs()),
        None => writeln!(out, "  max_ttl_s: null"),
    }
}

fn list_hold(hold: &Hold, out: &mut String) -> fmt::Result {
    let Hold {
        requests_max,
        bytes_max,
        deadline,
        stale_grace,
        ask_replica,
        on_isolation,
        writes,
        acknowledge_after,
        silence,
    } = hold;
    writeln!(out, "hold:")?;
    writeln!(out, "  requests_max: {requests_max}")?;
    writeln!(out, "  bytes_max: {bytes_max}")?;
    match deadline {
        Some(deadline) => writeln!(out, "  deadline_ms: {}", deadline.as_millis())?,
        None => writeln!(out, "  deadline_ms: null")?,
    }
    writeln!(out, "  stale_grace_ms: {}", stale_grace.as_millis())?;
    let isolation = match on_isolation {
        OnIsolation::Serve => "serve",
        OnIsolation::Hold => "hold",
    };
    writeln!(out, "  ask_replica: {ask_replica}")?;
    writeln!(out, "  on_isolation: {isolation}")?;
    let writes = match writes {
        Writes::Wait => "wait",
        Writes::Acknowledge => "acknowledge",
    };
    writeln!(out, "  writes: {writes}")?;
    let after = acknowledge_after.as_millis();
    writeln!(out, "  acknowledge_after_ms: {after}")?;
    writeln!(out, "  silence_ms: {}", silence.as_millis())
}

fn list_journal(journal: &Journal, out: &mut String) -> fmt::Result {
    let Journal {
        enabled,
        bytes_max,
        records_max,
        age_max,
        retain,
        opaque,
    } = journal;
    let opaque = match opaque {
        Opaque::Capture => "capture",
        Opaque::Ignore => "ignore",
        Opaque::Wait => "wait",
    };
    writeln!(out, "journal:")?;
    writeln!(out, "  enabled: {enabled}")?;
    writeln!(out, "  bytes_max: {bytes_max}")?;
    writeln!(out, "  records_max: {records_max}")?;
    writeln!(out, "  age_max_s: {}", age_max.as_secs())?;
    writeln!(out, "  retain_s: {}", retain.as_secs())?;
    writeln!(out, "  opaque: {opaque}")
}

fn list_repair(repair: &Repair, out: &mut String) -> fmt::Result {
    let Repair {
        enabled,
        prefix,
        window,
        recheck,
        peer_wait,
        peer_timeout,
        reseed_from_cache,
    } = repair;
    writeln!(out, "repair:")?;
    writeln!(out, "  enabled: {enabled}")?;
    writeln!(out, "  prefix: {}", quoted(Some(prefix)))?;
    let window = window.map_or_else(|| "null".into(), |window| window.as_millis().to_string());
    writeln!(out, "  window_ms: {window}")?;
    writeln!(out, "  recheck_s: {}", recheck.as_secs())?;
    writeln!(out, "  peer_wait_ms: {}", peer_wait.as_millis())?;
    writeln!(out, "  peer_timeout_ms: {}", peer_timeout.as_millis())?;
    writeln!(out, "  reseed_from_cache: {reseed_from_cache}")
}

fn list_durability(durability: &Durability, out: &mut String) -> fmt::Result {
    let Durability {
        mode,
        replicas,
        timeout,
        on_timeout,
        prefixes,
    } = durability;
    let word = |mode: &DurabilityMode| match mode {
        DurabilityMode::Async => "async",
        DurabilityMode::Replicated => "replicated",
    };
    let on_timeout = match on_timeout {
        OnTimeout::Reply => "reply",
        OnTimeout::Error => "error",
    };
    let entry = |(prefix, mode): &(Vec<u8>, DurabilityMode)| {
        let prefix = quoted(Some(String::from_utf8_lossy(prefix)));
        format!("{prefix}: {}", word(mode))
    };
    let prefixes: Vec<String> = prefixes.iter().map(entry).collect();
    writeln!(out, "durability:")?;
    writeln!(out, "  mode: {}", word(mode))?;
    writeln!(out, "  replicas: {replicas}")?;
    writeln!(out, "  timeout_ms: {}", timeout.as_millis())?;
    writeln!(out, "  on_timeout: {on_timeout}")?;
    writeln!(out, "  prefixes: {{{}}}", prefixes.join(", "))
}

fn list_admin(admin: &Admin, out: &mut String) -> fmt::Result {
    let Admin { listen } = admin;
    let open = !listen.ip().to_canonical().is_loopback();
    writeln!(out, "admin:")?;
    writeln!(out, "  listen: \"{listen}\"")?;
    writeln!(out, "  allow_open: {open}")
}

fn list_log(log: &Log, out: &mut String) -> fmt::Result {
    let Log { format, level } = log;
    let format = match format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    writeln!(out, "log:")?;
    writeln!(out, "  format: {format}")?;
    writeln!(out, "  level: {}", quoted(Some(level.as_str())))
}

/// Lists the mode and its keys; those of the other mode are not in force.
fn list_source(source: &Source, out: &mut String) -> fmt::Result {
    match source {
        Source::Standalone(address) => {
            writeln!(out, "  mode: standalone")?;
            writeln!(out, "  address: \"{address}\"")
        }
        Source::Sentinel(sentinels) => {
            writeln!(out, "  mode: sentinel")?;
            writeln!(
                out,
                "  primary_name: {}",
                quoted(Some(&sentinels.primary_name))
            )?;
            let places = sentinels.addresses.iter();
            let places: Vec<String> = places.map(|one| format!("\"{one}\"")).collect();
            writeln!(out, "  sentinels: [{}]", places.join(", "))?;
            list_login("sentinel_", &sentinels.credentials, out)
        }
    }
}

fn list_login(prefix: &str, credentials: &Credentials, out: &mut String) -> fmt::Result {
    let username = quoted(credentials.username.as_ref());
    writeln!(out, "  {prefix}username: {username}")?;
    let password = quoted(credentials.password.as_ref().map(|_| "<secret>"));
    writeln!(out, "  {prefix}password: {password}")
}

/// Shows a ratio as the shortest number that is read as the same one.
fn share(ratio: Ratio) -> f64 {
    f64::from(ratio.millionths()) / 1e6
}

/// Quotes a value as YAML does, whose escapes are not Rust's.
fn quoted(value: Option<impl Display>) -> String {
    let Some(value) = value else {
        return "null".into();
    };
    let mut text = String::from("\"");
    for character in value.to_string().chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            ' '..='~' => text.push(character),
            _ if character.is_alphanumeric() => text.push(character),
            _ => text += &format!("\\U{:08X}", u32::from(character)),
        }
    }
    text + "\""
}
