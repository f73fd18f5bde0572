//! What Redis commands mean to the data path: pure, without clocks and sockets.

mod catalog;
pub mod facts;
pub mod keys;
pub mod leaves;
pub mod local;
pub mod table;
pub mod time;
pub mod ttl;
pub mod written;

/// For tests: reads a line as a request, and asks with its command.
#[cfg(test)]
fn with_line<T>(
    line: &str,
    ask: impl FnOnce(&table::Command, &[u8], &crate::resp::Words) -> T,
) -> T {
    use crate::resp::request::{Parsed, parse};
    let mut words = crate::resp::Words::default();
    let input = format!("{line}\r\n");
    let parsed = parse(input.as_bytes(), &mut words);
    assert!(matches!(parsed, Parsed::Inline(_)), "{line}");
    let request = words.take_rewritten();
    let command = table::Table::default().find(words.get(&request, 0).unwrap());
    ask(&command, &request, &words)
}
