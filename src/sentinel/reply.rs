//! Reads what Sentinels and nodes answer: pure.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::Value;

use super::event::host_port;
use super::topology::{Attached, Lineage, Node, Role};
use crate::seam::HostPort;

/// A replication id that is none.
const NO_REPLID: &str = "0000000000000000000000000000000000000000";

/// Field names and values, of SENTINEL MASTER or of INFO.
pub(super) type Fields = BTreeMap<String, String>;

/// Reads the reply of `SENTINEL get-master-addr-by-name`; `Ok(None)` when the name is not known there.
pub(super) fn address(value: &Value) -> Result<Option<HostPort>, ()> {
    match value {
        Value::Nil => Ok(None),
        Value::Array(items) => match items.as_slice() {
            [host, port] => {
                let (host, port) = (text(host).ok_or(())?, text(port).ok_or(())?);
                host_port(&host, &port).map(Some).ok_or(())
            }
            _ => Err(()),
        },
        _ => Err(()),
    }
}

/// Reads a map, or a list in which names and values take turns (RESP2).
pub(super) fn fields(value: &Value) -> Option<Fields> {
    match value {
        Value::Map(pairs) => pairs
            .iter()
            .map(|(name, value)| Some((text(name)?, text(value)?)))
            .collect(),
        Value::Array(items) => items
            .chunks_exact(2)
            .map(|pair| Some((text(&pair[0])?, text(&pair[1])?)))
            .collect(),
        _ => None,
    }
}

/// Reads after which time a Sentinel takes the primary for down, off SENTINEL MASTER.
pub(super) fn down_after(fields: &Fields) -> Option<Duration> {
    let text = fields.get("down-after-milliseconds")?;
    text.parse().ok().map(Duration::from_millis)
}

/// Reads a list of maps; an entry of another shape is left out.
pub(super) fn list(value: &Value) -> Vec<Fields> {
    match value {
        Value::Array(items) => items.iter().filter_map(fields).collect(),
        _ => Vec::new(),
    }
}

/// Reads the text of INFO.
pub(super) fn info(value: &Value) -> Option<Fields> {
    let text = text(value)?;
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    Some(
        lines
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect(),
    )
}

/// Reads where an entry of SENTINEL REPLICAS or SENTINELS is.
pub(super) fn place(fields: &Fields) -> Option<HostPort> {
    host_port(fields.get("ip")?, fields.get("port")?)
}

/// Tells whether a Sentinel's entry has a flag.
pub(super) fn has_flag(fields: &Fields, flag: &str) -> bool {
    fields
        .get("flags")
        .is_some_and(|flags| flags.split(',').any(|one| one == flag))
}

/// Tells whether a Sentinel shows a failover that has still to promote a replica.
///
/// One that waits to be elected (for 10 s at most) and gets answers of the primary again is not ahead: only a Sentinel that takes
/// the primary for down asks the others for their votes.
///
/// Source: redis `src/sentinel.c`, `sentinelFailoverStateStr`, `sentinelAskMasterStateToOtherSentinels`.
pub(super) fn is_ahead(fields: &Fields) -> bool {
    let state = match fields.get("failover-state") {
        Some(state) if has_flag(fields, "failover_in_progress") => state.as_str(),
        _ => return false,
    };
    match state {
        "none" | "reconf_slaves" | "reconf_replicas" | "update_config" => false,
        "wait_start" => has_flag(fields, "s_down") || has_flag(fields, "force_failover"),
        _ => true,
    }
}

/// Reads a field that is not empty.
pub(super) fn filled(fields: &Fields, name: &str) -> Option<String> {
    fields.get(name).filter(|value| !value.is_empty()).cloned()
}

/// Reads a node's INFO, sections `replication` and `server`; `None` when it names no role.
pub(super) fn node(replication: &Fields, server: &Fields) -> Option<Node> {
    let role = role(replication.get("role")?)?;
    let number = |name: &str| replication.get(name)?.parse().ok();
    let lineage = || {
        Some(Lineage {
            run_id: filled(server, "run_id")?,
            replid: filled(replication, "master_replid")?,
            replid2: filled(replication, "master_replid2").filter(|replid| replid != NO_REPLID),
            second_offset: number("second_repl_offset").unwrap_or(-1),
            offset: number("master_repl_offset").unwrap_or(0),
        })
    };
    let offset = match role {
        Role::Primary => number("master_repl_offset"),
        Role::Replica => number("slave_repl_offset"),
    };
    let link_up = role == Role::Primary
        || replication
            .get("master_link_status")
            .is_some_and(|status| status == "up");
    Some(Node {
        role,
        lineage: lineage(),
        follows: (role == Role::Replica)
            .then(|| {
                let (host, port) = (
                    replication.get("master_host")?,
                    replication.get("master_port")?,
                );
                host_port(host, port)
            })
            .flatten(),
        link_up,
        offset,
        replicas: attached(replication),
    })
}

