//! One question to the Sentinels, for who does not watch them.

use std::time::Duration;

use redis::cmd;

use super::link::{Link, Patience};
use super::reply;
use crate::config::Sentinels;
use crate::seam::Dial;

/// A person waits.
const PATIENCE: Patience = Patience {
    open: Duration::from_secs(1),
    reply: Duration::from_secs(1),
};

/// Asks one after the other after which time they take the primary for down; `None` where none of them says.
pub async fn down_after(sentinels: &Sentinels, dial: &dyn Dial) -> Option<Duration> {
    let mut master = cmd("SENTINEL");
    master.arg("MASTER").arg(&sentinels.primary_name);
    for address in &sentinels.addresses {
        let opened = Link::open(dial, address, &sentinels.credentials, PATIENCE).await;
        let Ok((mut link, driver)) = opened else {
            continue;
        };
        let answer = tokio::select! {
            answer = link.ask(&master) => answer.ok(),
            () = driver => None,
        };
        let told = answer.and_then(|answer| reply::down_after(&reply::fields(&answer)?));
        if told.is_some() {
            return told;
        }
    }
    None
}
