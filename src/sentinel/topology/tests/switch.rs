//! When a primary is taken, kept and left: majority, epoch and role.

use super::given::{
    at, chosen, current, healthy_a, line, lineage, named, node, nodes, promoted_b, says, sentinels,
};
use crate::sentinel::topology::{
    Epoch, Named, Node, Role, Selected, SentinelView, Topology, choose, is_superseded,
};

#[test]
fn first_primary_needs_a_majority_and_a_node_that_agrees() {
    use SentinelView::{Pending, Unknown, Unreachable};
    let replica = node(Role::Replica, Some(lineage("a1", "A", None)));
    let silent = "wait: a:6379, which the Sentinels name, does not answer";
    type Row<'a> = (&'a [SentinelView], &'a [(&'a str, Option<Node>)], &'a str);
    let cases: &[Row] = &[
        (&[], &[], "wait: no Sentinel answers"),
        (&[Pending, Unreachable], &[], "wait: no Sentinel answers"),
        (
            &[Unknown, Unreachable],
            &[],
            "wait: the Sentinels do not know a primary of that name",
        ),
        (
            &[says("a", 1), says("b", 1)],
            &[("a", healthy_a())],
            "wait: the Sentinels do not agree yet",
        ),
        (&[says("a", 1)], &[], silent),
        (&[says("a", 1)], &[("a", None)], silent),
        (
            &[says("a", 1)],
            &[("a", replica)],
            "wait: a:6379, which the Sentinels name, is not a primary yet",
        ),
        (
            &[says("a", 1)],
            &[("a", healthy_a())],
            "switch a 1 start first",
        ),
        // One that does not know the name, or cannot be asked, has no vote.
        (
            &[says("a", 1), Unknown, Unreachable, Pending],
            &[("a", healthy_a())],
            "switch a 1 start first",
        ),
        // A node that hides its history can still be the first.
        (
            &[says("a", 1)],
            &[("a", node(Role::Primary, None))],
            "switch a 1 start first",
        ),
    ];
    for (views, list, expected) in cases {
        assert_eq!(chosen(views, list, None), *expected, "{views:?} {list:?}");
    }
}

#[test]
fn primary_stays_while_nothing_better_is_named() {
    let list = [("a", healthy_a())];
    let cases: &[(&[SentinelView], &str)] = &[
        (&[says("a", 5), says("a", 5), says("a", 5)], "keep a 5"),
        // A higher epoch of the same node and history is taken over.
        (&[says("a", 6), says("a", 6), says("a", 5)], "keep a 6"),
        (&[says("a", 6), says("a", 5), says("a", 5)], "keep a 5"),
        // Sentinels that forgot their epoch (SENTINEL REMOVE and MONITOR).
        (&[says("a", 0), says("a", 0)], "keep a 5"),
    ];
    for (views, expected) in cases {
        assert_eq!(
            chosen(views, &list, Some(&current())),
            *expected,
            "{views:?}"
        );
    }
    // That it does not answer is not news for us: Sentinels decide.
    let down = [("a", None)];
    assert_eq!(chosen(&[says("a", 5)], &down, Some(&current())), "keep a 5");
}

