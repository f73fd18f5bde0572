//! Requests by chance.

use proptest::prelude::*;

use super::*;

fn some_words() -> impl Strategy<Value = Vec<String>> {
    let names = "(?i)(set|setex|getex|expire|pexpireat|restore|mset|msetnx|hset|rename|copy|persist|del|setnx)";
    let rest = prop_oneof![
        "(s:|x:)[ab]",
        "(?i)(ex|px|exat|pxat|nx|xx|gt|lt|get|keepttl|persist|ifeq|absttl|replace|freq|db)",
        "[0-9]{1,19}",
        ".{0,2}",
    ];
    (names, proptest::collection::vec(rest, 0..6)).prop_map(|(name, mut words)| {
        words.insert(0, name);
        words
    })
}

proptest! {
    #[test]
    fn a_replaced_request_is_fine_and_no_other_is_sent_in_place(
        lines in proptest::collection::vec(some_words(), 0..4),
        wall in proptest::option::of(Just(WALL)),
    ) {
        let lines: Vec<Vec<&[u8]>> = lines
            .iter()
            .map(|words| words.iter().map(String::as_bytes).collect())
            .collect();
        for rules in [warn(), enforce()] {
            let block = rules.judge_block(&lines, wall);
            prop_assert_eq!(block.len(), lines.len());
            for (words, in_block) in lines.iter().zip(&block) {
                let free = rules.judge(words, Context::Free, wall);
                let held = rules.judge(words, Context::Held, wall);
                let is_transaction = matches!(held, Verdict::Transaction { .. });
                prop_assert!(!is_transaction);
                prop_assert!(free == Verdict::Fine || held != Verdict::Fine);
                // Its neighbours only ever take a verdict away, or some of its keys.
                let has_less = matches!(in_block, Verdict::Counted(_) | Verdict::Ask { .. });
                prop_assert!(*in_block == held || *in_block == Verdict::Fine || has_less);
                for key in 0..=words.len() {
                    let _ = rules.judge_large(&words[..key], words.len() as u64, Context::Free);
                }
                if let Verdict::Replaced { request, .. } = &free {
                    prop_assert_eq!(rules.require, RequireTtl::Enforce);
                    prop_assert_eq!(&held, &free);
                    let mut found = Words::default();
                    prop_assert_eq!(parse(request, &mut found), Parsed::Whole(request.len()));
                    let again: Vec<&[u8]> =
                        (0..found.len()).map(|index| found.get(request, index).unwrap()).collect();
                    let verdict = rules.judge(&again, Context::Free, wall);
                    prop_assert_eq!(verdict, Verdict::Fine, "{:?}", show(request));
                }
            }
        }
    }

    #[test]
    fn any_replies_are_taken_apart_without_panic(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("+OK\r\n"), Just("+QUEUED\r\n"), Just("-ERR\r\n"), Just("*2\r\n"), Just("*-1\r\n"),
                Just(":1\r\n"), Just("$1\r\nx\r\n"), Just("x"), Just("*0\r\n"),
            ],
            0..8,
        )
    ) {
        let _ = exec::read(parts.concat().as_bytes(), parts.len() % 3);
    }
}
