//! Reads the reply of `COMMAND`: pure.

use redis::Value;

use crate::command::table::{ServerCommand, ServerCommands};

/// A table read, and how much of it could not be.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    /// The commands.
    pub commands: ServerCommands,
    /// Entries of a shape that we do not know; a fork's, and better without them than without any.
    pub skipped: usize,
}

/// Reads the reply of `COMMAND`, in the shapes of RESP2 and RESP3; `None` when it is no list.
///
/// Of each entry the first six fields count: name, arity, flags, first key, last key, step. Redis 6.2 sends seven, 7.0
/// and later ten, and subcommands in the tenth.
/// Source: redis `src/server.c`, `addReplyCommandInfo`.
pub fn parse(reply: &Value) -> Option<Learned> {
    let mut learned = Learned::default();
    for entry in list(reply)? {
        match command(entry) {
            Some((name, command)) => {
                learned.commands.by_name.insert(name, command);
            }
            None => learned.skipped += 1,
        }
    }
    Some(learned)
}

fn command(entry: &Value) -> Option<(Vec<u8>, ServerCommand)> {
    let [name, arity, flags, first_key, last_key, key_step, ..] = list(entry)? else {
        return None;
    };
    let flags = list(flags)?.iter().map(|flag| {
        let flag = String::from_utf8(text(flag)?.to_ascii_lowercase());
        flag.ok()
    });
    let command = ServerCommand {
        arity: number(arity)?,
        flags: flags.collect::<Option<_>>()?,
        first_key: number(first_key)?,
        last_key: number(last_key)?,
        key_step: number(key_step)?,
    };
    Some((text(name)?.to_ascii_lowercase(), command))
}

fn list(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(items) | Value::Set(items) => Some(items),
        Value::Attribute { data, .. } => list(data),
        _ => None,
    }
}

fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.as_bytes()),
        _ => None,
    }
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(wire: &str) -> Learned {
        let value = redis::parse_redis_value(wire.as_bytes()).unwrap();
        parse(&value).unwrap()
    }

    fn get() -> ServerCommand {
        ServerCommand {
            arity: 2,
            flags: vec!["readonly".into(), "fast".into()],
            first_key: 1,
            last_key: 1,
            key_step: 1,
        }
    }

    #[test]
    fn resp2_entry_of_seven_fields_is_read() {
        let learned = read(
            "*1\r\n*7\r\n$3\r\nGET\r\n:2\r\n*2\r\n+readonly\r\n+FAST\r\n:1\r\n:1\r\n:1\r\n*1\r\n+@read\r\n",
        );
        assert_eq!(learned.commands.by_name[&b"get"[..]], get());
        assert_eq!((learned.commands.by_name.len(), learned.skipped), (1, 0));
    }

    #[test]
    fn resp3_entry_of_ten_fields_is_read() {
        let learned = read(
            "*1\r\n*10\r\n$3\r\nget\r\n:2\r\n~2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n~1\r\n+@read\r\n~0\r\n~1\r\n%1\r\n$5\r\nflags\r\n~1\r\n+RO\r\n*0\r\n",
        );
        assert_eq!(learned.commands.by_name[&b"get"[..]], get());
        assert_eq!(learned.skipped, 0);
    }

    #[test]
    fn entries_of_unknown_shape_are_skipped_and_counted() {
        let learned = read(
            "*5\r\n$-1\r\n*2\r\n$3\r\nfoo\r\n:1\r\n*6\r\n$3\r\nbar\r\n$1\r\n1\r\n*0\r\n:0\r\n:0\r\n:0\r\n:7\r\n*6\r\n$8\r\nMod.Call\r\n:-2\r\n*0\r\n:1\r\n:-1\r\n:2\r\n",
        );
        let expected = ServerCommand {
            arity: -2,
            flags: Vec::new(),
            first_key: 1,
            last_key: -1,
            key_step: 2,
        };
        assert_eq!(learned.commands.by_name[&b"mod.call"[..]], expected);
        assert_eq!((learned.commands.by_name.len(), learned.skipped), (1, 4));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for value in [
            Value::Nil,
            Value::Okay,
            Value::Int(3),
            Value::Map(Vec::new()),
        ] {
            assert!(parse(&value).is_none(), "{value:?}");
        }
        assert_eq!(parse(&Value::Array(Vec::new())).unwrap().skipped, 0);
    }
}