#[test]
fn switch_needs_higher_epoch_majority_role_and_lineage() {
    let a = healthy_a();
    let replica = node(Role::Replica, Some(lineage("b1", "A", None)));
    let silent = "wait: b:6379, which the Sentinels name, does not answer";
    let early = "wait: b:6379, which the Sentinels name, is not a primary yet";
    let (stale, news) = (says("a", 5), says("b", 6));
    type Row<'a> = (&'a [SentinelView], Option<Node>, Option<Node>, &'a str);
    let cases: &[Row] = &[
        // The leader alone knows at first.
        (
            &[news.clone(), stale.clone(), stale.clone()],
            a.clone(),
            promoted_b(),
            "keep a 5",
        ),
        (
            &[news.clone(), stale.clone()],
            a.clone(),
            promoted_b(),
            "wait: the Sentinels do not agree yet",
        ),
        (
            &[news.clone(), news.clone(), stale.clone()],
            a.clone(),
            promoted_b(),
            "switch b 6 switchover heir",
        ),
        (
            &[news.clone(), news.clone(), stale.clone()],
            None,
            promoted_b(),
            "switch b 6 failover heir",
        ),
        // Two failovers, one of which some have not heard of: the address is clear.
        (
            &[says("b", 7), says("b", 6), stale.clone()],
            None,
            promoted_b(),
            "switch b 6 failover heir",
        ),
        (&[news.clone(), news.clone()], a.clone(), replica, early),
        (&[news.clone(), news.clone()], a.clone(), None, silent),
        (
            &[news.clone(), news.clone()],
            None,
            node(Role::Primary, None),
            "switch b 6 failover unknown",
        ),
    ];
    for (views, old, new, expected) in cases {
        let list = [("a", old.clone()), ("b", new.clone())];
        assert_eq!(
            chosen(views, &list, Some(&current())),
            *expected,
            "{views:?} {old:?} {new:?}"
        );
    }
}

#[test]
fn lower_epoch_is_never_gone_back_to() {
    let after = Topology {
        primary: at("b"),
        epoch: Epoch(6),
        lineage: Some(lineage("b1", "B", Some("A"))),
        early: false,
    };
    // The old primary restarted: writable, and all that can be reached are stale Sentinels.
    let restarted = node(Role::Primary, Some(lineage("a2", "C", None)));
    let list = [("a", restarted), ("b", promoted_b())];
    for views in [
        vec![says("a", 5)],
        vec![says("a", 5), says("a", 5), says("a", 4)],
        vec![says("a", 5), says("a", 5), says("b", 6)],
    ] {
        assert_eq!(
            chosen(&views, &list, Some(&after)),
            "reject: a:6379 at epoch 5 is not accepted: a newer epoch is known",
            "{views:?}"
        );
    }
}

#[test]
fn same_epoch_is_believed_of_an_heir_only() {
    let views = [says("b", 5), says("b", 5)];
    let stranger = node(Role::Primary, Some(lineage("b1", "X", None)));
    let rejected =
        "reject: b:6379 at epoch 5 is not accepted: another primary of the same epoch is known";
    for (b, expected) in [
        (promoted_b(), "switch b 5 failover heir"),
        (stranger, rejected),
        (node(Role::Primary, None), rejected),
    ] {
        assert_eq!(chosen(&views, &[("b", b)], Some(&current())), expected);
    }
}

fn failing_over(host: &str, epoch: u64) -> SentinelView {
    SentinelView::Named(Named {
        failover: true,
        ..named(host, epoch)
    })
}

/// A decision in one line, with these nodes selected.
fn with_selected(
    views: &[SentinelView],
    list: &[(&str, Option<Node>)],
    known: &Topology,
    selected: &[&str],
) -> String {
    let selected: Selected = selected.iter().map(|host| at(host)).collect();
    line(&choose(
        &sentinels(views),
        &nodes(list),
        Some(known),
        None,
        &selected,
    ))
}

#[test]
fn a_selected_heir_is_taken_before_the_majority_names_it() {
    let known = current();
    let old = [says("a", 5), says("a", 5), says("a", 5)];
    let replica = || node(Role::Replica, Some(lineage("b1", "A", None)));
    let stranger = || node(Role::Primary, Some(lineage("b1", "X", None)));
    for (list, selected, expected) in [
        // Selected is not promoted.
        (
            [("a", healthy_a()), ("b", replica())],
            &["b"][..],
            "keep a 5",
        ),
        (
            [("a", healthy_a()), ("b", promoted_b())],
            &["b"][..],
            "switch b 5 switchover heir",
        ),
        (
            [("a", None), ("b", promoted_b())],
            &["b"][..],
            "switch b 5 failover heir",
        ),
        // Promoted by somebody, and nobody has selected it.
        (
            [("a", healthy_a()), ("b", promoted_b())],
            &[][..],
            "keep a 5",
        ),
        // Selected, and not of our history, or it does not say.
        (
            [("a", healthy_a()), ("b", stranger())],
            &["b"][..],
            "keep a 5",
        ),
        (
            [("a", healthy_a()), ("b", node(Role::Primary, None))],
            &["b"][..],
            "keep a 5",
        ),
    ] {
        assert_eq!(
            with_selected(&old, &list, &known, selected),
            expected,
            "{list:?} {selected:?}"
        );
    }
    // A majority at a higher epoch knows better than a selection.
    let newer = [says("c", 6), says("c", 6), says("a", 5)];
    let list = [("a", healthy_a()), ("b", promoted_b()), ("c", None)];
    let expected = "wait: c:6379, which the Sentinels name, does not answer";
    assert_eq!(with_selected(&newer, &list, &known, &["b"]), expected);
}

