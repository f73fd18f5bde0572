//! Histories that break, and addresses that come back or get another name.

use super::given::{
    chosen, current, healthy_a, line, lineage, named, node, nodes, says, sentinels,
};
use crate::sentinel::topology::{
    Decision, Lineage, Named, Role, Selected, SentinelView, Suspect, Topology, choose,
};

#[test]
fn broken_lineage_at_the_same_address_is_accepted_at_a_second_look() {
    let shorter = Lineage {
        offset: 999,
        ..lineage("a1", "C", None)
    };
    let restarts = [
        // Empty; with an RDB file (7.0 and later continue its history); the same process that had another's data in between,
        // and one that says so by its offset alone.
        (lineage("a2", "C", None), "broken"),
        (lineage("a2", "C", Some("A")), "heir"),
        (lineage("a1", "C", Some("D")), "broken"),
        (shorter, "broken"),
    ];
    for (now, word) in restarts {
        let list = nodes(&[("a", node(Role::Primary, Some(now.clone())))]);
        let views = sentinels(&[says("a", 5), says("a", 5), SentinelView::Unreachable]);
        let known = current();
        let Decision::LookAgain(suspect) =
            choose(&views, &list, Some(&known), None, &Selected::new())
        else {
            panic!("accepted at once: {now:?}");
        };
        let other = Suspect {
            run_id: "a3".into(),
            ..suspect.clone()
        };
        let again = choose(&views, &list, Some(&known), Some(&other), &Selected::new());
        assert_eq!(
            again,
            Decision::LookAgain(suspect.clone()),
            "restarted once more"
        );
        assert_eq!(
            line(&choose(
                &views,
                &list,
                Some(&known),
                Some(&suspect),
                &Selected::new()
            )),
            format!("switch a 5 lineage_break {word}")
        );
        // One Sentinel already knows of a failover.
        let views = sentinels(&[says("a", 5), says("a", 5), says("b", 6)]);
        assert_eq!(
            line(&choose(
                &views,
                &list,
                Some(&known),
                Some(&suspect),
                &Selected::new()
            )),
            "wait: the Sentinels do not agree yet"
        );
    }
}

/// A restarted primary does so as soon as its replicas are back, half a second after it was accepted.
#[test]
fn the_same_process_may_give_its_history_another_name() {
    let restarted = Topology {
        lineage: Some(lineage("a2", "C", None)),
        ..current()
    };
    let renamed = lineage("a2", "D", None);
    let list = nodes(&[("a", node(Role::Primary, Some(renamed.clone())))]);
    let views = sentinels(&[says("a", 5), says("a", 5)]);
    let chosen = choose(&views, &list, Some(&restarted), None, &Selected::new());
    let Decision::Keep(kept) = chosen else {
        panic!("{}", line(&chosen));
    };
    assert_eq!(kept.lineage, Some(renamed));
    let node = list[&restarted.primary].as_ref().unwrap();
    assert!(restarted.is_still(node));
}

#[test]
fn higher_epoch_with_another_history_is_accepted_at_a_second_look() {
    // Two failovers went by unseen: b's history continues one that we never saw.
    let far = node(Role::Primary, Some(lineage("b1", "D", Some("C"))));
    let (views, list) = (
        sentinels(&[says("b", 7), says("b", 7)]),
        nodes(&[("a", None), ("b", far)]),
    );
    let known = current();
    let first = choose(&views, &list, Some(&known), None, &Selected::new());
    assert_eq!(line(&first), "look b b1 D");
    let Decision::LookAgain(suspect) = first else {
        unreachable!()
    };
    assert_eq!(
        line(&choose(
            &views,
            &list,
            Some(&known),
            Some(&suspect),
            &Selected::new()
        )),
        "switch b 7 failover broken"
    );
}

#[test]
fn address_back_at_a_higher_epoch_counts_as_a_failover() {
    let list = nodes(&[(
        "a",
        node(Role::Primary, Some(lineage("a1", "C", Some("B")))),
    )]);
    let views = sentinels(&[says("a", 7), says("a", 7)]);
    let known = current();
    let Decision::LookAgain(suspect) = choose(&views, &list, Some(&known), None, &Selected::new())
    else {
        panic!("accepted at once");
    };
    assert_eq!(
        line(&choose(
            &views,
            &list,
            Some(&known),
            Some(&suspect),
            &Selected::new()
        )),
        "switch a 7 failover broken"
    );
}

#[test]
fn demoted_primary_at_the_known_address_is_waited_for() {
    let list = [("a", node(Role::Replica, Some(lineage("a1", "B", None))))];
    assert_eq!(
        chosen(&[says("a", 5)], &list, Some(&current())),
        "wait: a:6379, which the Sentinels name, is not a primary yet"
    );
}

#[test]
fn renamed_host_is_the_same_primary() {
    let by_name = SentinelView::Named(Named {
        run_id: Some("a1".into()),
        ..named("a.internal", 5)
    });
    let by_address = SentinelView::Named(Named {
        run_id: Some("a1".into()),
        ..named("a", 5)
    });
    let list = [("a", healthy_a()), ("a.internal", healthy_a())];
    // They mean one node; as long as the votes are even the known name stays.
    let mixed = [by_name.clone(), by_address.clone()];
    assert_eq!(chosen(&mixed, &list, Some(&current())), "keep a 5");
    let most = [by_name.clone(), by_address, by_name];
    assert_eq!(
        chosen(&most, &list, Some(&current())),
        "switch a.internal 5 renamed same"
    );
}
