//! What the server says about changes: its `invalidate` pushes, and `INFO keyspace` about hash fields that expire.

use crate::resp::value::{self, Elements};

/// What a push on a tracked link says.
#[derive(Clone, Debug)]
pub enum Push<'a> {
    /// These keys may have changed, whatever the database.
    Keys(Elements<'a>),
    /// Every key may have changed.
    Everything,
    /// Nothing about keys.
    Other,
}

/// Reads a whole push; `None` when it should name keys and can't be read.
pub fn read(frame: &[u8]) -> Option<Push<'_>> {
    let mut elements = value::push(frame)?;
    let kind = elements.next()?;
    let kind = value::body(kind).or_else(|| kind.strip_prefix(b"+")?.strip_suffix(b"\r\n"))?;
    if kind != b"invalidate" {
        return Some(Push::Other);
    }
    let keys = elements.next()?;
    if value::is_null(keys) {
        return Some(Push::Everything);
    }
    let keys = value::elements(keys)?;
    let named = keys.clone().filter(|key| value::body(key).is_some());
    (named.count() == keys.left()).then_some(Push::Keys(keys))
}

/// Tells whether hashes of a database have fields with an expiry of their own, by `INFO keyspace`; `None` for an error.
///
/// Redis 7.4 and later print `subexpiry`, Valkey 9 `keys_with_volatile_items`; servers before them have no such fields.
pub fn has_expiring_fields(info: &[u8], database: u32) -> Option<bool> {
    // RESP3 servers may send it as a verbatim string, `=length CR LF txt:…`; the lines are the same.
    if value::is_error(info) {
        return None;
    }
    let text = String::from_utf8_lossy(info);
    let head = format!("db{database}:");
    let line = text.lines().find_map(|line| {
        let at = line.find(&head)?;
        // The first line may stand behind `txt:`, or not.
        (at == 0 || line[..at].ends_with(':')).then(|| &line[at + head.len()..])
    });
    let Some(line) = line else {
        return Some(false);
    };
    let counts = line
        .trim_end()
        .split(',')
        .filter_map(|pair| pair.split_once('='));
    let mut fields =
        counts.filter(|(name, _)| matches!(*name, "subexpiry" | "keys_with_volatile_items"));
    Some(fields.any(|(_, count)| count != "0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(frame: &[u8]) -> Option<Vec<Vec<u8>>> {
        match read(frame)? {
            Push::Keys(keys) => Some(keys.map(|key| value::body(key).unwrap().to_vec()).collect()),
            Push::Everything | Push::Other => panic!("no keys"),
        }
    }

    #[test]
    fn keys_are_read() {
        let frame = b">2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\na\r\n$3\r\nb\r\n\r\n";
        assert_eq!(keys(frame), Some(vec![b"a".to_vec(), b"b\r\n".to_vec()]));
        assert!(matches!(
            read(b">2\r\n$10\r\ninvalidate\r\n_\r\n"),
            Some(Push::Everything)
        ));
        assert!(matches!(
            read(b">2\r\n$7\r\nmessage\r\n$1\r\na\r\n"),
            Some(Push::Other)
        ));
    }

    #[test]
    fn what_should_name_keys_and_does_not_is_no_push() {
        for frame in [
            &b">1\r\n$10\r\ninvalidate\r\n"[..],
            b">2\r\n$10\r\ninvalidate\r\n$1\r\na\r\n",
            b">2\r\n$10\r\ninvalidate\r\n*1\r\n:5\r\n",
            b">2\r\n$10\r\ninvalidate\r\n*1\r\n_\r\n",
            b">0\r\n",
            b"+OK\r\n",
        ] {
            assert!(read(frame).is_none(), "{frame:?}");
        }
    }

    #[test]
    fn expiring_fields_by_database() {
        let info = b"$99\r\n# Keyspace\r\ndb0:keys=2,expires=1,avg_ttl=5,subexpiry=0\r\ndb11:keys=1,expires=0,avg_ttl=0,subexpiry=1\r\ndb2:keys=1,keys_with_volatile_items=3\r\n";
        assert_eq!(has_expiring_fields(info, 0), Some(false));
        assert_eq!(has_expiring_fields(info, 1), Some(false));
        assert_eq!(has_expiring_fields(info, 2), Some(true));
        assert_eq!(has_expiring_fields(info, 11), Some(true));
        let older = b"=40\r\ntxt:# Keyspace\r\ndb0:keys=2,expires=1,avg_ttl=5\r\n";
        assert_eq!(has_expiring_fields(older, 0), Some(false));
        assert_eq!(has_expiring_fields(b"-NOPERM\r\n", 0), None);
    }
}
