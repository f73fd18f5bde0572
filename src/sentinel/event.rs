//! What Sentinels publish: pure.
//!
//! Events of other primaries that the same Sentinels watch are left out here, by name.
//! Source: redis `src/sentinel.c`, `sentinelEvent`: `<type> <name> <ip> <port> @ <primary> <ip> <port>`, where the part
//! from `@` on is missing when the instance is the primary itself.

use crate::seam::HostPort;

/// The channels that tell something about a primary or its failover.
pub const CHANNELS: &[&str] = &[
    "+sdown",
    "-sdown",
    "+odown",
    "-odown",
    "+try-failover",
    "+elected-leader",
    "+failover-detected",
    "+failover-state-select-slave",
    "+selected-slave",
    "+failover-state-send-slaveof-noone",
    "+promoted-slave",
    "+failover-state-reconf-slaves",
    "+failover-end",
    "+failover-end-for-timeout",
    "-failover-abort-not-elected",
    "-failover-abort-no-good-slave",
    "-failover-abort-slave-timeout",
    "-failover-abort-master-is-slave",
    "-failover-abort-master-timeout",
    "+config-update-from",
    "+switch-master",
    "+reboot",
    "+convert-to-slave",
    "+slave",
    "+sentinel",
    "+tilt",
    "-tilt",
];

/// One thing that a Sentinel published about the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// This Sentinel gets no answer of the instance.
    SubjectivelyDown {
        /// Whether it is the primary.
        primary: bool,
        /// The instance.
        address: HostPort,
    },
    /// It answers again.
    SubjectivelyUp {
        /// Whether it is the primary.
        primary: bool,
        /// The instance.
        address: HostPort,
    },
    /// A quorum gets no answer of the primary.
    ObjectivelyDown,
    /// It answers again.
    ObjectivelyUp,
    /// A failover of the primary at this address begins: the promotion is a fraction of a second away.
    TryFailover(HostPort),
    /// This Sentinel leads it.
    ElectedLeader,
    /// A failover is before its promotion.
    PromotionAhead,
    /// Another Sentinel's failover was noticed, or one has promoted and goes on.
    FailoverUnderWay,
    /// This replica will be promoted.
    SelectedReplica(HostPort),
    /// This replica is the primary now.
    PromotedReplica(HostPort),
    /// The failover is over, all replicas follow the new primary or were given up.
    FailoverEnded,
    /// The failover was called off: the old primary stays.
    FailoverAborted(Abort),
    /// A newer configuration was learned from another Sentinel.
    ConfigUpdated,
    /// The primary's address changed.
    Switched {
        /// The old one.
        from: HostPort,
        /// The new one.
        to: HostPort,
    },
    /// An instance has another run id: it restarted.
    Rebooted(HostPort),
    /// A former primary is made a replica.
    Demoted(HostPort),
    /// A replica was found.
    Replica(HostPort),
    /// Another Sentinel was found.
    Sentinel(HostPort),
    /// The Sentinel does not trust its clock for a while.
    TiltEntered,
    /// It does again.
    TiltLeft,
}

/// Why a failover was called off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// Too few votes.
    NotElected,
    /// No replica is fit.
    NoGoodReplica,
    /// The replica did not turn in time.
    ReplicaTimeout,
    /// The primary is a replica meanwhile.
    PrimaryIsReplica,
    /// The primary did not hand over in time (Valkey's coordinated failover).
    PrimaryTimeout,
}

impl Event {
    /// Tells whether the primary may be about to change: ask everybody, at once and often.
    pub fn is_urgent(&self) -> bool {
        match self {
            Self::SubjectivelyDown { primary, .. } | Self::SubjectivelyUp { primary, .. } => {
                *primary
            }
            Self::ObjectivelyDown
            | Self::ObjectivelyUp
            | Self::TryFailover(_)
            | Self::ElectedLeader
            | Self::PromotionAhead
            | Self::FailoverUnderWay
            | Self::SelectedReplica(_)
            | Self::PromotedReplica(_)
            | Self::FailoverEnded
            | Self::FailoverAborted(_)
            | Self::ConfigUpdated
            | Self::Switched { .. }
            | Self::Rebooted(_)
            | Self::Demoted(_) => true,
            Self::Replica(_) | Self::Sentinel(_) | Self::TiltEntered | Self::TiltLeft => false,
        }
    }

