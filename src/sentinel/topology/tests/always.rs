//! What holds for every case.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use super::given::{at, lineage, named, node, sentinels};
use crate::sentinel::topology::{
    Continuity, Decision, Epoch, Lineage, Named, Node, Nodes, Role, Selected, SentinelView,
    Suspect, SwitchReason, Topology, choose,
};

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
            early: false,
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
    let selected = prop::collection::btree_set(prop::sample::select(HOSTS), 0..2);
    let cases = (any_case(), selected);
    check(
        "switch",
        &cases,
        |((views, list, current, looked), selected)| {
            let sentinels = sentinels(&views);
            let nodes: Nodes = HOSTS.iter().map(|host| at(host)).zip(list).collect();
            let selected: Selected = selected.into_iter().map(at).collect();
            let decision = choose(
                &sentinels,
                &nodes,
                current.as_ref(),
                looked.as_ref(),
                &selected,
            );
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
            if topology.early {
                // Not named by a majority yet: selected, and a true heir.
                let current = current.expect("an heir needs somebody to inherit from");
                prop_assert!(selected.contains(&topology.primary));
                prop_assert_eq!(*continuity, Continuity::Heir);
                prop_assert_eq!(topology.epoch, current.epoch);
                prop_assert_ne!(&topology.primary, &current.primary);
                return Ok(());
            }
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
        },
    );
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
            &Selected::new(),
        );
        if let Decision::Keep(kept) = decision {
            let current = current.expect("nothing can be kept at the start");
            prop_assert_eq!(&kept.primary, &current.primary);
            prop_assert!(kept.epoch >= current.epoch);
            if let (Some(before), Some(now)) = (&current.lineage, &kept.lineage) {
                let is_renamed = now.replid2.is_none() && now.offset >= before.offset;
                prop_assert!(before.replid == now.replid || is_renamed);
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
                &Selected::new(),
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
                &Selected::new(),
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
            &Selected::new(),
        );
        if let Decision::Switch { topology, .. } = decision {
            prop_assert_eq!(topology.primary, at("a"));
            prop_assert!(topology.epoch >= Epoch(5));
        }
        Ok(())
    });
}
