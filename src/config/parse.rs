//! One reader for each kind of value; an error is the rule that was broken, in words.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_yaml::Value;
use tracing_subscriber::EnvFilter;

use super::{DurabilityMode, Ratio};
use crate::seam::HostPort;

/// Longest path of a Unix socket in bytes (`sun_path` without its closing NUL).
const UNIX_PATH_MAX: usize = 107;
/// Most Sentinels that can be configured: people run 3 or 5.
const SENTINELS_MAX: usize = 16;
/// Longest host name in bytes (RFC 1035).
const HOST_MAX: usize = 253;
/// Most prefixes of session keys: each key is compared with all of them.
const PREFIXES_MAX: usize = 64;
/// Longest prefix of session keys in bytes.
const PREFIX_BYTES_MAX: usize = 256;
/// When a write is acknowledged, by the word for it.
pub(super) const DURABILITY_MODES: &[(&str, DurabilityMode)] = &[
    ("async", DurabilityMode::Async),
    ("replicated", DurabilityMode::Replicated),
];
/// Units of a [`Ratio`] in 1.
const MILLION: f64 = 1e6;

/// Which log lines are written: a level, or `tracing` directives such as `info,gripfast::upstream=debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// Checks the directives.
    ///
    /// # Errors
    /// The rule that they break.
    pub fn new(directives: &str) -> Result<Self, String> {
        let rule = || {
            "must be error, warn, info, debug, trace or off, or such directives: info,gripfast=debug".to_owned()
        };
        if directives.trim().is_empty() {
            return Err(rule());
        }
        match EnvFilter::builder().parse(directives) {
            Ok(_) if names_levels(directives) => Ok(Self(directives.to_owned())),
            Ok(_) | Err(_) => Err(rule()),
        }
    }

    /// The directives as they were given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".into())
    }
}

/// A bare word that is no level would be taken for a target, and silence everything else: `inof`.
fn names_levels(directives: &str) -> bool {
    let is_level = |word: &str| {
        ["error", "warn", "info", "debug", "trace", "off"]
            .iter()
            .any(|level| level.eq_ignore_ascii_case(word))
    };
    directives
        .split(',')
        .map(str::trim)
        .all(|one| one.contains(['=', '[', ':']) || is_level(one))
}

pub(super) fn flag(value: &Value) -> Result<bool, String> {
    value
        .as_bool()
        .ok_or_else(|| "must be true or false".into())
}

pub(super) fn text(value: &Value) -> Result<String, String> {
    match value.as_str() {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err("must be text, not empty (put numbers in quotes)".into()),
    }
}

/// Reads a whole number within bounds; `unit` goes into the rule.
pub(super) fn number(
    bounds: std::ops::RangeInclusive<u64>,
    unit: &str,
) -> impl FnOnce(&Value) -> Result<u64, String> {
    move |value| match value.as_u64() {
        Some(number) if bounds.contains(&number) => Ok(number),
        _ => Err(format!(
            "must be a whole number of {unit} from {} to {}",
            bounds.start(),
            bounds.end()
        )),
    }
}

/// Reads a whole number within bounds, or 0, which they do not include.
pub(super) fn zero_or_number(
    bounds: std::ops::RangeInclusive<u64>,
    unit: &str,
) -> impl FnOnce(&Value) -> Result<u64, String> {
    move |value| match value.as_u64() {
        Some(0) => Ok(0),
        _ => number(bounds, unit)(value).map_err(|rule| format!("{rule}, or 0")),
    }
}

/// Reads a share, to the nearest millionth. Less than one is refused, as 0 would turn off what was asked for.
pub(super) fn ratio(value: &Value) -> Result<Ratio, String> {
    match value.as_f64() {
        Some(share) if share == 0.0 || (1.0 / MILLION..=1.0).contains(&share) => {
            Ok(Ratio::from_millionths((share * MILLION).round() as u32))
        }
        _ => Err("must be 0, or a number from 0.000001 to 1, without quotes".into()),
    }
}

pub(super) fn path(value: &Value) -> Result<PathBuf, String> {
    text(value).map(PathBuf::from)
}

pub(super) fn unix_path(value: &Value) -> Result<PathBuf, String> {
    match value.as_str() {
        Some(text) if text.starts_with('/') && text.len() <= UNIX_PATH_MAX => Ok(text.into()),
        _ => Err(format!(
            "must be an absolute path of at most {UNIX_PATH_MAX} bytes"
        )),
    }
}

/// Reads permission bits: octal digits in quotes.
pub(super) fn mode(value: &Value) -> Result<u32, String> {
    value
        .as_str()
        .filter(|digits| matches!(digits.len(), 3 | 4))
        .filter(|digits| digits.bytes().all(|digit| matches!(digit, b'0'..=b'7')))
        .and_then(|digits| u32::from_str_radix(digits, 8).ok())
        .filter(|bits| *bits <= 0o777)
        .ok_or_else(|| "must be permission bits in octal and in quotes, such as \"0660\"".into())
}