    /// Reads what came on `channel`; `None` when it is about another primary or of a shape that we do not know.
    pub fn parse(channel: &str, text: &str, primary_name: &str) -> Option<Self> {
        match channel {
            "+tilt" => return Some(Self::TiltEntered),
            "-tilt" => return Some(Self::TiltLeft),
            "+switch-master" => return switched(text, primary_name),
            _ => {}
        }
        let instance = Instance::parse(text, primary_name)?;
        let (primary, address) = (instance.primary, instance.address);
        Some(match channel {
            "+sdown" => Self::SubjectivelyDown { primary, address },
            "-sdown" => Self::SubjectivelyUp { primary, address },
            "+odown" => Self::ObjectivelyDown,
            "-odown" => Self::ObjectivelyUp,
            "+try-failover" => Self::TryFailover(address),
            "+elected-leader" => Self::ElectedLeader,
            "+failover-state-select-slave" | "+failover-state-send-slaveof-noone" => {
                Self::PromotionAhead
            }
            "+failover-detected" | "+failover-state-reconf-slaves" => Self::FailoverUnderWay,
            "+selected-slave" => Self::SelectedReplica(address),
            "+promoted-slave" => Self::PromotedReplica(address),
            "+failover-end" | "+failover-end-for-timeout" => Self::FailoverEnded,
            "-failover-abort-not-elected" => Self::FailoverAborted(Abort::NotElected),
            "-failover-abort-no-good-slave" => Self::FailoverAborted(Abort::NoGoodReplica),
            "-failover-abort-slave-timeout" => Self::FailoverAborted(Abort::ReplicaTimeout),
            "-failover-abort-master-is-slave" => Self::FailoverAborted(Abort::PrimaryIsReplica),
            "-failover-abort-master-timeout" => Self::FailoverAborted(Abort::PrimaryTimeout),
            "+config-update-from" => Self::ConfigUpdated,
            "+reboot" => Self::Rebooted(address),
            "+convert-to-slave" => Self::Demoted(address),
            "+slave" => Self::Replica(address),
            "+sentinel" => Self::Sentinel(address),
            _ => return None,
        })
    }
}

struct Instance {
    primary: bool,
    address: HostPort,
}

impl Instance {
    fn parse(text: &str, primary_name: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        let [kind, name, host, port, rest @ ..] = words.as_slice() else {
            return None;
        };
        let primary = *kind == "master";
        let of = match rest {
            ["@", of, ..] => of,
            _ => name,
        };
        let address = host_port(host, port)?;
        (*of == primary_name).then_some(Self { primary, address })
    }
}

fn switched(text: &str, primary_name: &str) -> Option<Event> {
    let words: Vec<&str> = text.split(' ').collect();
    let [name, old_host, old_port, host, port] = words.as_slice() else {
        return None;
    };
    (*name == primary_name).then_some(Event::Switched {
        from: host_port(old_host, old_port)?,
        to: host_port(host, port)?,
    })
}

/// Reads a host and a port as Sentinels write them.
pub(super) fn host_port(host: &str, port: &str) -> Option<HostPort> {
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty()).then(|| HostPort {
        host: host.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> HostPort {
        let (host, port) = text.rsplit_once(':').unwrap();
        host_port(host, port).unwrap()
    }

    #[test]
    fn every_event_is_read() {
        let primary = "master mymaster 10.0.0.1 6379";
        let replica = "slave 10.0.0.2:6379 10.0.0.2 6379 @ mymaster 10.0.0.1 6379";
        let cases = [
            (
                "+odown",
                "master mymaster 10.0.0.1 6379 #quorum 2/2",
                Event::ObjectivelyDown,
            ),
            (
                "+try-failover",
                primary,
                Event::TryFailover(at("10.0.0.1:6379")),
            ),
            ("+elected-leader", primary, Event::ElectedLeader),
            (
                "+sdown",
                primary,
                Event::SubjectivelyDown {
                    primary: true,
                    address: at("10.0.0.1:6379"),
                },
            ),
            (
                "-sdown",
                replica,
                Event::SubjectivelyUp {
                    primary: false,
                    address: at("10.0.0.2:6379"),
                },
            ),
            (
                "+selected-slave",
                replica,
                Event::SelectedReplica(at("10.0.0.2:6379")),
            ),
            (
                "+promoted-slave",
                replica,
                Event::PromotedReplica(at("10.0.0.2:6379")),
            ),
            (
                "+switch-master",
                "mymaster 10.0.0.1 6379 10.0.0.2 6380",
                Event::Switched {
                    from: at("10.0.0.1:6379"),
                    to: at("10.0.0.2:6380"),
                },
            ),
            (
                "-failover-abort-no-good-slave",
                primary,
                Event::FailoverAborted(Abort::NoGoodReplica),
            ),
            (
                "+config-update-from",
                "sentinel 0abc 10.0.0.9 26379 @ mymaster 10.0.0.1 6379",
                Event::ConfigUpdated,
            ),
            ("+tilt", "#tilt mode entered", Event::TiltEntered),
        ];
        for (channel, text, expected) in cases {
            assert_eq!(
                Event::parse(channel, text, "mymaster"),
                Some(expected),
                "{channel} {text}"
            );
            assert!(CHANNELS.contains(&channel));
        }
        // Each channel that we subscribe to means something.
        for channel in CHANNELS
            .iter()
            .filter(|channel| **channel != "+switch-master")
        {
            assert!(
                Event::parse(channel, replica, "mymaster").is_some(),
                "{channel}"
            );
        }
    }

    #[test]
    fn what_is_about_another_primary_or_odd_is_left_out() {
        for (channel, text) in [
            ("+try-failover", "master other 10.0.0.1 6379"),
            (
                "+slave",
                "slave mymaster 10.0.0.2 6379 @ other 10.0.0.1 6379",
            ),
            ("+switch-master", "other 10.0.0.1 6379 10.0.0.2 6380"),
            ("+switch-master", "mymaster 10.0.0.1 6379"),
            ("+odown", "master mymaster 10.0.0.1 0"),
            ("+odown", ""),
            ("+new-thing", "master mymaster 10.0.0.1 6379"),
        ] {
            assert_eq!(
                Event::parse(channel, text, "mymaster"),
                None,
                "{channel} {text}"
            );
        }
    }
}
