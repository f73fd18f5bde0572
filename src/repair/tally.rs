//! What became of acknowledged writes that another primary may have lacked.
//!
//! A write to several keys counts for each. What is counted adds up: at risk = survived + repaired + deleted again +
//! superseded + expired + lost.

use super::record::{Record, Verdict, Verdicts};

/// Why a write is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Cause {
    /// The round was over, or it is older than what is compared.
    Late,
    /// There was no key to apply it to, and nobody put one back.
    Absent,
    /// The server did not take it.
    Refused,
    /// What it left was not known: a script, say, whose key could not be read behind it.
    Unknown,
    /// The server does not let us put anything back, or could not be reached for it.
    Unable,
}

impl Cause {
    /// How many there are.
    pub const COUNT: usize = 5;
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The new primary had it.
    Survived,
    /// It was put back.
    Repaired,
    /// The key was there again, and was deleted.
    DeletedAgain,
    /// Somebody wrote later.
    Superseded,
    /// Its time was over.
    Expired,
    /// It is gone.
    Lost(Cause),
}

/// Counts of writes by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The new primary had them.
    pub survived: u64,
    /// They were put back.
    pub repaired: u64,
    /// Their keys were there again, and were deleted.
    pub deleted_again: u64,
    /// Somebody wrote later.
    pub superseded: u64,
    /// Their time was over.
    pub expired: u64,
    /// They are gone, by [`Cause`].
    pub lost: [u64; Cause::COUNT],
}

impl Tally {
    /// Counts writes.
    pub fn add(&mut self, outcome: Outcome, writes: u64) {
        *match outcome {
            Outcome::Survived => &mut self.survived,
            Outcome::Repaired => &mut self.repaired,
            Outcome::DeletedAgain => &mut self.deleted_again,
            Outcome::Superseded => &mut self.superseded,
            Outcome::Expired => &mut self.expired,
            Outcome::Lost(cause) => &mut self.lost[cause as usize],
        } += writes;
    }

    /// Adds the counts of another one.
    pub fn merge(&mut self, other: &Self) {
        self.survived += other.survived;
        self.repaired += other.repaired;
        self.deleted_again += other.deleted_again;
        self.superseded += other.superseded;
        self.expired += other.expired;
        for (count, more) in self.lost.iter_mut().zip(other.lost) {
            *count += more;
        }
    }

    /// Returns how many were at risk.
    pub fn at_risk(&self) -> u64 {
        let kept = self.survived + self.repaired + self.deleted_again;
        kept + self.superseded + self.expired + self.lost()
    }

    /// Returns how many are lost.
    pub fn lost(&self) -> u64 {
        self.lost.iter().sum()
    }
}

/// Tells what became of the writes of a record that the new primary may have lacked: the worst of its components. `None` while
/// something of it waits for somebody to put its key back.
pub fn outcome<B: Ord>(record: &Record<B>, verdicts: &Verdicts<B>) -> Option<Outcome> {
    let base = record.base.as_ref().map(|own| own.is_inherited);
    let touch = record.touch.as_ref().map(|own| own.is_inherited);
    let fields = record.fields.iter().filter_map(|(name, own)| {
        let verdict = verdicts.fields.get(name)?;
        Some((own.is_inherited, *verdict))
    });
    let all = base
        .zip(verdicts.base)
        .into_iter()
        .chain(touch.zip(verdicts.touch))
        .chain(fields);
    let verdicts = all.filter(|(is_inherited, _)| !is_inherited);
    let worst = verdicts
        .map(|(_, verdict)| verdict)
        .max_by_key(|verdict| gravity(*verdict));
    Some(match worst {
        None | Some(Verdict::Survived | Verdict::Unchecked) => Outcome::Survived,
        Some(Verdict::Repaired) => Outcome::Repaired,
        Some(Verdict::DeletedAgain) => Outcome::DeletedAgain,
        Some(Verdict::Superseded) => Outcome::Superseded,
        Some(Verdict::Expired) => Outcome::Expired,
        Some(Verdict::Late) => Outcome::Lost(Cause::Late),
        Some(Verdict::Refused) => Outcome::Lost(Cause::Refused),
        Some(Verdict::Pending) => return None,
    })
}

/// How much a verdict says of the whole record.
fn gravity(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Unchecked => 0,
        Verdict::Superseded => 1,
        Verdict::Expired => 2,
        Verdict::Survived => 3,
        Verdict::Repaired => 4,
        Verdict::DeletedAgain => 5,
        Verdict::Pending => 6,
        Verdict::Refused => 7,
        Verdict::Late => 8,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::repair::record::{Base, Component, FieldWrite, Touch};
    use crate::repair::stamp::Stamp;

    fn component<T>(is_inherited: bool, write: T) -> Component<T> {
        Component {
            stamp: Stamp(1),
            is_inherited,
            write,
        }
    }

    fn record(inherited: [bool; 3]) -> Record<u8> {
        let touch = Touch {
            deadline: None,
            only_extends: false,
        };
        Record {
            base: Some(component(inherited[0], Base::Delete)),
            fields: BTreeMap::from([(7, component(inherited[1], FieldWrite::Remove))]),
            touch: Some(component(inherited[2], touch)),
        }
    }

    fn verdicts(base: Verdict, field: Verdict, touch: Verdict) -> Verdicts<u8> {
        Verdicts {
            base: Some(base),
            fields: BTreeMap::from([(7, field)]),
            touch: Some(touch),
        }
    }

    #[test]
    fn the_worst_component_decides_and_what_was_inherited_is_no_loss() {
        use Verdict::{Late, Pending, Repaired, Superseded, Survived};
        for (inherited, given, expected) in [
            (
                [false; 3],
                [Survived, Repaired, Survived],
                Some(Outcome::Repaired),
            ),
            ([false; 3], [Survived, Pending, Repaired], None),
            (
                [false; 3],
                [Late, Pending, Survived],
                Some(Outcome::Lost(Cause::Late)),
            ),
            (
                [true, false, true],
                [Late, Superseded, Pending],
                Some(Outcome::Superseded),
            ),
            ([true; 3], [Late, Late, Pending], Some(Outcome::Survived)),
        ] {
            let [base, field, touch] = given;
            let found = outcome(&record(inherited), &verdicts(base, field, touch));
            assert_eq!(found, expected, "{inherited:?} {given:?}");
        }
    }

    #[test]
    fn what_is_counted_adds_up() {
        let outcomes = [
            Outcome::Survived,
            Outcome::Repaired,
            Outcome::DeletedAgain,
            Outcome::Superseded,
            Outcome::Expired,
            Outcome::Lost(Cause::Late),
            Outcome::Lost(Cause::Unable),
        ];
        let mut tally = Tally::default();
        for (place, outcome) in outcomes.into_iter().enumerate() {
            tally.add(outcome, 1 << place);
        }
        assert_eq!((tally.at_risk(), tally.lost()), (127, 96));
        let mut twice = tally;
        twice.merge(&tally);
        assert_eq!((twice.at_risk(), twice.lost()), (254, 192));
    }
}
