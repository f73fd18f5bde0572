//! What may happen in a world, and which rules its sidecars keep.

use super::state::Value;

/// A write of the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// All fields and a deadline, as one value.
    Set,
    /// The first or the second field, if the key is there.
    Field(usize),
    /// The deadline, if the key is there.
    Touch,
    Delete,
    /// HSET of both fields, which makes the key if it is absent; HLEN and PTTL behind it tell whether these are all.
    Create,
}

impl Kind {
    /// The last one is [`Create`](Self::Create), which multiplies the states.
    pub(super) const ALL: [Self; 6] = [
        Self::Set,
        Self::Field(0),
        Self::Field(1),
        Self::Touch,
        Self::Delete,
        Self::Create,
    ];

    /// Its answer says whether the key is there.
    pub(super) fn is_relative(self) -> bool {
        matches!(self, Self::Field(_) | Self::Touch | Self::Create)
    }

    /// Behind it there is a key.
    pub(super) fn creates(self) -> bool {
        matches!(self, Self::Set | Self::Create)
    }
}

/// The rules of REPAIR.md that are kept outside of the table; each may be left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shell {
    /// Stamps: of the dispatch, not of the acknowledgement.
    pub dispatch_stamps: bool,
    /// Stamps: on one clock, within the error that R1 allows for.
    pub one_clock: bool,
    /// Rule 2: what is known to be inherited is checked, too.
    pub checks_inherited: bool,
    /// Rule 2, found here: *inherited* is known of the direct predecessor, and only if its round was repaired.
    pub knows_one_back: bool,
    /// Rule 2: compare, apply and mark in one step.
    pub one_step: bool,
    /// Rule 3: a sidecar leaves its old links, and has all answers, before it reports.
    pub reports_last: bool,
    /// Rule 3: the server tells whether the round is open.
    pub server_tells: bool,
    /// Rule 4: writes carry marks.
    pub writes_mark: bool,
    /// Rule 4: mark and write are one unit.
    pub one_unit: bool,
    /// Rule 4: the writes of one sidecar are one sequence.
    pub one_sequence: bool,
    /// Rule 5: relative writes wait for peers.
    pub waits_for_peers: bool,
    /// Rule 5: relative writes wait for the sidecar's own repair, whatever has timed out.
    pub waits_for_own: bool,
    /// Rule 7, found here: fields that were counted are a whole value only if they were new. What covers all fields of a key that
    /// was there says nothing of what was written where it did not look: locally, or on the next primary.
    pub counts_new_fields: bool,
    /// Rule 6: a repair is a record.
    pub repair_is_record: bool,
    /// Rule 6: a DEL that answered 0 is a record.
    pub empty_delete_is_record: bool,
    /// Called off: writes that were answered locally are applied in a round on the same replid.
    pub returns_in_round: bool,
    /// Called off: they are applied when every other sidecar has compared what it has written to that primary.
    pub compares_first: bool,
    /// Answered locally only if no own write to the key is in flight.
    pub local_when_idle: bool,
}

impl Shell {
    pub(super) const SOUND: Self = Self {
        dispatch_stamps: true,
        one_clock: true,
        checks_inherited: true,
        knows_one_back: true,
        one_step: true,
        reports_last: true,
        server_tells: true,
        writes_mark: true,
        one_unit: true,
        one_sequence: true,
        waits_for_peers: true,
        waits_for_own: true,
        counts_new_fields: true,
        repair_is_record: true,
        empty_delete_is_record: true,
        returns_in_round: true,
        compares_first: true,
        local_when_idle: true,
    };
}

/// Writes of the first and of the second sidecar, and what else may happen how often.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    /// The sidecar and the write, in the order in which each sidecar sends its own.
    pub ops: Vec<(usize, Kind)>,
    pub failovers: u8,
    /// Links that are lost with all that is unanswered, which is given up.
    pub losses: u8,
    /// Rounds that end by time.
    pub ends: u8,
    /// Waiting for peers may time out.
    pub hasty: bool,
    /// This sidecar's clock is behind by more than one dispatch and less than two.
    pub skewed: Option<usize>,
    /// The key has no third field at first: a create sets all there are.
    pub lean: bool,
    /// Creates are HMSET, whose reply does not tell how many fields were new: a key without a deadline is taken for new.
    pub silent: bool,
    /// Failovers that are called off, in which SET and DEL are answered locally.
    pub returns: u8,
    pub shell: Shell,
}

impl Scene {
    pub(super) fn new(ops: Vec<(usize, Kind)>, failovers: u8) -> Self {
        Self {
            ops,
            failovers,
            losses: 0,
            ends: 0,
            hasty: false,
            skewed: None,
            lean: false,
            silent: false,
            returns: 0,
            shell: Shell::SOUND,
        }
    }

    /// The key at first.
    pub(super) fn first(&self) -> Value {
        match self.lean {
            true => Value::made(0, 0),
            false => Value::of(0),
        }
    }

    /// Every way in which two sidecars do `count` writes in all, but for creates; which of them is the first means nothing.
    pub(super) fn all(count: usize, failovers: u8) -> Vec<Self> {
        Self::of(&Kind::ALL[..5], count, failovers)
    }

    /// The others: those with a create.
    pub(super) fn creating(count: usize, failovers: u8) -> Vec<Self> {
        let mut scenes = Self::of(&Kind::ALL, count, failovers);
        scenes.retain(|scene| scene.ops.iter().any(|(_, kind)| *kind == Kind::Create));
        scenes
    }

    fn of(kinds: &[Kind], count: usize, failovers: u8) -> Vec<Self> {
        let mut scenes = Vec::new();
        for mine in (count.div_ceil(2)..=count).rev() {
            for code in 0..kinds.len().pow(count as u32) {
                let kind = |place: usize| kinds[code / kinds.len().pow(place as u32) % kinds.len()];
                let ops: Vec<_> = (0..count)
                    .map(|place| (usize::from(place >= mine), kind(place)))
                    .collect();
                if has_twin(&ops, mine) {
                    continue;
                }
                scenes.push(Self::new(ops, failovers));
            }
        }
        scenes
    }
}

/// A scene that is another one with the sidecars, or the two fields, changed over.
fn has_twin(ops: &[(usize, Kind)], mine: usize) -> bool {
    let code = |kind: Kind| Kind::ALL.iter().position(|&other| other == kind);
    let field = ops.iter().find_map(|(_, kind)| match kind {
        Kind::Field(place) => Some(*place),
        _ => None,
    });
    let (first, second) = ops.split_at(mine);
    let codes = |ops: &[(usize, Kind)]| ops.iter().map(|op| code(op.1)).collect::<Vec<_>>();
    let both = |ops: &[(usize, Kind)]| ops.iter().filter(|op| op.1 == Kind::Field(1)).count();
    field == Some(1)
        || first.len() == second.len() && both(ops) == 0 && codes(first) > codes(second)
}
