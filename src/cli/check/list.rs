//! A configuration in full, as YAML: a file with this text means the same, but for the passwords.

use std::fmt::{self, Display, Write as _};

use crate::config::{Config, Credentials, LogFormat, Source};

/// Lists every key as it would be in force.
pub(super) fn config(config: &Config, out: &mut String) -> fmt::Result {
    let Config {
        listen,
        upstream,
        cache: _,
        touch: _,
        sessions: _,
        admin,
        log,
        shutdown_grace,
    } = config;
    writeln!(out, "listen:")?;
    let tcp: Vec<String> = listen.tcp.iter().map(|one| format!("\"{one}\"")).collect();
    writeln!(out, "  tcp: [{}]", tcp.join(", "))?;
    writeln!(
        out,
        "  unix: {}",
        quoted(listen.unix.as_ref().map(|path| path.display()))
    )?;
    writeln!(out, "  unix_mode: \"{:04o}\"", listen.unix_mode)?;
    writeln!(
        out,
        "  allow_open: {}",
        listen
            .tcp
            .iter()
            .any(|one| !one.ip().to_canonical().is_loopback())
    )?;
    writeln!(out, "  clients_max: {}", listen.clients_max)?;
    writeln!(out, "  output_bytes_max: {}", listen.output_bytes_max)?;
    writeln!(out, "upstream:")?;
    list_source(&upstream.source, out)?;
    list_login("", &upstream.credentials, out)?;
    writeln!(out, "  pinned_max: {}", upstream.pinned_max)?;
    writeln!(out, "admin:")?;
    writeln!(out, "  listen: \"{}\"", admin.listen)?;
    writeln!(
        out,
        "  allow_open: {}",
        !admin.listen.ip().to_canonical().is_loopback()
    )?;
    writeln!(out, "log:")?;
    let format = match log.format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    writeln!(out, "  format: {format}")?;
    writeln!(out, "  level: \"{}\"", log.level.as_str())?;
    writeln!(out, "shutdown:")?;
    writeln!(out, "  grace_s: {}", shutdown_grace.as_secs())
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

fn quoted(value: Option<impl Display>) -> String {
    match value {
        Some(value) => format!("\"{}\"", value.to_string().escape_default()),
        None => "null".into(),
    }
}
