//! Whose word counts, and how much.

use super::given::{chosen, current, healthy_a, lineage, named, node, promoted_b, says, tilted};
use crate::sentinel::topology::{Named, Role, SentinelView};

#[test]
fn sentinel_in_tilt_counts_a_third() {
    let list = [("a", None), ("b", promoted_b())];
    for (views, expected) in [
        (
            vec![says("b", 6), tilted("a", 5), tilted("a", 5)],
            "switch b 6 failover heir",
        ),
        (
            vec![tilted("b", 6), tilted("b", 6), says("a", 5)],
            "keep a 5",
        ),
        // When all of them are, the majority is one all the same.
        (
            vec![tilted("b", 6), tilted("b", 6), tilted("a", 5)],
            "switch b 6 failover heir",
        ),
    ] {
        assert_eq!(
            chosen(&views, &list, Some(&current())),
            expected,
            "{views:?}"
        );
    }
}

#[test]
fn sentinel_under_two_names_votes_once() {
    let twice = |host: &str, epoch| {
        SentinelView::Named(Named {
            id: Some("s1".into()),
            ..named(host, epoch)
        })
    };
    let views = [twice("b", 6), twice("b", 6), says("a", 5), says("a", 5)];
    let list = [("a", healthy_a()), ("b", promoted_b())];
    assert_eq!(chosen(&views, &list, Some(&current())), "keep a 5");
}

/// One lying Sentinel of three, whatever it says, changes nothing.
#[test]
fn liar_is_outvoted() {
    let evil = node(Role::Primary, Some(lineage("e1", "E", Some("A"))));
    let list = [("a", healthy_a()), ("e", evil)];
    for lie in [
        says("e", 99),
        SentinelView::Named(Named {
            run_id: Some("a1".into()),
            ..named("e", 5)
        }),
    ] {
        let truth = SentinelView::Named(Named {
            run_id: Some("a1".into()),
            ..named("a", 5)
        });
        let views = [lie, truth.clone(), truth];
        assert_eq!(chosen(&views, &list, Some(&current())), "keep a 5");
    }
}