/// Reads an address to listen on: a number, not a name, so that what is open is plain to see.
pub(super) fn socket_address(value: &Value) -> Result<SocketAddr, String> {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| {
            "must be an IP address and a port, such as 127.0.0.1:6380 or [::1]:6380".into()
        })
}

/// Reads one address to listen on, or a list of them.
pub(super) fn socket_addresses(value: &Value) -> Result<Vec<SocketAddr>, String> {
    list(value, socket_address, |one, other| {
        one == other && one.port() != 0
    })
}

/// Reads where to connect to: a name or an address, and a port.
pub(super) fn host_port(value: &Value) -> Result<HostPort, String> {
    let rule = "must be host:port, such as redis.internal:6379, 10.0.0.7:6379 or [::1]:6379";
    let text = value.as_str().ok_or(rule)?;
    if text.contains("://") {
        return Err(format!("{rule}, not a URL"));
    }
    let (host, port) = text.rsplit_once(':').ok_or(rule)?;
    let port = match port.parse() {
        Ok(0) | Err(_) => return Err(format!("{rule}; the port is 1 to 65535")),
        Ok(port) => port,
    };
    let host = match host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(inner) => match inner.parse::<std::net::Ipv6Addr>() {
            Ok(_) => inner,
            Err(_) => return Err(format!("{rule}; between brackets goes an IPv6 address")),
        },
        None if host.contains(':') => {
            return Err(format!("{rule}; an IPv6 address goes between brackets"));
        }
        None => host,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:%".contains(&byte);
    if host.is_empty() || host.len() > HOST_MAX || !host.bytes().all(plain) {
        return Err(rule.into());
    }
    Ok(HostPort {
        host: host.to_owned(),
        port,
    })
}

/// Reads a list of places to connect to, one at least and none twice; one alone needs no list.
pub(super) fn host_ports(value: &Value) -> Result<Vec<HostPort>, String> {
    let places = list(value, host_port, HostPort::eq)?;
    match places.len() {
        0 => Err("must name one Sentinel at least".into()),
        1..=SENTINELS_MAX => Ok(places),
        _ => Err(format!("must name at most {SENTINELS_MAX} Sentinels")),
    }
}

/// Reads what the names of some keys begin with: one text, or a list of them, none twice.
pub(super) fn prefixes(value: &Value) -> Result<Vec<Vec<u8>>, String> {
    let prefixes = list(value, prefix, PartialEq::eq)?;
    match prefixes.len() {
        0..=PREFIXES_MAX => Ok(prefixes),
        _ => Err(format!("must be at most {PREFIXES_MAX} prefixes")),
    }
}

/// Reads when writes of some keys are acknowledged, by what their names begin with.
pub(super) fn prefix_modes(value: &Value) -> Result<Vec<(Vec<u8>, DurabilityMode)>, String> {
    let Value::Mapping(entries) = value else {
        return Err("must be prefixes with a mode each, such as {\"auth:\": replicated}".into());
    };
    if entries.len() > PREFIXES_MAX {
        return Err(format!("must be at most {PREFIXES_MAX} prefixes"));
    }
    let read = |(index, (name, mode)): (usize, (&Value, &Value))| {
        let nth = format!("entry {}", index + 1);
        let name = prefix(name).map_err(|rule| format!("{nth}: its prefix {rule}"))?;
        let mode =
            choice(DURABILITY_MODES)(mode).map_err(|rule| format!("{nth}: its mode {rule}"))?;
        Ok((name, mode))
    };
    entries.iter().enumerate().map(read).collect()
}

fn prefix(value: &Value) -> Result<Vec<u8>, String> {
    match value.as_str() {
        Some(text) if (1..=PREFIX_BYTES_MAX).contains(&text.len()) => Ok(text.into()),
        _ => Err(format!(
            "must be text of 1 to {PREFIX_BYTES_MAX} bytes (put numbers in quotes)"
        )),
    }
}

/// Reads a list of which no two are the same; one alone needs no list.
fn list<T>(
    value: &Value,
    read: impl Fn(&Value) -> Result<T, String>,
    same: impl Fn(&T, &T) -> bool,
) -> Result<Vec<T>, String> {
    let Value::Sequence(items) = value else {
        return read(value).map(|one| vec![one]);
    };
    let mut good = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let nth = format!("entry {} of the list", index + 1);
        let one = read(item).map_err(|rule| format!("{nth} {rule}"))?;
        if good.iter().any(|other| same(&one, other)) {
            return Err(format!("{nth} is there twice"));
        }
        good.push(one);
    }
    Ok(good)
}

/// Reads one word of a fixed set.
pub(super) fn choice<T: Copy>(
    choices: &'static [(&'static str, T)],
) -> impl FnOnce(&Value) -> Result<T, String> {
    move |value| {
        let found = choices
            .iter()
            .find(|(name, _)| value.as_str() == Some(name));
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            format!("must be one of {}", names.join(", "))
        })
    }
}
