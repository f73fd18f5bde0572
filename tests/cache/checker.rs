//! Proves of a history that nobody was shown what COHERENCE.md says nobody is shown.
//!
//! The server's own order of its writes is known (MONITOR), so what each key held between any two of them is, too. For
//! every read the checker looks for a state of its key that answers as the client was answered, and that lies
//! - not before any write that was acknowledged through the same sidecar before the read began (*own writes*),
//! - not before the client's own earlier writes, and before its own later ones (*program order*),
//! - not before the state that the same client's last read of the key was shown (*monotonic*),
//! - before any write that began after the read had ended (*no future*).
//!
//! It takes the oldest such state, which leaves the most room to the reads after it: so it objects only where no
//! explanation exists at all. Staleness is measured on the newest such state instead: how long before the read began
//! somebody, anybody, had been told of the write that ended it.

use std::collections::{HashMap, HashSet};

use super::history::{
    Key, Model, NEVER, Nanos, Program, Read, Seen, State, Step, Way, What, Write, value_of,
};

/// A place in the server's order; the first write has 1, and 0 is the empty server.
type Place = u32;

/// What is wrong with a history: which promise, and the read in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub promise: Promise,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    OwnWrites,
    ProgramOrder,
    Monotonic,
    NoFuture,
    NothingInvented,
    /// An acknowledged write that the server never ran: a fault of the data path or of the test.
    EveryWriteRan,
}

#[derive(Debug, Default)]
pub struct Findings {
    pub faults: Vec<Fault>,
    /// Of each read through a sidecar that was explained.
    pub staleness: Vec<Nanos>,
    /// The stalest of them, in words.
    pub stalest: (Nanos, String),
}

/// Checks a history against the server's order of its writes.
pub fn check(programs: &[Program], order: &[Write]) -> Findings {
    let programs = &taken_for_touches(programs, order);
    let (places, faults) = places(programs, order);
    let timelines = timelines(order);
    let mut findings = Findings {
        faults,
        ..Findings::default()
    };
    let mut keys: HashMap<Key, WritesOfKey> = HashMap::new();
    for key in timelines.keys() {
        keys.insert(*key, WritesOfKey::of(*key, programs, &places));
    }
    let told = first_told(programs, &places);
    for (number, program) in programs.iter().enumerate() {
        let mut reader = Reader::new(program, &places[number]);
        for (index, step) in program.steps.iter().enumerate() {
            let What::Read(read, seen) = &step.what else {
                reader.wrote(index);
                continue;
            };
            if matches!(seen, Seen::Error(_)) {
                continue;
            }
            let key = read.key();
            let (no_line, no_writes) = (Timeline::default(), WritesOfKey::default());
            let line = timelines.get(&key).unwrap_or(&no_line);
            let writes = keys.get(&key).unwrap_or(&no_writes);
            let bounds = reader.bounds(index, step, writes);
            match line.explain(*read, seen, bounds.from(), bounds.to()) {
                Some((oldest, newest)) => {
                    reader.seen.insert(key, (line.states[oldest].0, index));
                    if matches!(program.way, Way::Sidecar(_)) {
                        let staleness = line.staleness(newest, step.begin, &told);
                        findings.staleness.push(staleness);
                        if staleness > findings.stalest.0 {
                            let around = line.near(&bounds);
                            let text = format!("{} {index}: {step:?}, {around:?}", program.name);
                            findings.stalest = (staleness, text);
                        }
                    }
                }
                None => {
                    let before = reader
                        .seen
                        .get(&key)
                        .map(|(_, index)| &program.steps[*index]);
                    findings
                        .faults
                        .push(line.fault(&bounds, program, index, before));
                }
            }
        }
    }
    findings
}

/// A sidecar may take a version that is saved again for a touch. It has then told, as a read does, that the key has it.
fn taken_for_touches(programs: &[Program], order: &[Write]) -> Vec<Program> {
    let ran: HashSet<&Write> = order.iter().collect();
    let mut programs = programs.to_vec();
    for program in programs
        .iter_mut()
        .filter(|program| program.way != Way::Server)
    {
        for step in &mut program.steps {
            if let What::Write(write @ Write::Again(key, version, _)) = step.what
                && step.end != NEVER
                && !ran.contains(&write)
            {
                step.what = What::Read(Read::Get(key), Seen::Text(value_of(version)));
            }
        }
    }
    programs
}

/// Where each program's each step stands in the server's order; none for reads, and for writes that never ran.
type Places = Vec<Vec<Option<Place>>>;

