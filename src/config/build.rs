//! From the tree of YAML values to a [`Config`]: each key is read once, in one place, with its rule.
//!
//! Rules that join two keys (a password and its file, two listeners at one address) stand after the keys of their section.

mod durability;
mod session;

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_yaml::Value;

use super::error::{Problem, Warning};
use super::parse::{self, LogFilter};
use super::section::{Section, Shown};
use super::{
    Admin, Config, Credentials, Listen, Log, LogFormat, Secret, Sentinels, Source, Upstream, Writes,
};
use crate::seam::HostPort;

/// Largest password file, in bytes: a mistaken path should not fill the memory.
const PASSWORD_FILE_MAX: u64 = 64 * 1024;
/// Permission bits that let anyone on the machine read a file.
const WORLD_READABLE: u32 = 0o004;

/// What was found so far.
struct Findings {
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl Findings {
    fn problem(&mut self, key: &str, value: impl std::fmt::Display, rule: impl Into<String>) {
        self.problems.push(Problem {
            key: key.to_owned(),
            value: value.to_string(),
            rule: rule.into(),
        });
    }
}

#[derive(Clone, Copy)]
enum Mode {
    Sentinel,
    Standalone,
}

/// Builds the configuration that `file` (read from `path`) asks for, or says all that is wrong with it.
pub(super) fn config(file: Value, path: &Path) -> Result<(Config, Vec<Warning>), Vec<Problem>> {
    let mut findings = Findings {
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    let mut root = Section::root(file, &mut findings.problems);
    let listen = listen(&mut root, &mut findings);
    let upstream = upstream(&mut root, path, &mut findings);
    let cache = session::cache(&mut root, &mut findings);
    let touch = session::touch(&mut root, &mut findings);
    let sessions = session::sessions(&mut root, &mut findings);
    let hold = session::hold(&mut root, &mut findings);
    let journal = session::journal(&mut root, &upstream.source, &mut findings);
    let durability = durability::durability(&mut root, &journal, &mut findings);
    let repair = session::repair(&mut root, &upstream.source, &journal, &mut findings);
    let admin = admin(&mut root, &mut findings);
    let log = log(&mut root, &mut findings);
    let shutdown_grace = shutdown(&mut root, &mut findings);
    root.finish(&mut findings.problems);
    if listen.tcp.contains(&admin.listen) && admin.listen.port() != 0 {
        findings.problem(
            "admin.listen",
            admin.listen,
            "must not be an address of listen.tcp",
        );
    }
    refuse_ourselves(&listen, &upstream.source, &mut findings);
    if hold.writes == Writes::Acknowledge && !(repair.enabled && cache.bytes > 0) {
        let rule =
            "needs repair (repair.enabled), which puts them back, and the cache (cache.bytes)";
        findings.problem("hold.writes", "acknowledge", rule);
    }
    if !findings.problems.is_empty() {
        return Err(findings.problems);
    }
    let config = Config {
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
    };
    Ok((config, findings.warnings))
}

fn listen(root: &mut Section, findings: &mut Findings) -> Listen {
    let default = Listen::default();
    let problems = &mut findings.problems;
    let mut section = root.section("listen", Shown::Plain, problems);
    let tcp = section.take("tcp", Shown::Plain, problems, parse::socket_addresses);
    let unix = section.take("unix", Shown::Plain, problems, parse::unix_path);
    let unix_mode = section.take("unix_mode", Shown::Plain, problems, parse::mode);
    let clients = parse::number(1..=1_000_000, "connections");
    let clients_max = section.take("clients_max", Shown::Plain, problems, clients);
    let output = parse::number(1 << 20..=64 << 30, "bytes");
    let output_bytes_max = section.take("output_bytes_max", Shown::Plain, problems, output);
    let allow_open = section.take("allow_open", Shown::Plain, problems, parse::flag);
    let require_auth = section.take("require_auth", Shown::Plain, problems, parse::flag);
    let key = "maint_notifications";
    let maint_notifications = section.take(key, Shown::Plain, problems, parse::flag);
    section.finish(problems);

    let tcp = tcp.unwrap_or(default.tcp);
    for address in &tcp {
        refuse_open(
            "listen.tcp",
            *address,
            "listen.allow_open",
            allow_open,
            findings,
        );
    }
    if tcp.is_empty() && unix.is_none() {
        findings.problem(
            "listen",
            "nothing",
            "needs an address in tcp, or a path in unix",
        );
    }
    Listen {
        tcp,
        unix,
        unix_mode: unix_mode.unwrap_or(default.unix_mode),
        clients_max: clients_max.map_or(default.clients_max, size),
        output_bytes_max: output_bytes_max.map_or(default.output_bytes_max, size),
        require_auth: require_auth.unwrap_or(default.require_auth),
        maint_notifications: maint_notifications.unwrap_or(default.maint_notifications),
    }
}

fn upstream(root: &mut Section, config: &Path, findings: &mut Findings) -> Upstream {
    let default = Upstream::default();
    let problems = &mut findings.problems;
    // Unknown keys of this section are never repeated: one of them may be a misspelt password.
    let mut section = root.section("upstream", Shown::Hidden, problems);
    let modes = &[
        ("sentinel", Mode::Sentinel),
        ("standalone", Mode::Standalone),
    ];
    let mode = section.take("mode", Shown::Plain, problems, parse::choice(modes));
    let name = section.take("primary_name", Shown::Plain, problems, parse::text);
    let sentinels = section.take("sentinels", Shown::Plain, problems, parse::host_ports);
    let address = section.take("address", Shown::Plain, problems, parse::host_port);
    let login = Login::take(&mut section, &LOGIN, problems);
    let sentinel_login = Login::take(&mut section, &SENTINEL_LOGIN, problems);
    let pinned = parse::number(1..=60_000, "links");
    let pinned_max = section.take("pinned_max", Shown::Plain, problems, pinned);
    section.finish(problems);

    let credentials = login.check(config, findings);
    let sentinel_credentials = sentinel_login.check(config, findings);
    let standard = Sentinels::default();
    // An address and no word of Sentinels can only mean the one server.
    let implied = match address.is_some() && name.is_none() && sentinels.is_none() {
        true => Mode::Standalone,
        false => Mode::Sentinel,
    };
    let source = match (mode.unwrap_or(implied), address) {
        (Mode::Standalone, address) => Source::Standalone(address.unwrap_or_else(standalone)),
        (Mode::Sentinel, address) => {
            if let Some(address) = address {
                let rule = "is for mode standalone: say so in upstream.mode, or leave it out and name the Sentinels in upstream.sentinels";
                findings.problem("upstream.address", address, rule);
            }
            Source::Sentinel(Sentinels {
                primary_name: name.unwrap_or(standard.primary_name),
                addresses: sentinels.unwrap_or(standard.addresses),
                credentials: sentinel_credentials,
            })
        }
    };
    Upstream {
        source,
        credentials,
        pinned_max: pinned_max.map_or(default.pinned_max, size),
    }
}

/// Redis's own port on this machine.
fn standalone() -> HostPort {
    HostPort {
        host: "127.0.0.1".into(),
        port: 6379,
    }
}

/// The keys of one user and password.
struct LoginKeys {
    username: &'static str,
    password: &'static str,
    file: &'static str,
    /// The key path of `username` and so on, for problems.
    username_path: &'static str,
    password_path: &'static str,
    file_path: &'static str,
}

/// For the primary and its replicas.
static LOGIN: LoginKeys = LoginKeys {
    username: "username",
    password: "password",
    file: "password_file",
    username_path: "upstream.username",
    password_path: "upstream.password",
    file_path: "upstream.password_file",
};

/// For the Sentinels, which have users of their own.
static SENTINEL_LOGIN: LoginKeys = LoginKeys {
    username: "sentinel_username",
    password: "sentinel_password",
    file: "sentinel_password_file",
    username_path: "upstream.sentinel_username",
    password_path: "upstream.sentinel_password",
    file_path: "upstream.sentinel_password_file",
};

/// A user and a password as they stand in the file.
struct Login {
    keys: &'static LoginKeys,
    username: Option<String>,
    inline: Option<String>,
    file: Option<PathBuf>,
}

impl Login {
    fn take(section: &mut Section, keys: &'static LoginKeys, problems: &mut Vec<Problem>) -> Self {
        Self {
            keys,
            username: section.take(keys.username, Shown::Plain, problems, parse::text),
            inline: section.take(keys.password, Shown::Hidden, problems, parse::text),
            file: section.take(keys.file, Shown::Plain, problems, parse::path),
        }
    }

    fn check(self, config: &Path, findings: &mut Findings) -> Credentials {
        let keys = self.keys;
        let given = self.inline.is_some() || self.file.is_some();
        let password = match (self.inline, self.file) {
            (Some(_), Some(_)) => {
                let rule = format!(
                    "must not be given together with {}: keep one",
                    keys.file_path
                );
                findings.problem(keys.password_path, "<hidden>", rule);
                None
            }
            (Some(password), None) => {
                if is_world_readable(config) {
                    findings.warnings.push(Warning {
                        key: keys.password_path,
                        text: format!("anyone on this machine can read it in {config:?}: chmod o-r, or use {}", keys.file),
                    });
                }
                Some(password)
            }
            (None, Some(file)) => password_file(keys.file_path, &file, config, findings),
            (None, None) => None,
        };
        if let (Some(username), false) = (&self.username, given) {
            let rule = format!("needs {} or {}", keys.password_path, keys.file_path);
            findings.problem(keys.username_path, format_args!("{username:?}"), rule);
        }
        Credentials {
            username: self.username,
            password: password.map(Secret::new),
        }
    }
}

/// Reads the password file; a path that is not absolute starts where the configuration file lies.
fn password_file(
    key: &'static str,
    file: &Path,
    config: &Path,
    findings: &mut Findings,
) -> Option<String> {
    let path = config.parent().unwrap_or(Path::new("")).join(file);
    match read_password(&path) {
        Ok(password) if password.is_empty() => {
            findings.problem(
                key,
                format_args!("{path:?}"),
                "is empty: must hold the password",
            );
            None
        }
        Ok(password) => {
            if is_world_readable(&path) {
                findings.warnings.push(Warning {
                    key,
                    text: format!("anyone on this machine can read {path:?}: chmod o-r"),
                });
            }
            Some(password)
        }
        Err(error) => {
            findings.problem(
                key,
                format_args!("{path:?}"),
                format!("cannot be read: {error}"),
            );
            None
        }
    }
}

fn read_password(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?
        .take(PASSWORD_FILE_MAX + 1)
        .read_to_string(&mut text)?;
    if read as u64 > PASSWORD_FILE_MAX {
        let reason = format!("larger than {PASSWORD_FILE_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

fn admin(root: &mut Section, findings: &mut Findings) -> Admin {
    let problems = &mut findings.problems;
    let mut section = root.section("admin", Shown::Plain, problems);
    let listen = section.take("listen", Shown::Plain, problems, parse::socket_address);
    let allow_open = section.take("allow_open", Shown::Plain, problems, parse::flag);
    section.finish(problems);
    let listen = listen.unwrap_or(Admin::default().listen);
    refuse_open(
        "admin.listen",
        listen,
        "admin.allow_open",
        allow_open,
        findings,
    );
    Admin { listen }
}

fn log(root: &mut Section, findings: &mut Findings) -> Log {
    let problems = &mut findings.problems;
    let mut section = root.section("log", Shown::Plain, problems);
    let formats = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
    let format = section.take("format", Shown::Plain, problems, parse::choice(formats));
    let filter = |value: &Value| LogFilter::new(value.as_str().unwrap_or_default());
    let level = section.take("level", Shown::Plain, problems, filter);
    section.finish(problems);
    Log {
        format: format.unwrap_or_default(),
        level: level.unwrap_or_default(),
    }
}

fn shutdown(root: &mut Section, findings: &mut Findings) -> Duration {
    let problems = &mut findings.problems;
    let mut section = root.section("shutdown", Shown::Plain, problems);
    let grace = parse::number(0..=3600, "seconds");
    let grace = section.take("grace_s", Shown::Plain, problems, grace);
    section.finish(problems);
    grace.map_or(Config::default().shutdown_grace, Duration::from_secs)
}

/// Refuses an address that other machines can reach, unless the operator said that this is meant.
fn refuse_open(
    key: &str,
    address: SocketAddr,
    switch: &str,
    allowed: Option<bool>,
    findings: &mut Findings,
) {
    if allowed != Some(true) && !address.ip().to_canonical().is_loopback() {
        let rule = format!(
            "must be a loopback address, as there is no password here; if others may connect, set {switch}: true"
        );
        findings.problem(key, address, rule);
    }
}

/// Refuses servers that are listeners of our own: the sidecar would talk to itself.
fn refuse_ourselves(listen: &Listen, source: &Source, findings: &mut Findings) {
    let (key, targets) = match source {
        Source::Standalone(address) => ("upstream.address", std::slice::from_ref(address)),
        Source::Sentinel(sentinels) => ("upstream.sentinels", sentinels.addresses.as_slice()),
    };
    for target in targets {
        if listen.tcp.iter().any(|own| is_at(target, own)) {
            let rule = "must not be an address of listen.tcp: the sidecar would talk to itself";
            findings.problem(key, target, rule);
        }
    }
}

/// Whether connecting to `target` would reach the listener at `own`.
fn is_at(target: &HostPort, own: &SocketAddr) -> bool {
    let own_ip = own.ip().to_canonical();
    let same_host = match target.host.parse::<IpAddr>() {
        Ok(ip) => {
            let ip = ip.to_canonical();
            ip == own_ip || (own_ip.is_unspecified() && ip.is_loopback())
        }
        Err(_) => target.host == "localhost" && (own_ip.is_loopback() || own_ip.is_unspecified()),
    };
    same_host && target.port == own.port()
}

fn is_world_readable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.permissions().mode() & WORLD_READABLE != 0)
}

/// Narrows a number that its bounds keep far below the address space.
fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
