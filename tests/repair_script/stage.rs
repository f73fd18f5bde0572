//! A server on which cases are set up, run and read.

use bytes::Bytes;
use gripfast::repair::key::{Content, Deadline, Whole, is_same_deadline};
use gripfast::repair::marks::{AppWrite, Base, Marks, Slot};
use gripfast::repair::record::FieldWrite;
use gripfast::repair::script::{Call, Names};
use gripfast::repair::stamp::Stamp;

use crate::cases::Case;
use crate::harness::{Client, Server, Version, encode, escape};
use crate::server::{self, blob, number, texts};

/// The app's key.
pub(crate) const KEY: &str = "k";

/// Writes marks: {number, base, is a delete, deadline, pending, name, stamp, n|s|r, value …}.
const PACK: &str = "local a, fields = ARGV, {} \
    for i = 7, #a, 4 do local stamp = tonumber(a[i + 1]) \
    fields[a[i]] = a[i + 2] == 'n' and stamp or a[i + 2] == 's' and {stamp, a[i + 3]} or {stamp} end \
    local mark = {tonumber(a[2]), tonumber(a[3]), tonumber(a[4]), tonumber(a[5]), tonumber(a[6])} \
    if next(fields) ~= nil then mark[6] = fields end \
    return redis.call('HSET', KEYS[1], a[1], cmsgpack.pack(mark))";

/// Reads them in the same order.
const UNPACK: &str = "local packed = redis.call('HGET', KEYS[1], ARGV[1]) if not packed then return {} end \
    local mark, flat = cmsgpack.unpack(packed), {} \
    for i = 1, 5 do flat[i] = string.format('%.0f', mark[i]) end \
    for name, field in pairs(mark[6] or {}) do \
    local stamp, kind, value = field, 'n', '' \
    if type(field) == 'table' then stamp, value, kind = field[1], field[2] or '', field[2] and 's' or 'r' end \
    for _, word in ipairs({name, string.format('%.0f', stamp), kind, value}) do flat[#flat + 1] = word end end \
    return flat";

/// What stands on the server after a case.
pub(crate) struct After {
    pub(crate) key: Option<Whole<Bytes>>,
    pub(crate) marks: Marks<Bytes>,
}

/// One server.
pub(crate) struct Stage {
    _server: Server,
    client: Client,
    names: Names,
    pub(crate) payloads: Vec<Bytes>,
    /// The payload of a hash: f = 1, g = 2.
    pub(crate) hash: Bytes,
}

impl Stage {
    pub(crate) fn new(version: &Version) -> Self {
        let server = Server::start(version);
        let mut client = server.client();
        for words in ["RPUSH p x y", "ZADD q 2 m", "SADD r o", "HSET s f 1 g 2"] {
            client.ask(words);
        }
        let payloads = ["p", "q", "r"].map(|key| blob(&client.call(&["DUMP", key])));
        Self {
            hash: blob(&client.call(&["DUMP", "s"])),
            client,
            names: Names::new("gripfast:", 5000),
            payloads: payloads.to_vec(),
            _server: server,
        }
    }

    pub(crate) fn now(&mut self) -> Stamp {
        server::now(&mut self.client)
    }

    /// Sets a case up, repairs, and returns the key before, all after, and the answer.
    pub(crate) fn repair(&mut self, case: &Case) -> (Option<Whole<Bytes>>, After, Vec<u8>) {
        let names = self.names.clone();
        let call = names.repair(case.database, KEY.as_bytes(), &case.record);
        self.run(case, &call)
    }

    /// The same for a mark.
    pub(crate) fn mark(
        &mut self,
        case: &Case,
        write: &AppWrite<Bytes>,
        dispatch: Stamp,
    ) -> (Option<Whole<Bytes>>, After, Vec<u8>) {
        let names = self.names.clone();
        let call = names.mark(case.database, &[KEY.as_bytes()], write, dispatch);
        self.run(case, &call)
    }

    fn run(&mut self, case: &Case, call: &Call<'_>) -> (Option<Whole<Bytes>>, After, Vec<u8>) {
        self.set_up(case);
        let before = server::whole(&mut self.client, KEY.as_bytes());
        let frame = server::call(&mut self.client, call);
        assert!(frame.starts_with(b"*"), "{case:#?}\n{}", escape(&frame));
        let after = After {
            key: server::whole(&mut self.client, KEY.as_bytes()),
            marks: self.marks(),
        };
        (before, after, frame)
    }

    fn set_up(&mut self, case: &Case) {
        let mut requests: Vec<Vec<Bytes>> = vec![words("FLUSHALL"), words("SELECT 0")];
        if let Some(round) = case.hash {
            let mut hash = format!(
                "HSET gripfast:round number {} until {} horizon {}",
                case.number, round.until.0, round.horizon.0
            );
            if round.is_closed {
                hash += " closed 1";
            }
            if let Some(flushed) = round.flushed {
                let name = match case.flushes_all {
                    true => "*".into(),
                    false => case.database.to_string(),
                };
                hash += &format!(" flushed:{name} {}", flushed.0);
            }
            requests.push(words(&hash));
        }
        requests.push(words(&format!("SELECT {}", case.database)));
        requests.extend(made(case.key.as_ref()));
        if case.marks != Marks::default() {
            requests.push(packed(&case.marks, case.marks_number));
        }
        let bytes: Vec<u8> = requests.iter().flat_map(|words| encode(words)).collect();
        self.client.send(&bytes);
        for _ in requests {
            let frame = self.client.frame();
            assert!(!frame.starts_with(b"-"), "{}", escape(&frame));
        }
    }

