//! The label values: fixed sets, so that no key, address or error text can become one.

/// Declares a label: a small enum with its texts and an index for arrays of counts.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Each value, in the order of the indices.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The texts of [`Self::ALL`].
            pub const NAMES: &[&'static str] = &[$($text),+];

            /// How many values there are: the length of an array of counts.
            pub const COUNT: usize = Self::ALL.len();

            /// Returns the text that the label carries.
            pub const fn as_str(self) -> &'static str {
                Self::NAMES[self.index()]
            }

            /// Returns the place in an array of counts, below [`Self::COUNT`].
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

label! {
    /// Which way a request goes.
    Lane {
        /// The link that many clients share for session commands.
        Tracked = "tracked",
        /// A link that many clients share for the other stateless commands.
        General = "general",
        /// A link that one client owns for a while.
        Pinned = "pinned",
        /// Answered here; there is no such link.
        Local = "local",
    }
}

impl Lane {
    /// The lanes that have links: the first of [`Self::ALL`].
    pub const LINKS: &[Self] = &[Self::Tracked, Self::General, Self::Pinned];

    /// The texts of [`Self::LINKS`].
    pub const LINK_NAMES: &[&'static str] = &["tracked", "general", "pinned"];
}

label! {
    /// Why a client was turned away at the door.
    RejectReason {
        /// `listen.clients_max` are here already.
        ClientsMax = "clients_max",
    }
}

label! {
    /// Why a client connection ended.
    CloseCause {
        /// The client closed it, or said QUIT.
        Client = "client",
        /// The client sent what is not RESP.
        ProtocolError = "protocol_error",
        /// The client left more replies unread than `listen.output_bytes_max`.
        OutputLimit = "output_limit",
        /// The server closed the link that the client owned.
        LinkKilled = "link_killed",
        /// The sidecar drained.
        Drain = "drain",
        /// The primary was lost and the client's state with it.
        UpstreamLost = "upstream_lost",
        /// The socket failed.
        Error = "error",
    }
}

label! {
    /// How a dial ended.
    DialOutcome {
        /// The connection is up and greeted.
        Ok = "ok",
        /// Refused, unreachable, timed out, or the greeting failed.
        Failed = "failed",
        /// The server did not accept the credentials.
        Auth = "auth",
    }
}

label! {
    /// An error that the sidecar itself answers.
    ErrorKind {
        /// No primary to send it to; not executed.
        Masterdown = "masterdown",
        /// Sent, then the link was lost: it may have been executed.
        OutcomeUnknown = "outcome_unknown",
        /// All pinned links are taken; not executed.
        NoPinnedLink = "no_pinned_link",
        /// Executed, but not known to be at as many replicas as it should.
        NotReplicated = "not_replicated",
    }
}

label! {
    /// What became of a read of a session.
    SessionRead {
        /// Answered from the cache.
        Hit = "hit",
        /// Answered from the cache while requests are held.
        StaleHit = "stale_hit",
        /// Answered by a replica while requests are held.
        Replica = "replica",
        /// Answered with the reply to the same read of another client, which was under way.
        Coalesced = "coalesced",
        /// Sent, and its reply may be kept.
        Miss = "miss",
        /// Sent, and its reply may not be kept.
        Passed = "passed",
    }
}

label! {
    /// What became of a write that was to be acknowledged once replicas have it.
    Durable {
        /// So many have it.
        Replicated = "replicated",
        /// The primary's reply was passed without that.
        TimeoutReplied = "timeout_replied",
        /// Its sender got an error instead.
        TimeoutRefused = "timeout_refused",
    }
}

label! {
    /// What became of writes that were at risk when the primary changed.
    Fate {
        /// The other primary has them.
        Inherited = "inherited",
        /// It may lack them.
        InDoubt = "in_doubt",
    }
}

label! {
    /// What became of writes that a new primary may have lacked.
    Settled {
        /// It had them.
        Survived = "survived",
        /// They were put back.
        Repaired = "repaired",
        /// Their keys were there again, and were deleted.
        DeletedAgain = "deleted_again",
        /// Somebody wrote later.
        Superseded = "superseded",
        /// Their time was over.
        Expired = "expired",
        /// They are gone.
        Lost = "lost",
    }
}

label! {
    /// Why they are gone.
    LossCause {
        /// The round was over, or they are older than what is compared.
        Late = "late",
        /// There was no key to apply them to.
        Absent = "absent",
        /// The server did not take them.
        Refused = "refused",
        /// What they left was not known.
        Unknown = "unknown",
        /// The server does not let us put anything back, or could not be reached for it.
        Unable = "unable",
    }
}

label! {
    /// Where the failover machine is.
    Phase {
        /// Requests flow.
        Serving = "serving",
        /// Requests wait for a primary.
        Holding = "holding",
        /// A primary was named, its first link is being opened.
        Connecting = "connecting",
        /// A bound was hit: requests are refused.
        Shedding = "shedding",
    }
}

label! {
    /// What began a hold.
    HoldReason {
        /// No primary was named yet.
        Unnamed = "unnamed",
        /// A Sentinel began a failover.
        Announced = "announced",
        /// The Sentinels agreed that the primary is down.
        ObjectivelyDown = "objectively_down",
        /// The primary did not answer a ping.
        Silent = "silent",
        /// The primary became a replica, or restarted.
        Changed = "changed",
        /// The Sentinels named another one.
        Superseded = "superseded",
        /// The link was lost.
        Unlinked = "unlinked",
        /// It was not known yet what the primary lacked.
        Unjoined = "unjoined",
        /// Writes had been acknowledged without the primary, and were to be put back.
        Unsettled = "unsettled",
        /// The primary was cut off from Sentinels and replicas.
        Isolated = "isolated",
        /// The primary took no writes.
        RefusesWrites = "refuses_writes",
        /// The primary took nothing.
        RefusesAll = "refuses_all",
    }
}

label! {
    /// What became of a touch that was looked at.
    Touched {
        /// Answered here.
        Answered = "answered",
        /// Answered here while requests were held, and applied afterwards.
        Held = "held",
        /// Sent.
        Sent = "sent",
    }
}

label! {
    /// What is wrong with the expiry of a session that was written.
    TtlFinding {
        /// There is none.
        NoExpiry = "no_expiry",
        /// It is longer than `sessions.max_ttl_s`.
        TooLong = "too_long",
    }
}

label! {
    /// What became of a key whose state a write's reply does not tell.
    Looked {
        /// It was read behind the write, and is remembered.
        Captured = "captured",
        /// It stays unknown.
        Ignored = "ignored",
    }
}

label! {
    /// Why the session cache was emptied.
    ClearCause {
        /// The server announced that everything changed (FLUSHALL, FLUSHDB), or more keys than are looked at.
        Flush = "flush",
        /// A request that may change any key: a script without keys, SWAPDB, what nobody knows.
        Keyless = "keyless",
        /// A client with a connection of its own got an answer.
        OwnConnection = "own_connection",
        /// Another primary.
        Switch = "switch",
        /// The wall clock jumped.
        ClockJump = "clock_jump",
        /// Hash fields may expire by themselves from now on.
        ExpiringFields = "expiring_fields",
        /// The server's announcement made no sense.
        Malformed = "malformed",
    }
}

label! {
    /// Why an entry of the session cache gave way.
    Eviction {
        /// `cache.bytes` are used.
        Size = "size",
        /// `cache.ttl_s` is over.
        Expired = "expired",
    }
}

label! {
    /// What the primary said of an answer of the cache.
    Verified {
        /// The same.
        Agree = "agree",
        /// Something else, although nothing has changed since.
        Stale = "stale",
        /// Something changed meanwhile, so there is nothing to compare.
        Undecided = "undecided",
    }
}

label! {
    /// A side of the sidecar.
    Side {
        /// The application's.
        Downstream = "downstream",
        /// Redis's.
        Upstream = "upstream",
    }
}

label! {
    /// Why there is another primary.
    SwitchReason {
        /// The first one.
        Start = "start",
        /// The old one did not answer.
        Failover = "failover",
        /// The old one still answered.
        Switchover = "switchover",
        /// The same address, another history.
        LineageBreak = "lineage_break",
        /// The same process under another address.
        Renamed = "renamed",
    }
}

label! {
    /// How a Sentinel stands.
    SentinelState {
        /// It names a primary.
        Named = "named",
        /// It does not know the name.
        Unknown = "unknown",
        /// It cannot be asked.
        Unreachable = "unreachable",
        /// It was not asked yet.
        Pending = "pending",
    }
}

label! {
    /// How a replica stands.
    ReplicaState {
        /// It gets the stream.
        Online = "online",
        /// It does not, or does not answer.
        Offline = "offline",
    }
}

label! {
    /// Why a primary that Sentinels name is not accepted.
    RejectedPrimary {
        /// A newer epoch is known.
        LowerEpoch = "lower_epoch",
        /// Another primary of the same epoch is known.
        SameEpoch = "same_epoch",
    }
}
