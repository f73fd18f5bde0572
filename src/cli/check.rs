//! `gripfast check`: what a configuration would do, and the configuration in full, secrets left out.

use std::fmt::{self, Display, Write as _};
use std::io::{self, Write as _};

use super::{ConfigFile, Failure};
use crate::app::files;
use crate::config::{Config, Credentials, LogFormat, Sentinels, Source};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let (config, warnings) = options.config.load()?;
    let mut text = format!("{} is good. The sidecar would\n", options.config.name());
    describe(&config, &mut text).expect("writing to a String cannot fail");
    text += "\nAll keys (secrets left out):\n";
    list(&config, &mut text).expect("writing to a String cannot fail");
    for warning in warnings {
        writeln!(text, "\nwarning: {warning}").expect("writing to a String cannot fail");
    }
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// Says what would happen, one thing a line.
fn describe(config: &Config, out: &mut String) -> fmt::Result {
    let listen = &config.listen;
    let mut places: Vec<String> = listen.tcp.iter().map(ToString::to_string).collect();
    places.extend(listen.unix.iter().map(|path| path.display().to_string()));
    let clients = listen.clients_max;
    writeln!(
        out,
        "  take up to {clients} clients on {}",
        places.join(" and ")
    )?;
    let upstream = &config.upstream;
    let login = login(&upstream.credentials);
    match &upstream.source {
        Source::Standalone(address) => writeln!(
            out,
            "  pass their requests to the Redis at {address}, {login}"
        )?,
        Source::Sentinel(sentinels) => describe_sentinels(sentinels, &login, out)?,
    }
    writeln!(
        out,
        "  show metrics and status on http://{}/",
        config.admin.listen
    )?;
    let grace = config.shutdown_grace.as_secs();
    writeln!(
        out,
        "  on SIGTERM answer what is in flight, for at most {grace} s"
    )?;
    let files = files::raise(config);
    let verdict = if files.suffice() {
        "enough"
    } else {
        "too few: raise LimitNOFILE or `ulimit -n`"
    };
    writeln!(
        out,
        "  need up to {} open files; {} are allowed here: {verdict}",
        files.needed, files.limit
    )
}

fn login(credentials: &Credentials) -> String {
    match (&credentials.username, &credentials.password) {
        (Some(user), Some(_)) => format!("as user {user:?} with a password"),
        (None, Some(_)) => "with a password".into(),
        (_, None) => "without a password".into(),
    }
}

fn describe_sentinels(sentinels: &Sentinels, data_login: &str, out: &mut String) -> fmt::Result {
    let places: Vec<String> = sentinels
        .addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    writeln!(
        out,
        "  ask the Sentinels at {}, {}, for the primary {:?}",
        places.join(", "),
        login(&sentinels.credentials),
        sentinels.primary_name
    )?;
    writeln!(
        out,
        "  pass their requests to that primary, {data_login}, and follow it when it moves"
    )
}

/// Lists every key as it would be in force, as YAML.
fn list(config: &Config, out: &mut String) -> fmt::Result {
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
