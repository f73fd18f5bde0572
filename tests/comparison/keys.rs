//! The keys that we see in a request are those that the server sees (`COMMAND GETKEYS`).

use gripfast::command::keys::{Touched, touched};
use gripfast::command::table::Table;
use gripfast::resp::Words;
use gripfast::resp::request::{Parsed, parse};

use super::generator::Generator;
use crate::harness::{Server, Value, Version, seed};

/// Requests for each server version.
const REQUESTS: usize = 6_000;

/// Asks the server for the keys of generated requests.
pub fn run(version: &Version) {
    let seed = seed("keys");
    let server = Server::start(version);
    let mut client = server.client();
    let mut generator = Generator::new(seed, 0, vec![b"no dump".to_vec()], version.major());
    let (table, mut words) = (Table::default(), Words::default());
    let (mut asked, mut with_keys) = (0, 0);
    while asked < REQUESTS {
        for step in generator.unit() {
            let Parsed::Whole(length) = parse(&step.bytes, &mut words) else {
                continue;
            };
            asked += 1;
            let question = [&[b"COMMAND".to_vec(), b"GETKEYS".to_vec()], &step.words[..]].concat();
            let Value::Many(b'*', theirs) = crate::harness::parse(&client.call(&question)) else {
                continue;
            };
            with_keys += 1;
            let request = &step.bytes[..length];
            let command = table.find(&step.words[0]);
            let found = touched(&command, request, &words);
            if found == Touched::Everything {
                continue;
            }
            let ours: Vec<&[u8]> = found
                .words()
                .map(|index| words.get(request, index).unwrap())
                .collect();
            for key in theirs {
                let Value::Blob(_, key) = key else {
                    panic!("{}: a key is no string", version.name)
                };
                assert!(
                    ours.contains(&&key[..]),
                    "{} (seed {seed}): {:?} names {:?}, we see {:?}",
                    version.name,
                    String::from_utf8_lossy(&step.words.join(&b' ')),
                    String::from_utf8_lossy(&key),
                    found,
                );
            }
        }
    }
    assert!(
        with_keys > REQUESTS / 3,
        "only {with_keys} of {asked} had keys"
    );
}