/// A primary's replication stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Name of the history that it belongs to.
    pub replid: String,
    /// Its end, in bytes.
    pub offset: i64,
    /// Who gets it.
    pub replicas: Vec<Attached>,
}

/// Reads a primary's INFO, section `replication`; `None` where it is no primary, or does not say.
pub fn stream(value: &Value) -> Option<Stream> {
    let replication = info(value)?;
    let is_primary = role(replication.get("role")?)? == Role::Primary;
    Some(Stream {
        replid: filled(&replication, "master_replid").filter(|_| is_primary)?,
        offset: replication.get("master_repl_offset")?.parse().ok()?,
        replicas: attached(&replication),
    })
}

/// Reads a node's INFO, section `server`: the first two numbers of its version. A Valkey names the Redis that it is like.
pub fn version(value: &Value) -> Option<(u32, u32)> {
    let server = info(value)?;
    let mut numbers = server.get("redis_version")?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Reads the reply of HELLO of a node that shows no INFO to us: the role is there, a history is not.
pub(super) fn node_of_hello(hello: &Value) -> Option<Node> {
    let items = match hello {
        Value::Map(pairs) => pairs
            .iter()
            .find(|(name, _)| is(name, "role"))
            .map(|(_, value)| value),
        Value::Array(items) => items
            .chunks_exact(2)
            .find(|pair| is(&pair[0], "role"))
            .map(|pair| &pair[1]),
        _ => None,
    };
    Some(Node {
        role: role(&text(items?)?)?,
        lineage: None,
        follows: None,
        link_up: true,
        offset: None,
        replicas: Vec::new(),
    })
}

/// Reads of the reply to ROLE what changes when the role does: its words, without offsets.
pub(super) fn role_words(value: &Value) -> Option<Vec<String>> {
    let Value::Array(items) = value else {
        return None;
    };
    let role = items.first().and_then(text)?;
    let words = items.iter().skip(1).take(3).filter_map(text);
    Some(match role.as_str() {
        "master" | "primary" => vec![role],
        _ => std::iter::once(role).chain(words).collect(),
    })
}

fn is(value: &Value, word: &str) -> bool {
    text(value).is_some_and(|text| text == word)
}

fn role(word: &str) -> Option<Role> {
    match word {
        "master" | "primary" => Some(Role::Primary),
        "slave" | "replica" => Some(Role::Replica),
        _ => None,
    }
}

/// Reads `slave0:ip=…,port=…,state=online,offset=…,lag=…` and its like.
fn attached(replication: &Fields) -> Vec<Attached> {
    let is_entry = |name: &str| {
        name.strip_prefix("slave")
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    let entries = replication.iter().filter(|(name, _)| is_entry(name));
    entries.filter_map(|(_, entry)| attachment(entry)).collect()
}

fn attachment(entry: &str) -> Option<Attached> {
    let fields: BTreeMap<&str, &str> = entry
        .split(',')
        .filter_map(|one| one.split_once('='))
        .collect();
    Some(Attached {
        address: host_port(fields.get("ip")?, fields.get("port")?)?,
        online: fields.get("state") == Some(&"online"),
        offset: fields.get("offset")?.parse().ok()?,
        lag_s: fields
            .get("lag")
            .and_then(|lag| lag.parse().ok())
            .unwrap_or(0),
    })
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        Value::Okay => Some("OK".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(wire: &str) -> Value {
        redis::parse_redis_value(wire.as_bytes()).unwrap()
    }

    fn info_of(text: &str) -> Fields {
        info(&Value::BulkString(text.as_bytes().to_vec())).unwrap()
    }

    #[test]
    fn versions_are_read_and_nonsense_is_none() {
        for (text, expected) in [
            ("redis_version:6.2.14\r\nrun_id:a\r\n", Some((6, 2))),
            (
                "server_name:valkey\r\nredis_version:7.2.4\r\n",
                Some((7, 2)),
            ),
            ("redis_version:255.255.255\r\n", Some((255, 255))),
            ("redis_version:7\r\n", None),
            ("redis_version:x.y\r\n", None),
            ("valkey_version:9.1.2\r\n", None),
        ] {
            let reply = Value::BulkString(text.as_bytes().to_vec());
            assert_eq!(version(&reply), expected, "{text}");
        }
    }

    #[test]
    fn address_null_and_nonsense_are_told_apart() {
        let found = address(&read("*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6379\r\n"));
        assert_eq!(found.unwrap().unwrap().to_string(), "127.0.0.1:6379");
        for null in ["*-1\r\n", "$-1\r\n", "_\r\n"] {
            assert_eq!(address(&read(null)), Ok(None), "{null}");
        }
        for odd in [
            "*0\r\n",
            "+OK\r\n",
            "*2\r\n$1\r\na\r\n$1\r\n0\r\n",
            "*2\r\n$0\r\n\r\n$1\r\n1\r\n",
        ] {
            assert_eq!(address(&read(odd)), Err(()), "{odd}");
        }
    }

    #[test]
    fn fields_are_read_in_both_protocols() {
        for wire in [
            "*4\r\n$2\r\nip\r\n$1\r\na\r\n$4\r\nport\r\n$1\r\n7\r\n",
            "%2\r\n$2\r\nip\r\n$1\r\na\r\n$4\r\nport\r\n:7\r\n",
        ] {
            let fields = fields(&read(wire)).unwrap();
            assert_eq!(place(&fields).unwrap().to_string(), "a:7");
        }
        let flags = Fields::from([("flags".into(), "s_down,master,o_down".into())]);
        assert!(has_flag(&flags, "o_down") && !has_flag(&flags, "down"));
    }

    #[test]
    fn a_stream_is_a_primarys() {
        let text = "# Replication\r\nrole:master\r\nslave0:ip=10.0.0.2,port=6379,state=online,offset=90,lag=1\r\nmaster_replid:A\r\nmaster_repl_offset:100\r\n";
        let read = |text: &str| stream(&Value::BulkString(text.into()));
        let found = read(text).unwrap();
        assert_eq!((&*found.replid, found.offset), ("A", 100));
        assert_eq!((found.replicas.len(), found.replicas[0].offset), (1, 90));
        assert_eq!(read(&text.replace("master\r", "slave\r")), None);
        assert_eq!(read(&text.replace("_replid:A", "_replid:")), None);
    }

    #[test]
    fn a_failover_is_ahead_until_it_has_promoted_unless_nobody_can_elect_it() {
        let cases = [
            (
                "master,s_down,o_down,failover_in_progress",
                "wait_start",
                true,
            ),
            (
                "master,failover_in_progress,force_failover",
                "wait_start",
                true,
            ),
            ("master,failover_in_progress", "wait_start", false),
            ("master,failover_in_progress", "select_slave", true),
            ("master,failover_in_progress", "send_slaveof_noone", true),
            ("master,failover_in_progress", "wait_promotion", true),
            ("master,failover_in_progress", "reconf_slaves", false),
            ("master,failover_in_progress", "reconf_replicas", false),
            ("master,failover_in_progress", "update_config", false),
            ("master,failover_in_progress", "none", false),
            ("master,s_down", "wait_start", false),
        ];
        for (flags, state, ahead) in cases {
            let shown = [("flags", flags), ("failover-state", state)];
            let shown = shown.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(is_ahead(&shown.into()), ahead, "{flags} {state}");
        }
        let shown = [("flags".to_owned(), "failover_in_progress".to_owned())];
        assert!(!is_ahead(&shown.into()), "without a state");
    }

    #[test]
    fn primary_and_replica_are_read_from_info() {
        let server = info_of("# Server\r\nredis_version:7.0.15\r\nrun_id:r1\r\n");
        let primary = info_of(
            "# Replication\r\nrole:master\r\nconnected_slaves:1\r\nslave0:ip=10.0.0.2,port=6379,state=online,offset=90,lag=1\r\nmaster_replid:A\r\nmaster_replid2:0000000000000000000000000000000000000000\r\nmaster_repl_offset:100\r\nsecond_repl_offset:-1\r\nslave_read_only:1\r\n",
        );
        let node = super::node(&primary, &server).unwrap();
        let lineage = node.lineage.unwrap();
        assert_eq!((node.role, node.offset), (Role::Primary, Some(100)));
        assert_eq!(
            (lineage.run_id.as_str(), lineage.replid.as_str()),
            ("r1", "A")
        );
        assert_eq!((lineage.replid2, lineage.second_offset), (None, -1));
        assert_eq!(node.replicas.len(), 1);
        assert!(node.replicas[0].online && node.replicas[0].offset == 90);

        let replica = info_of(
            "role:slave\r\nmaster_host:10.0.0.1\r\nmaster_link_status:down\r\nslave_repl_offset:90\r\nmaster_replid:A\r\nmaster_replid2:B\r\nmaster_repl_offset:90\r\nsecond_repl_offset:51\r\n",
        );
        let node = super::node(&replica, &server).unwrap();
        assert_eq!(
            (node.role, node.link_up, node.offset),
            (Role::Replica, false, Some(90))
        );
        let lineage = node.lineage.unwrap();
        assert_eq!(
            (lineage.replid2.as_deref(), lineage.second_offset),
            (Some("B"), 51)
        );

        assert!(super::node(&info_of("nothing:1\r\n"), &server).is_none());
    }

    #[test]
    fn role_is_read_from_hello() {
        let node = node_of_hello(&read(
            "*4\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n",
        ));
        assert_eq!(node.unwrap().role, Role::Primary);
        assert!(node_of_hello(&read("*2\r\n$6\r\nserver\r\n$5\r\nredis\r\n")).is_none());
    }
}
