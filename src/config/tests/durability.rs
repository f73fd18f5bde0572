//! The section `durability`.

use super::*;

const JOURNAL: &str = "journal: {enabled: true}\n";

#[test]
fn what_waits_for_replicas_needs_the_journal() {
    let standalone = "upstream: {address: \"redis:1\"}\n";
    for (durability, key) in [
        ("{mode: replicated}", "durability.mode"),
        ("{prefixes: {\"a:\": replicated}}", "durability.prefixes"),
    ] {
        let asked = format!("{standalone}durability: {durability}\n");
        let rule = "\"replicated\": needs the journal: set journal.enabled: true";
        let rule = rule.replace('"', "");
        assert_eq!(bad(&asked), [format!("{key}: {rule}")]);
        assert!(built(&format!("{asked}{JOURNAL}")).is_ok());
        // There the journal is on.
        assert!(built(&format!("durability: {durability}\n")).is_ok());
    }
    let rule = "journal.opaque: wait: needs the journal: set journal.enabled: true";
    assert_eq!(
        bad(&format!("{standalone}journal: {{opaque: wait}}\n")),
        [rule]
    );
    assert!(built("journal: {opaque: wait}\n").is_ok());
    for idle in ["{mode: async}", "{prefixes: {\"a:\": async}}"] {
        assert!(built(&format!("{standalone}durability: {idle}\n")).is_ok());
    }
}

#[test]
fn prefixes_have_a_mode_each() {
    let is = |prefixes: &str| bad(&format!("durability: {{prefixes: {prefixes}}}")).remove(0);
    assert_eq!(
        is("[\"a:\"]"),
        "durability.prefixes: [\"a:\"]: must be prefixes with a mode each, such as {\"auth:\": replicated}"
    );
    let mode = "durability.prefixes: a section: entry 2: its mode must be one of async, replicated";
    assert_eq!(is("{\"a:\": async, \"b:\": sync}"), mode);
    let prefix = "durability.prefixes: a section: entry 1: its prefix must be text of 1 to 256 bytes (put numbers in quotes)";
    assert_eq!(is("{7: async}"), prefix);
    assert_eq!(is("{\"\": async}"), prefix);
}