fn places(programs: &[Program], order: &[Write]) -> (Places, Vec<Fault>) {
    let mut ran: HashMap<Write, Vec<Place>> = HashMap::new();
    for (index, write) in order.iter().enumerate() {
        ran.entry(*write).or_default().push(index as Place + 1);
    }
    let mut sent: HashMap<Write, Vec<(Nanos, usize, usize)>> = HashMap::new();
    for (number, program) in programs.iter().enumerate() {
        for (index, step) in program.steps.iter().enumerate() {
            if let What::Write(write) | What::WriteUndeclared(write) = step.what {
                let all = sent.entry(write).or_default();
                all.push((step.begin, number, index));
            }
        }
    }
    let empty = |program: &Program| vec![None; program.steps.len()];
    let mut places: Places = programs.iter().map(empty).collect();
    let mut faults = Vec::new();
    for (write, mut steps) in sent {
        steps.sort_unstable();
        let ran = ran.get(&write).map_or(&[][..], Vec::as_slice);
        let open = |(_, number, index): &(Nanos, usize, usize)| {
            programs[*number].steps[*index].end == NEVER
        };
        if ran.len() != steps.len() && !steps.iter().all(open) {
            let text = format!(
                "{write:?} was sent {} times and ran {}",
                steps.len(),
                ran.len()
            );
            faults.push(Fault {
                promise: Promise::EveryWriteRan,
                text,
            });
            continue;
        }
        for ((_, number, index), place) in steps.into_iter().zip(ran) {
            places[number][index] = Some(*place);
        }
    }
    (places, faults)
}

/// When the write at each place was first known to have run.
fn first_told(programs: &[Program], places: &Places) -> HashMap<Place, Nanos> {
    let mut told = HashMap::new();
    for (program, places) in programs.iter().zip(places) {
        for (step, place) in program.steps.iter().zip(places) {
            if let Some(place) = place {
                told.insert(*place, step.end);
            }
        }
    }
    told
}

/// What one key held, from which place on.
#[derive(Debug)]
struct Timeline {
    states: Vec<(Place, State)>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self {
            states: vec![(0, State::Absent)],
        }
    }
}

fn timelines(order: &[Write]) -> HashMap<Key, Timeline> {
    let mut model = Model::default();
    let mut lines: HashMap<Key, Timeline> = HashMap::new();
    for (index, write) in order.iter().enumerate() {
        for (key, state) in model.apply(*write) {
            let line = lines.entry(key).or_default();
            line.states.push((index as Place + 1, state));
        }
    }
    lines
}

impl Timeline {
    /// The states that answer so and hold at some place from `from` to `to`: the oldest and the newest.
    fn explain(&self, read: Read, seen: &Seen, from: Place, to: Place) -> Option<(usize, usize)> {
        let first = self.states.partition_point(|(place, _)| *place <= from) - 1;
        let mut found = (first..self.states.len())
            .take_while(|index| self.states[*index].0 <= to)
            .filter(|index| read.answer(&self.states[*index].1) == *seen);
        let oldest = found.next()?;
        Some((oldest, found.last().unwrap_or(oldest)))
    }

    /// How long before `begin` somebody was told of the write that ended this state.
    fn staleness(&self, index: usize, begin: Nanos, told: &HashMap<Place, Nanos>) -> Nanos {
        let next = self.states.get(index + 1);
        let ended = next.and_then(|(place, _)| told.get(place));
        ended.map_or(0, |ended| begin.saturating_sub(*ended))
    }

    /// Says which promise the read at `index` breaks.
    fn fault(
        &self,
        bounds: &Bounds,
        program: &Program,
        index: usize,
        before: Option<&Step>,
    ) -> Fault {
        let step = &program.steps[index];
        let What::Read(read, seen) = &step.what else {
            unreachable!("only reads are explained");
        };
        let matching = |from, to| self.explain(*read, seen, from, to);
        let promise = if matching(0, Place::MAX).is_none() {
            Promise::NothingInvented
        } else if matching(0, bounds.not_yet).is_none() {
            Promise::NoFuture
        } else if matching(0, bounds.to()).is_none() {
            Promise::ProgramOrder
        } else if matching(bounds.acknowledged, bounds.to()).is_none() {
            Promise::OwnWrites
        } else if matching(bounds.own_earlier, bounds.to()).is_none() {
            Promise::ProgramOrder
        } else {
            Promise::Monotonic
        };
        let around = index.saturating_sub(3)..(index + 2).min(program.steps.len());
        let steps: String = program.steps[around]
            .iter()
            .map(|step| format!("  {step:?}\n"))
            .collect();
        let text = format!(
            "{} ({:?}): {seen:?} is no answer to {read:?}\n  {bounds:?}\n  states {:?}\n  last shown {before:?}\nsteps\n{steps}",
            program.name,
            program.way,
            self.near(bounds),
        );
        Fault { promise, text }
    }

    fn near(&self, bounds: &Bounds) -> &[(Place, State)] {
        let first = self
            .states
            .partition_point(|(place, _)| *place <= bounds.from());
        &self.states[first.saturating_sub(4)..(first + 3).min(self.states.len())]
    }
}

/// The writes that concern one key, for two questions about an instant.
#[derive(Debug, Default)]
struct WritesOfKey {
    /// By sidecar: when acknowledged, and the newest place up to then.
    acknowledged: HashMap<u8, Vec<(Nanos, Place)>>,
    /// When begun, and the oldest place from then on.
    begun: Vec<(Nanos, Place)>,
}

