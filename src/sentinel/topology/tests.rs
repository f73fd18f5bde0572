//! The choice, case by case, and what holds for every case.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use super::*;

fn at(host: &str) -> HostPort {
    HostPort {
        host: host.into(),
        port: 6379,
    }
}

/// A history of the process `host` that continues `replid2`.
fn lineage(run_id: &str, replid: &str, replid2: Option<&str>) -> Lineage {
    Lineage {
        run_id: run_id.into(),
        replid: replid.into(),
        replid2: replid2.map(str::to_owned),
        second_offset: if replid2.is_some() { 100 } else { -1 },
        offset: 1000,
    }
}

fn node(role: Role, lineage: Option<Lineage>) -> Option<Node> {
    Some(Node {
        role,
        lineage,
        link_up: true,
        offset: Some(1000),
        replicas: Vec::new(),
    })
}

fn named(host: &str, epoch: u64) -> Named {
    Named {
        address: at(host),
        epoch: Epoch(epoch),
        run_id: None,
        id: None,
        tilt: false,
        subjectively_down: false,
        objectively_down: false,
        failover: false,
    }
}

fn says(host: &str, epoch: u64) -> SentinelView {
    SentinelView::Named(named(host, epoch))
}

fn tilted(host: &str, epoch: u64) -> SentinelView {
    SentinelView::Named(Named {
        tilt: true,
        ..named(host, epoch)
    })
}

fn sentinels(views: &[SentinelView]) -> Sentinels {
    let names = (0..).map(|index| at(&format!("sentinel-{index}")));
    names.zip(views.iter().cloned()).collect()
}

/// Primary `a` with history A (process a1) and its replica `b` (process b1), as they were before.
fn current() -> Topology {
    Topology {
        primary: at("a"),
        epoch: Epoch(5),
        lineage: Some(lineage("a1", "A", Some("0"))),
    }
}

fn healthy_a() -> Option<Node> {
    node(Role::Primary, Some(lineage("a1", "A", Some("0"))))
}

fn promoted_b() -> Option<Node> {
    node(Role::Primary, Some(lineage("b1", "B", Some("A"))))
}

fn nodes(list: &[(&str, Option<Node>)]) -> Nodes {
    list.iter()
        .map(|(host, node)| (at(host), node.clone()))
        .collect()
}

/// A decision in one line: `switch b 6 failover heir`.
fn line(decision: &Decision) -> String {
    match decision {
        Decision::Keep(topology) => format!("keep {} {}", topology.primary.host, topology.epoch),
        Decision::Switch {
            topology,
            reason,
            continuity,
        } => format!(
            "switch {} {} {} {}",
            topology.primary.host,
            topology.epoch,
            reason.as_str(),
            continuity.as_str()
        ),
        Decision::LookAgain(suspect) => {
            format!(
                "look {} {} {}",
                suspect.address.host, suspect.run_id, suspect.replid
            )
        }
        Decision::Wait(waiting) => format!("wait: {waiting}"),
        Decision::Reject(rejection) => format!("reject: {rejection}"),
    }
}

fn chosen(
    views: &[SentinelView],
    list: &[(&str, Option<Node>)],
    current: Option<&Topology>,
) -> String {
    line(&choose(&sentinels(views), &nodes(list), current, None))
}

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

