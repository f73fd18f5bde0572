//! How alike two replies must be: by bytes, but for a short list of commands whose replies vary by their nature.

use crate::harness::{Value, parse};

/// Ways to compare, strictest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The same bytes.
    Bytes,
    /// The same but for integers that may differ a little: times to live.
    Near,
    /// The same but for integers above 3: HELLO's id, idle times.
    Integers,
    /// The same elements, in the order of this server's hash seed.
    Unordered,
    /// The same types and counts: random members, the time.
    Shape,
    /// The same first byte: statistics.
    Kind,
}

/// Units (seconds, milliseconds) by which two times to live may differ on a busy machine.
const NEAR: i64 = 10_000;

/// Says how the replies of a command are compared. Errors are always compared by bytes.
pub fn verdict(command: &[Vec<u8>]) -> Verdict {
    let word = |at: usize| {
        let word = command.get(at).map_or(&b""[..], Vec::as_slice);
        String::from_utf8_lossy(word).to_ascii_uppercase()
    };
    let (name, second, last) = (word(0), word(1), word(command.len().max(1) - 1));
    match (name.as_str(), second.as_str()) {
        ("EVAL" | "EVAL_RO", script) if script.contains("HGETALL") => Verdict::Unordered,
        ("CONFIG", "GET") if last == "*" => Verdict::Kind,
        ("TTL" | "PTTL" | "EXPIRETIME" | "PEXPIRETIME" | "LASTSAVE", _)
        | ("HTTL" | "HPTTL" | "HEXPIRETIME" | "HPEXPIRETIME", _)
        | ("OBJECT", "IDLETIME") => Verdict::Near,
        ("HELLO" | "XPENDING" | "ROLE", _)
        | ("MEMORY", "USAGE")
        | ("XINFO", "CONSUMERS" | "STREAM")
        | ("SLOWLOG", "LEN")
        | ("CLIENT", "ID") => Verdict::Integers,
        ("SCAN" | "HSCAN" | "SSCAN" | "ZSCAN", _)
            if last != "100000" || (second != "0" && word(2) != "0") =>
        {
            Verdict::Kind
        }
        ("SCAN" | "HSCAN" | "SSCAN" | "ZSCAN", _)
        | (
            "SMEMBERS" | "SINTER" | "SUNION" | "SDIFF" | "HGETALL" | "HKEYS" | "HVALS" | "KEYS",
            _,
        )
        | ("SORT" | "SORT_RO" | "COMMAND", _)
        | ("FUNCTION", "LIST")
        | ("ACL", "CAT")
        | ("PUBSUB", "CHANNELS" | "SHARDCHANNELS")
        | ("CONFIG", "GET") => Verdict::Unordered,
        ("TIME" | "RANDOMKEY" | "SRANDMEMBER" | "HRANDFIELD" | "ZRANDMEMBER" | "SPOP", _)
        | ("ACL", "GENPASS") => Verdict::Shape,
        ("INFO" | "DUMP" | "LOLWUT" | "BGSAVE" | "BGREWRITEAOF", _)
        | ("CLIENT", "LIST" | "INFO")
        | ("MEMORY", "STATS" | "DOCTOR" | "MALLOC-STATS")
        | ("SLOWLOG", "GET")
        | ("LATENCY", "LATEST" | "DOCTOR" | "HISTOGRAM" | "RESET")
        | ("ACL", "LOG")
        | ("FUNCTION", "DUMP")
        | ("DEBUG", "OBJECT" | "SDSLEN" | "LISTPACK" | "ZIPLIST") => Verdict::Kind,
        _ => Verdict::Bytes,
    }
}

/// Compares the two replies.
pub fn alike(verdict: Verdict, one: &[u8], other: &[u8]) -> bool {
    if one == other {
        return true;
    }
    let is_error = |frame: &[u8]| frame.starts_with(b"-") || frame.starts_with(b"!");
    if is_error(one) || is_error(other) || one[0] != other[0] {
        return false;
    }
    match verdict {
        Verdict::Bytes => false,
        Verdict::Kind => true,
        Verdict::Unordered => sorted(parse(one)) == sorted(parse(other)),
        Verdict::Near => same(&parse(one), &parse(other), &|a, b| (a - b).abs() <= NEAR),
        Verdict::Integers => same(&parse(one), &parse(other), &|a, b| {
            a > 3 && b > 3 || (a - b).abs() <= 50
        }),
        Verdict::Shape => shape(&parse(one)) == shape(&parse(other)),
    }
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Many(kind, values) => {
            let mut values: Vec<Value> = values.into_iter().map(sorted).collect();
            values.sort();
            Value::Many(kind, values)
        }
        other => other,
    }
}

fn same(one: &Value, other: &Value, integers: &dyn Fn(i64, i64) -> bool) -> bool {
    match (one, other) {
        (Value::Line(b':', a), Value::Line(b':', b)) => {
            let number = |line: &[u8]| std::str::from_utf8(line).ok()?.parse::<i64>().ok();
            match (number(a), number(b)) {
                (Some(a), Some(b)) => a == b || integers(a, b),
                _ => false,
            }
        }
        (Value::Many(kind, a), Value::Many(kind2, b)) => {
            kind == kind2
                && a.len() == b.len()
                && a.iter().zip(b).all(|(a, b)| same(a, b, integers))
        }
        _ => one == other,
    }
}

fn shape(value: &Value) -> Value {
    match value {
        Value::Line(kind @ (b'$' | b'*'), line) => Value::Line(*kind, line.clone()),
        Value::Line(kind, _) => Value::Line(*kind, Vec::new()),
        Value::Blob(kind, _) => Value::Blob(*kind, Vec::new()),
        Value::Many(kind, values) => Value::Many(*kind, values.iter().map(shape).collect()),
    }
}