impl WritesOfKey {
    fn of(key: Key, programs: &[Program], places: &Places) -> Self {
        let mut all = Self::default();
        for (program, places) in programs.iter().zip(places) {
            for (step, place) in program.steps.iter().zip(places) {
                let (write, declared) = match step.what {
                    What::Write(write) => (write, true),
                    What::WriteUndeclared(write) => (write, false),
                    What::Read(..) => continue,
                };
                let Some(place) = place.filter(|_| write.concerns(key)) else {
                    continue;
                };
                all.begun.push((step.begin, place));
                if let Way::Sidecar(sidecar) = program.way
                    && declared
                    && step.end != NEVER
                {
                    let own = all.acknowledged.entry(sidecar).or_default();
                    own.push((step.end, place));
                }
            }
        }
        for own in all.acknowledged.values_mut() {
            own.sort_unstable();
            let mut newest = 0;
            for (_, place) in own {
                newest = newest.max(*place);
                *place = newest;
            }
        }
        all.begun.sort_unstable();
        let mut oldest = Place::MAX;
        for (_, place) in all.begun.iter_mut().rev() {
            oldest = oldest.min(*place);
            *place = oldest;
        }
        all
    }

    fn acknowledged_before(&self, way: Way, instant: Nanos) -> Place {
        let Way::Sidecar(sidecar) = way else {
            return 0;
        };
        let own = self
            .acknowledged
            .get(&sidecar)
            .map_or(&[][..], Vec::as_slice);
        let count = own.partition_point(|(end, _)| *end < instant);
        count.checked_sub(1).map_or(0, |last| own[last].1)
    }

    /// The last place before any write that began at `instant` or later.
    fn last_before(&self, instant: Nanos) -> Place {
        let count = self.begun.partition_point(|(begin, _)| *begin < instant);
        self.begun
            .get(count)
            .map_or(Place::MAX, |(_, place)| place - 1)
    }
}

/// Between which places the state that a read is shown must lie, by promise.
#[derive(Debug)]
struct Bounds {
    acknowledged: Place,
    own_earlier: Place,
    seen_before: Place,
    not_yet: Place,
    own_later: Place,
}

impl Bounds {
    fn from(&self) -> Place {
        self.acknowledged
            .max(self.own_earlier)
            .max(self.seen_before)
    }

    fn to(&self) -> Place {
        self.not_yet.min(self.own_later)
    }
}

/// One client on its way through its program.
struct Reader<'a> {
    program: &'a Program,
    places: &'a [Option<Place>],
    /// The state that its last read of each key was shown, and which of its steps that was.
    seen: HashMap<Key, (Place, usize)>,
    /// The newest of its own writes so far that concern a key: looked up by walking, as it has few of each key in a row.
    written: Vec<usize>,
    /// Where its writes stand, to look ahead.
    writes: Vec<usize>,
}

impl<'a> Reader<'a> {
    fn new(program: &'a Program, places: &'a [Option<Place>]) -> Self {
        let is_write = |index: &usize| !matches!(program.steps[*index].what, What::Read(..));
        Self {
            program,
            places,
            seen: HashMap::new(),
            written: Vec::new(),
            writes: (0..program.steps.len()).filter(is_write).collect(),
        }
    }

    fn wrote(&mut self, index: usize) {
        self.written.push(index);
    }

    fn bounds(&self, index: usize, step: &Step, writes: &WritesOfKey) -> Bounds {
        let What::Read(read, _) = &step.what else {
            unreachable!("only reads have bounds");
        };
        let key = read.key();
        let own = |at: &usize, declared_only: bool| match self.program.steps[*at].what {
            What::Write(write) if write.concerns(key) => self.places[*at],
            What::WriteUndeclared(write) if write.concerns(key) && !declared_only => {
                self.places[*at]
            }
            _ => None,
        };
        let earlier = self.written.iter().rev().find_map(|at| own(at, true));
        let ahead = self.writes.partition_point(|at| *at < index);
        let later = self.writes[ahead..].iter().find_map(|at| own(at, false));
        Bounds {
            acknowledged: writes.acknowledged_before(self.program.way, step.begin),
            own_earlier: earlier.unwrap_or(0),
            seen_before: self.seen.get(&key).map_or(0, |(place, _)| *place),
            not_yet: writes.last_before(step.end),
            own_later: later.map_or(Place::MAX, |place| place - 1),
        }
    }
}

/// Renders the faults that a test shows when it fails.
pub fn show(faults: &[Fault]) -> String {
    const SHOWN_MAX: usize = 3;
    let mut text = format!("{} faults\n", faults.len());
    for fault in faults.iter().take(SHOWN_MAX) {
        text.push_str(&format!("{:?}: {}\n", fault.promise, fault.text));
    }
    text
}