#[test]
fn broken_lineage_at_the_same_address_is_accepted_at_a_second_look() {
    let restarts = [
        // Empty; with an RDB file (7.0 and later continue its history); the same process that lost its backlog.
        (lineage("a2", "C", None), "broken"),
        (lineage("a2", "C", Some("A")), "heir"),
        (lineage("a1", "C", None), "broken"),
    ];
    for (now, word) in restarts {
        let list = nodes(&[("a", node(Role::Primary, Some(now.clone())))]);
        let views = sentinels(&[says("a", 5), says("a", 5), SentinelView::Unreachable]);
        let known = current();
        let Decision::LookAgain(suspect) = choose(&views, &list, Some(&known), None) else {
            panic!("accepted at once: {now:?}");
        };
        let other = Suspect {
            run_id: "a3".into(),
            ..suspect.clone()
        };
        let again = choose(&views, &list, Some(&known), Some(&other));
        assert_eq!(
            again,
            Decision::LookAgain(suspect.clone()),
            "restarted once more"
        );
        assert_eq!(
            line(&choose(&views, &list, Some(&known), Some(&suspect))),
            format!("switch a 5 lineage_break {word}")
        );
        // One Sentinel already knows of a failover.
        let views = sentinels(&[says("a", 5), says("a", 5), says("b", 6)]);
        assert_eq!(
            line(&choose(&views, &list, Some(&known), Some(&suspect))),
            "wait: the Sentinels do not agree yet"
        );
    }
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
    let first = choose(&views, &list, Some(&known), None);
    assert_eq!(line(&first), "look b b1 D");
    let Decision::LookAgain(suspect) = first else {
        unreachable!()
    };
    assert_eq!(
        line(&choose(&views, &list, Some(&known), Some(&suspect))),
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
    let Decision::LookAgain(suspect) = choose(&views, &list, Some(&known), None) else {
        panic!("accepted at once");
    };
    assert_eq!(
        line(&choose(&views, &list, Some(&known), Some(&suspect))),
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

const HOSTS: &[&str] = &["a", "b", "c"];
const IDS: &[&str] = &["A", "B", "C", "D"];

fn any_lineage() -> impl Strategy<Value = Lineage> {
    let id = || prop::sample::select(IDS);
    (id(), id(), prop::option::of(id()))
        .prop_map(|(run, replid, replid2)| lineage(run, replid, replid2))
}

fn any_node() -> impl Strategy<Value = Option<Node>> {
    let role = prop_oneof![Just(Role::Primary), Just(Role::Replica)];
    let node =
        (role, prop::option::of(any_lineage())).prop_map(|(role, lineage)| node(role, lineage));
    prop_oneof![1 => Just(None), 4 => node]
}

fn any_named() -> impl Strategy<Value = Named> {
    let run_id = prop::option::of(prop::sample::select(IDS));
    (prop::sample::select(HOSTS), 3..8_u64, run_id, any::<bool>()).prop_map(
        |(host, epoch, run_id, tilt)| Named {
            tilt,
            run_id: run_id.map(str::to_owned),
            ..named(host, epoch)
        },
    )
}

fn any_view() -> impl Strategy<Value = SentinelView> {
    prop_oneof![
        1 => Just(SentinelView::Pending),
        1 => Just(SentinelView::Unreachable),
        1 => Just(SentinelView::Unknown),
        6 => any_named().prop_map(SentinelView::Named),
    ]
}

type Case = (
    Vec<SentinelView>,
    Vec<Option<Node>>,
    Option<Topology>,
    Option<Suspect>,
);

fn any_case() -> impl Strategy<Value = Case> {
    let topology = (
        prop::sample::select(HOSTS),
        3..8_u64,
        prop::option::of(any_lineage()),
    )
        .prop_map(|(host, epoch, lineage)| Topology {
            primary: at(host),
            epoch: Epoch(epoch),
            lineage,
        });
    let id = || prop::sample::select(IDS);
    let suspect =
        (prop::sample::select(HOSTS), id(), id()).prop_map(|(host, run_id, replid)| Suspect {
            address: at(host),
            run_id: run_id.into(),
            replid: replid.into(),
        });
    (
        prop::collection::vec(any_view(), 0..6),
        prop::collection::vec(any_node(), HOSTS.len()),
        prop::option::of(topology),
        prop::option::of(suspect),
    )
}

/// Runs a property with a seed that is printed, and taken from `GRIPFAST_TEST_SEED` when that is set.
fn check<S: Strategy>(
    name: &str,
    strategy: &S,
    property: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    use std::hash::{BuildHasher, RandomState};
    let seed = std::env::var("GRIPFAST_TEST_SEED").ok();
    let seed = seed.and_then(|text| text.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| RandomState::new().hash_one(name) % 1_000_000_000);
    eprintln!("{name}: GRIPFAST_TEST_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: 4_000,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    if let Err(error) = TestRunner::new_with_rng(config, rng).run(strategy, property) {
        panic!("{name}: GRIPFAST_TEST_SEED={seed}: {error}");
    }
}

#[test]
fn whatever_is_said_a_switch_is_to_a_primary_that_a_majority_names_at_no_lower_epoch() {
    check("switch", &any_case(), |(views, list, current, looked)| {
        let sentinels = sentinels(&views);
        let nodes: Nodes = HOSTS.iter().map(|host| at(host)).zip(list).collect();
        let decision = choose(&sentinels, &nodes, current.as_ref(), looked.as_ref());
        let Decision::Switch {
            topology,
            reason,
            continuity,
        } = &decision
        else {
            return Ok(());
        };
        let node = nodes[&topology.primary].as_ref();
        prop_assert!(node.is_some_and(|node| node.role == Role::Primary));
        let votes: Vec<&Named> = sentinels
            .values()
            .filter_map(|view| match view {
                SentinelView::Named(named) => Some(named),
                _ => None,
            })
            .collect();
        let weight = |votes: &mut dyn Iterator<Item = &&Named>| -> u64 {
            votes.map(|vote| vote.weight()).sum()
        };
        let total = weight(&mut votes.iter());
        let vouched = weight(&mut votes.iter().filter(|vote| vote.epoch >= topology.epoch));
        prop_assert!(vouched * 2 > total, "its epoch has no majority");
        prop_assert!(votes.iter().any(|vote| vote.address == topology.primary));
        let Some(current) = current else {
            prop_assert_eq!(*reason, SwitchReason::Start);
            return Ok(());
        };
        prop_assert!(topology.epoch >= current.epoch);
        let confirmed = looked.is_some_and(|looked| looked.address == topology.primary);
        let fits = !matches!(continuity, Continuity::Broken);
        prop_assert!(fits || confirmed, "broken, and seen once only");
        if topology.epoch == current.epoch && topology.primary != current.primary {
            prop_assert!(matches!(continuity, Continuity::Same | Continuity::Heir));
        }
        Ok(())
    });
}

#[test]
fn whatever_is_said_a_kept_topology_is_the_known_one_or_newer() {
    check("keep", &any_case(), |(views, list, current, looked)| {
        let nodes: Nodes = HOSTS.iter().map(|host| at(host)).zip(list).collect();
        let decision = choose(
            &sentinels(&views),
            &nodes,
            current.as_ref(),
            looked.as_ref(),
        );
        if let Decision::Keep(kept) = decision {
            let current = current.expect("nothing can be kept at the start");
            prop_assert_eq!(&kept.primary, &current.primary);
            prop_assert!(kept.epoch >= current.epoch);
            if let (Some(before), Some(now)) = (&current.lineage, &kept.lineage) {
                prop_assert_eq!(&before.replid, &now.replid);
                prop_assert_eq!(&before.run_id, &now.run_id);
            }
        }
        Ok(())
    });
}

#[test]
fn order_of_the_sentinels_does_not_matter() {
    let cases = (any_case(), any::<prop::sample::Index>());
    check(
        "order",
        &cases,
        |((mut views, list, current, looked), index)| {
            let nodes: Nodes = HOSTS.iter().map(|host| at(host)).zip(list).collect();
            let before = choose(
                &sentinels(&views),
                &nodes,
                current.as_ref(),
                looked.as_ref(),
            );
            if !views.is_empty() {
                let by = index.index(views.len());
                views.rotate_left(by);
            }
            let after = choose(
                &sentinels(&views),
                &nodes,
                current.as_ref(),
                looked.as_ref(),
            );
            prop_assert_eq!(before, after);
            Ok(())
        },
    );
}

#[test]
fn minority_of_liars_cannot_move_us() {
    let cases = (any_case(), prop::collection::vec(any_view(), 0..3));
    check("liars", &cases, |((_, list, current, looked), lies)| {
        let nodes: Nodes = HOSTS.iter().map(|host| at(host)).zip(list).collect();
        let truth = Named {
            run_id: Some("T".into()),
            ..named("a", 5)
        };
        let mut views = vec![SentinelView::Named(truth); lies.len() + 1];
        views.extend(lies);
        let decision = choose(
            &sentinels(&views),
            &nodes,
            current.as_ref(),
            looked.as_ref(),
        );
        if let Decision::Switch { topology, .. } = decision {
            prop_assert_eq!(topology.primary, at("a"));
            prop_assert!(topology.epoch >= Epoch(5));
        }
        Ok(())
    });
}