#[test]
fn a_primary_that_hands_over_names_its_heir_itself() {
    let handing = |follows: &str, run_id: &str| {
        node(Role::Replica, Some(lineage(run_id, "B", None))).map(|node| Node {
            follows: Some(at(follows)),
            ..node
        })
    };
    let old = [says("a", 5), says("a", 5), says("a", 5)];
    for (follows, run_id, expected) in [
        ("b", "a1", "switch b 5 switchover heir"),
        (
            "c",
            "a1",
            "wait: a:6379, which the Sentinels name, is not a primary yet",
        ),
        // Another process at its address has nothing to hand over.
        (
            "b",
            "a2",
            "wait: a:6379, which the Sentinels name, is not a primary yet",
        ),
    ] {
        let list = [("a", handing(follows, run_id)), ("b", promoted_b())];
        assert_eq!(with_selected(&old, &list, &current(), &[]), expected);
    }
}

#[test]
fn who_was_taken_early_is_kept_until_the_sentinels_follow_or_it_is_given_up() {
    let known = Topology {
        primary: at("b"),
        epoch: Epoch(5),
        lineage: Some(lineage("b1", "B", Some("A"))),
        early: true,
    };
    let old = [says("a", 5), says("a", 5), says("a", 5)];
    let demoted = || node(Role::Replica, Some(lineage("b1", "B", Some("A"))));
    for (views, list, expected) in [
        (
            old.clone(),
            [("a", healthy_a()), ("b", promoted_b())],
            "keep b 5",
        ),
        (old.clone(), [("a", None), ("b", promoted_b())], "keep b 5"),
        (
            [says("b", 6), says("b", 6), says("a", 5)],
            [("a", healthy_a()), ("b", promoted_b())],
            "keep b 6",
        ),
        // The failover came to nothing: back after a second look.
        (
            old.clone(),
            [("a", healthy_a()), ("b", demoted())],
            "look a a1 A",
        ),
        // It has died, and no Sentinel is in a failover: likewise.
        (
            old.clone(),
            [("a", healthy_a()), ("b", None)],
            "look a a1 A",
        ),
        // As long as one is, it proves nothing that it does not answer.
        (
            [failing_over("a", 5), says("a", 5), says("a", 5)],
            [("a", healthy_a()), ("b", None)],
            "reject: a:6379 at epoch 5 is not accepted: another primary of the same epoch is known",
        ),
    ] {
        assert_eq!(
            with_selected(&views, &list, &known, &[]),
            expected,
            "{list:?}"
        );
    }
}

#[test]
fn a_majority_at_a_higher_epoch_supersedes_whatever_the_node_says() {
    let known = current();
    for (views, expected) in [
        ([says("b", 6), says("b", 6), says("a", 5)], true),
        ([says("b", 6), says("a", 5), says("a", 5)], false),
        ([says("a", 6), says("a", 6), says("a", 5)], false),
        ([says("b", 5), says("b", 5), says("a", 5)], false),
    ] {
        let superseded = is_superseded(&sentinels(&views), &nodes(&[]), &known);
        assert_eq!(superseded, expected, "{views:?}");
    }
}
