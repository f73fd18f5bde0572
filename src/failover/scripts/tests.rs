//! The table of requests, the bounds, and properties against a plain list.

use proptest::prelude::*;

use super::*;
use crate::resp::request_bytes;

/// phpredis's release of a lock; redis gives its name in many an issue.
const UNLOCK: &str = "if redis.call(\"get\",KEYS[1]) == ARGV[1] then return redis.call(\"del\",KEYS[1]) else return 0 end";
const ONE: &str = "return 1";
const ONE_SHA: &str = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";

fn learn(scripts: &mut Scripts, words: &[&str], generation: u64) {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    scripts.learn(&words, generation);
}

fn as_eval(scripts: &mut Scripts, words: &[&str], generation: u64) -> Option<Vec<u8>> {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    scripts.as_eval(&words, generation)
}

fn sha_of(body: &str) -> String {
    let digest: Sha = Sha1::digest(body.as_bytes()).into();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn names_are_those_that_the_server_gives() {
    assert_eq!(sha_of(ONE), ONE_SHA);
    assert!(read_sha(ONE_SHA.as_bytes()) == read_sha(ONE_SHA.to_uppercase().as_bytes()));
    let digest: Sha = Sha1::digest(UNLOCK.as_bytes()).into();
    assert_eq!(read_sha(sha_of(UNLOCK).as_bytes()), Some(digest));
    for word in [
        "",
        "e0e1",
        &ONE_SHA[1..],
        &format!("{ONE_SHA}0"),
        &ONE_SHA.replace('e', "g"),
        &ONE_SHA.replace('e', "+"),
    ] {
        assert_eq!(read_sha(word.as_bytes()), None, "{word}");
    }
}

#[test]
fn a_script_that_an_earlier_primary_was_shown_is_asked_with_its_body() {
    for (shown, asked, expected) in [
        (
            &["EVAL", ONE, "0"][..],
            &["EVALSHA", ONE_SHA, "1", "k", "a"][..],
            &["EVAL", ONE, "1", "k", "a"][..],
        ),
        (
            &["eval_ro", ONE, "0"],
            &["evalsha", ONE_SHA, "0"],
            &["EVAL", ONE, "0"],
        ),
        (
            &["script", "load", ONE],
            &["EVALSHA_RO", ONE_SHA, "0"],
            &["EVAL_RO", ONE, "0"],
        ),
        (
            &["EVAL", ONE, "1", "k"],
            &["EvalSha", &ONE_SHA.to_uppercase(), "0"],
            &["EVAL", ONE, "0"],
        ),
    ] {
        let mut scripts = Scripts::default();
        assert_eq!(as_eval(&mut scripts, asked, 2), None, "not known yet");
        learn(&mut scripts, shown, 1);
        assert_eq!(
            as_eval(&mut scripts, asked, 2),
            Some(request_bytes(expected))
        );
    }
}

#[test]
fn a_primary_that_was_shown_it_is_believed() {
    let mut scripts = Scripts::default();
    let asked = ["EVALSHA", ONE_SHA, "0"];
    learn(&mut scripts, &["EVAL", ONE, "0"], 3);
    assert_eq!(as_eval(&mut scripts, &asked, 3), None);
    assert_eq!(as_eval(&mut scripts, &asked, 2), None, "an older link");
    assert!(as_eval(&mut scripts, &asked, 4).is_some());
    // EVALSHA shows nobody a body.
    learn(&mut scripts, &asked, 4);
    assert!(as_eval(&mut scripts, &asked, 4).is_some());
    learn(&mut scripts, &["EVAL", ONE, "0"], 4);
    assert_eq!(as_eval(&mut scripts, &asked, 4), None);
    // What an older link still carries does not make it forgotten.
    learn(&mut scripts, &["SCRIPT", "LOAD", ONE], 3);
    assert_eq!(as_eval(&mut scripts, &asked, 4), None);
}

#[test]
fn what_is_no_evalsha_or_can_t_be_read_stays_as_it_is() {
    let mut scripts = Scripts::default();
    learn(&mut scripts, &["EVAL", ONE, "0"], 1);
    for words in [
        &["EVAL", ONE, "0"][..],
        &["EVALSHA", ONE_SHA],
        &["EVALSHA"],
        &["EVALSHA", "x", "0"],
        &["FCALL", ONE_SHA, "0"],
        &["GET", ONE_SHA],
        &[],
    ] {
        assert_eq!(as_eval(&mut scripts, words, 2), None, "{words:?}");
    }
}

#[test]
fn requests_that_show_no_body_are_not_learned() {
    for words in [
        &["EVAL", ONE][..],
        &["EVAL"],
        &["SCRIPT", "LOAD"],
        &["SCRIPT", "LOAD", ONE, "x"],
        &["SCRIPT", "EXISTS", ONE],
        &["FUNCTION", "LOAD", ONE],
        &["EVALSHA", ONE, "0"],
        &["SET", ONE, "0"],
        &[],
    ] {
        let mut scripts = Scripts::default();
        learn(&mut scripts, words, 1);
        assert!(scripts.is_empty(), "{words:?}");
    }
}

#[test]
fn a_flush_makes_it_forget_and_one_that_is_refused_does_not() {
    for (words, is_flush) in [
        (&["SCRIPT", "FLUSH"][..], true),
        (&["script", "flush", "async"], true),
        (&["SCRIPT", "FLUSH", "SYNC"], true),
        (&["SCRIPT", "FLUSH", "NOW"], false),
        (&["SCRIPT", "FLUSH", "SYNC", "ASYNC"], false),
        (&["SCRIPT", "KILL"], false),
        (&["FLUSHALL"], false),
        (&["FUNCTION", "FLUSH"], false),
    ] {
        let mut scripts = Scripts::default();
        learn(&mut scripts, &["EVAL", ONE, "0"], 1);
        learn(&mut scripts, words, 1);
        assert_eq!(scripts.is_empty(), is_flush, "{words:?}");
        assert_eq!(scripts.bytes(), if is_flush { 0 } else { ONE.len() });
    }
}

#[test]
fn the_least_recently_named_goes_first() {
    let mut scripts = Scripts::default();
    let body = |number: usize| format!("return {number}");
    let sha = |number: usize| sha_of(&body(number));
    for number in 0..SCRIPTS_MAX {
        learn(&mut scripts, &["EVAL", &body(number), "0"], 1);
    }
    // A script that is only ever named by EVALSHA is in use.
    learn(&mut scripts, &["EVALSHA", &sha(0), "0"], 1);
    learn(&mut scripts, &["EVAL", &body(SCRIPTS_MAX), "0"], 1);
    assert_eq!(scripts.len(), SCRIPTS_MAX);
    assert!(as_eval(&mut scripts, &["EVALSHA", &sha(0), "0"], 2).is_some());
    assert_eq!(as_eval(&mut scripts, &["EVALSHA", &sha(1), "0"], 2), None);
    assert!(as_eval(&mut scripts, &["EVALSHA", &sha(2), "0"], 2).is_some());
}

#[test]
fn bytes_are_bounded_and_a_body_past_them_is_not_remembered() {
    let mut scripts = Scripts::default();
    let body = |letter: &str, length: usize| letter.repeat(length);
    learn(&mut scripts, &["EVAL", &body("a", BYTES_MAX / 2), "0"], 1);
    learn(&mut scripts, &["EVAL", &body("b", BYTES_MAX / 2), "0"], 1);
    assert_eq!((scripts.len(), scripts.bytes()), (2, BYTES_MAX));
    learn(&mut scripts, &["EVAL", &body("c", BYTES_MAX + 1), "0"], 1);
    assert_eq!(scripts.len(), 2, "it drives nobody out");
    learn(&mut scripts, &["EVAL", "c", "0"], 1);
    assert_eq!((scripts.len(), scripts.bytes()), (2, BYTES_MAX / 2 + 1));
    learn(&mut scripts, &["EVAL", &body("d", BYTES_MAX), "0"], 1);
    assert_eq!((scripts.len(), scripts.bytes()), (1, BYTES_MAX));
}

#[test]
fn the_answer_of_a_server_that_does_not_know_it() {
    assert!(is_unknown(
        b"-NOSCRIPT No matching script. Please use EVAL.\r\n"
    ));
    for reply in [
        &b"-ERR NOSCRIPT \r\n"[..],
        b"$9\r\nNOSCRIPT \r\n",
        b":1\r\n",
        b"",
    ] {
        assert!(!is_unknown(reply));
    }
}

/// What may happen to a script, by its number.
#[derive(Clone, Debug)]
enum Step {
    Shown(usize),
    Named(usize),
    Asked(usize),
    Flushed,
    Switched,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // More scripts than are remembered, so that some go.
    let script = 0..SCRIPTS_MAX + 40;
    let step = prop_oneof![
        8 => script.clone().prop_map(Step::Shown),
        3 => script.clone().prop_map(Step::Named),
        4 => script.prop_map(Step::Asked),
        1 => Just(Step::Switched),
    ];
    let step = prop_oneof![400 => step, 1 => Just(Step::Flushed)];
    proptest::collection::vec(step, 0..1500)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// A list, searched from its end, tells the same.
    #[test]
    fn the_same_as_a_plain_list(steps in steps()) {
        let mut scripts = Scripts::default();
        let mut list: Vec<(usize, u64)> = Vec::new();
        let mut generation = 1;
        for step in steps {
            match step {
                Step::Shown(number) => {
                    learn(&mut scripts, &["EVAL", &format!("return {number}"), "0"], generation);
                    list.retain(|(known, _)| *known != number);
                    list.push((number, generation));
                    if list.len() > SCRIPTS_MAX {
                        list.remove(0);
                    }
                }
                Step::Named(number) => {
                    let sha = sha_of(&format!("return {number}"));
                    learn(&mut scripts, &["EVALSHA", &sha, "0"], generation);
                    if let Some(place) = list.iter().position(|(known, _)| *known == number) {
                        let script = list.remove(place);
                        list.push(script);
                    }
                }
                Step::Asked(number) => {
                    let body = format!("return {number}");
                    let asked = as_eval(&mut scripts, &["EVALSHA", &sha_of(&body), "0"], generation);
                    let place = list.iter().position(|(known, _)| *known == number);
                    let script = place.map(|place| list.remove(place));
                    list.extend(script);
                    let expected = script
                        .filter(|(_, shown)| *shown < generation)
                        .map(|_| request_bytes(&["EVAL", &body, "0"]));
                    prop_assert_eq!(asked, expected);
                }
                Step::Flushed => {
                    learn(&mut scripts, &["SCRIPT", "FLUSH"], generation);
                    list.clear();
                }
                Step::Switched => generation += 1,
            }
            let bytes = list.iter().map(|(number, _)| format!("return {number}").len());
            prop_assert_eq!(scripts.bytes(), bytes.sum::<usize>());
            prop_assert_eq!((scripts.len(), scripts.by_use.len()), (list.len(), list.len()));
        }
    }
}
