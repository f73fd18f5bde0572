//! `gripfast check`: what a configuration would do, and the configuration in full, secrets left out.

mod list;

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};

use super::{ConfigFile, Failure};
use crate::app::{self, files};
use crate::config::{Config, Credentials, Sentinels, Source};

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
    list::config(&config, &mut text).expect("writing to a String cannot fail");
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
    describe_cache(config, out)?;
    describe_hold(config, out)?;
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

fn describe_cache(config: &Config, out: &mut String) -> fmt::Result {
    let cache = &config.cache;
    match cache.bytes {
        0 => writeln!(out, "  keep no replies: each read goes to Redis"),
        bytes => writeln!(
            out,
            "  answer reads of sessions from at most {} MiB of memory, for at most {} s",
            bytes >> 20,
            cache.ttl.as_secs()
        ),
    }
}

fn describe_hold(config: &Config, out: &mut String) -> fmt::Result {
    if matches!(config.upstream.source, Source::Standalone(_)) {
        return Ok(());
    }
    match app::ask_down_after(config) {
        None => writeln!(
            out,
            "  hold requests during a failover; for how long can't be said, as no Sentinel answers now"
        ),
        Some((time, advice)) => {
            let advice = advice.unwrap_or_else(|| "applications wait for longer than that".into());
            let time = time.as_secs_f64();
            writeln!(
                out,
                "  hold requests during a failover, which the Sentinels begin after {time} s: {advice}"
            )
        }
    }
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