    fn marks(&mut self) -> Marks<Bytes> {
        let frame = self
            .client
            .call(&["EVAL", UNPACK, "1", "gripfast:marks", KEY]);
        let flat = texts(&frame);
        let mut marks = Marks::default();
        if flat.is_empty() {
            return marks;
        }
        let numbers: Vec<i64> = flat[..5].iter().map(number).collect();
        if numbers[1] != 0 {
            marks.base = Some(Base {
                stamp: Stamp(numbers[1].abs()),
                is_delete: numbers[2] == 1,
                is_written: numbers[1] > 0,
            });
        }
        for field in flat[5..].chunks(4) {
            let pending = match &field[2][..] {
                b"s" => Some(FieldWrite::Set(field[3].clone())),
                b"r" => Some(FieldWrite::Remove),
                _ => None,
            };
            let slot = slot(number(&field[1]), pending);
            marks.fields.insert(field[0].clone(), slot);
        }
        if numbers[3] != 0 {
            let pending = (numbers[4] != -2).then(|| (numbers[4] >= 0).then_some(numbers[4]));
            marks.deadline = Some(slot(numbers[3], pending));
        }
        marks
    }
}

fn slot<W>(signed: i64, pending: Option<W>) -> Slot<W> {
    Slot {
        stamp: Stamp(signed.abs()),
        is_written: signed > 0,
        pending,
    }
}

/// Compares marks; a pending deadline that was read off a key may be a few milliseconds off.
pub(crate) fn assert_same_marks(seen: &Marks<Bytes>, expected: &Marks<Bytes>, told: &str) {
    let pending = |marks: &Marks<Bytes>| marks.deadline.as_ref().and_then(|slot| slot.pending);
    let is_same = match (pending(seen), pending(expected)) {
        (Some(one), Some(other)) => is_same_deadline(one, other),
        (one, other) => one == other,
    };
    let mut seen = seen.clone();
    if let (true, Some(slot), Some(other)) = (is_same, &mut seen.deadline, &expected.deadline) {
        slot.pending = other.pending;
    }
    assert_eq!(&seen, expected, "{told}");
}

fn made(key: Option<&Whole<Bytes>>) -> Vec<Vec<Bytes>> {
    let Some(whole) = key else { return Vec::new() };
    let command: Vec<Bytes> = match &whole.content {
        Content::String(value) => vec!["SET".into(), KEY.into(), value.clone()],
        Content::Opaque(value) => vec!["RESTORE".into(), KEY.into(), "0".into(), value.clone()],
        Content::Hash(fields) => {
            let pairs = fields
                .iter()
                .flat_map(|(name, value)| [name.clone(), value.clone()]);
            let head = ["HSET".into(), KEY.into()];
            head.into_iter().chain(pairs).collect()
        }
    };
    let deadline = whole
        .deadline
        .map(|deadline| words(&format!("PEXPIREAT {KEY} {deadline}")));
    [command].into_iter().chain(deadline).collect()
}

fn packed(marks: &Marks<Bytes>, round: i64) -> Vec<Bytes> {
    let signed = |stamp: Stamp, is_written| if is_written { stamp.0 } else { -stamp.0 };
    let base = marks.base.map_or((0, 0), |base| {
        (
            signed(base.stamp, base.is_written),
            i64::from(base.is_delete),
        )
    });
    let told = |deadline: Option<Deadline>| deadline.map_or(-2, |deadline| deadline.unwrap_or(-1));
    let deadline = marks.deadline.as_ref().map_or((0, -2), |slot| {
        (signed(slot.stamp, slot.is_written), told(slot.pending))
    });
    let numbers = [round, base.0, base.1, deadline.0, deadline.1];
    let mut all: Vec<Bytes> = vec!["EVAL".into(), PACK.into(), "1".into()];
    all.extend(["gripfast:marks".into(), KEY.into()]);
    all.extend(numbers.map(|number| Bytes::from(number.to_string())));
    for (name, slot) in &marks.fields {
        let (kind, value) = match &slot.pending {
            Some(FieldWrite::Set(value)) => ("s", value.clone()),
            Some(FieldWrite::Remove) => ("r", Bytes::new()),
            None => ("n", Bytes::new()),
        };
        let stamp = signed(slot.stamp, slot.is_written).to_string();
        all.extend([name.clone(), stamp.into(), kind.into(), value]);
    }
    all
}

fn words(text: &str) -> Vec<Bytes> {
    text.split(' ')
        .map(|word| Bytes::from(word.to_owned()))
        .collect()
}
