//! A planned failover while users are logged in and go on: they notice later answers and nothing else, those who logged out
//! stay out, and life goes on.

use super::browser::Browser;
use super::crowd::Crowd;
use super::life::{changes_its_id, lives, logs_out, nobody};
use super::store::Store;

/// Drives `two` processes of an app, which have lived through all else, through a planned failover.
pub(super) fn outlive_a_planned_failover(store: &Store, two: [u16; 2], name: &str) {
    let mut left = Browser::default();
    left.post(two[0], "/login", "gone");
    let old = left.clone();
    left.post(two[1], "/logout", "");
    let crowd = Crowd::gather(two, name);
    crowd.wait_for_a_round();
    store.switch_over();
    crowd.wait_for_a_round();
    let seen = crowd.disperse();
    eprintln!("{name}: planned failover, {seen}");
    assert_eq!(seen.failed, [""; 0]);
    assert!(store.errors() == 0.0, "the sidecar answered errors");
    for port in two {
        assert_eq!(old.clone().read(port), nobody(), "still logged out");
    }
    lives(two);
    changes_its_id(two);
    logs_out(two);
}
