//! What is known of the fields of a hash, of the members of a set or of a sorted set.

use std::collections::BTreeMap;

use super::image::Deadline;

/// A field that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// `None` = not known.
    pub value: Option<Vec<u8>>,
    /// Its own deadline, by the server's clock.
    pub deadline: Deadline,
}

/// One element, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element<T> {
    /// It is there.
    There(T),
    /// It is not there.
    Absent,
    /// It may be there.
    Unknown,
}

impl<T: Clone> Element<&T> {
    /// Returns it with a copy of what it holds.
    pub fn cloned(self) -> Element<T> {
        match self {
            Self::There(held) => Element::There(held.clone()),
            Self::Absent => Element::Absent,
            Self::Unknown => Element::Unknown,
        }
    }
}

/// Elements by name: all of them when it is whole, else some of which it is known that they are there or are not.
#[derive(Clone, Debug)]
pub struct Collection<T> {
    /// `None` = known not to be there; never in a whole one.
    known: BTreeMap<Vec<u8>, Option<T>>,
    is_whole: bool,
    /// No element ends before that by itself: spares the search.
    soonest: i64,
    /// An element has ended by itself. The server may have it still, unseen, and with it the key.
    lingers: bool,
}

impl<T: PartialEq> PartialEq for Collection<T> {
    fn eq(&self, other: &Self) -> bool {
        self.is_whole == other.is_whole && self.known == other.known
    }
}

/// What an element may hold.
pub trait Held: Clone + PartialEq {
    /// Returns when it ends by itself.
    fn deadline(&self) -> Deadline {
        Deadline::Never
    }

    /// Tells whether all of it is known.
    fn is_known(&self) -> bool;

    /// Returns what both agree on.
    fn common(self, other: &Self) -> Self;
}

impl Held for Field {
    fn deadline(&self) -> Deadline {
        self.deadline
    }

    fn is_known(&self) -> bool {
        self.value.is_some() && self.deadline != Deadline::Unknown
    }

    fn common(self, other: &Self) -> Self {
        Self {
            deadline: self.deadline.common(other.deadline),
            value: self
                .value
                .filter(|value| other.value.as_ref() == Some(value)),
        }
    }
}

/// A member of a set holds nothing.
impl Held for () {
    fn is_known(&self) -> bool {
        true
    }

    fn common(self, (): &Self) -> Self {}
}

/// A member of a sorted set holds a score, which may be unknown.
impl Held for Option<f64> {
    fn is_known(&self) -> bool {
        self.is_some()
    }

    fn common(self, other: &Self) -> Self {
        self.filter(|score| Some(*score) == *other)
    }
}

impl<T: Held> Collection<T> {
    /// Makes one that is known to be empty: nothing but the changes to come will be in it.
    pub fn empty() -> Self {
        Self {
            known: BTreeMap::new(),
            is_whole: true,
            soonest: i64::MAX,
            lingers: false,
        }
    }

    /// Makes one of which nothing is known.
    pub fn unknown() -> Self {
        Self {
            is_whole: false,
            ..Self::empty()
        }
    }

    /// Tells whether nothing is in it but the elements that are known to be.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Tells whether every element is known, and all of each.
    pub fn is_known(&self) -> bool {
        self.is_whole && self.known.values().flatten().all(Held::is_known)
    }

    /// Returns the elements that are known to be there, by name.
    pub fn there(&self) -> impl Iterator<Item = (&[u8], &T)> {
        let known = self.known.iter();
        known.filter_map(|(name, held)| Some((name.as_slice(), held.as_ref()?)))
    }

    /// Returns the names that are known not to be there, besides those that a whole one lacks.
    pub fn not_there(&self) -> impl Iterator<Item = &[u8]> {
        let known = self.known.iter();
        known.filter_map(|(name, held)| held.is_none().then_some(name.as_slice()))
    }

    /// Returns how many elements there are.
    pub fn len(&self) -> Option<usize> {
        self.is_whole.then_some(self.known.len())
    }

    /// Tells whether something is there, if that is known.
    pub fn is_empty(&self) -> Option<bool> {
        match self.len() {
            Some(length) => Some(length == 0),
            None => self.there().next().is_some().then_some(false),
        }
    }

    /// Finds what is known of one element.
    pub fn find(&self, name: &[u8]) -> Element<&T> {
        match self.known.get(name) {
            Some(Some(held)) => Element::There(held),
            Some(None) => Element::Absent,
            None if self.is_whole => Element::Absent,
            None => Element::Unknown,
        }
    }

    /// Writes down what is known of one element now.
    pub fn set(&mut self, name: &[u8], element: Element<T>) {
        match element {
            Element::There(held) => {
                self.soonest = self.soonest.min(held.deadline().soonest());
                self.known.insert(name.to_vec(), Some(held));
            }
            Element::Absent if self.is_whole => {
                self.known.remove(name);
            }
            Element::Absent => {
                self.known.insert(name.to_vec(), None);
            }
            Element::Unknown => {
                self.known.remove(name);
                self.is_whole = false;
            }
        }
    }

    /// Takes a count of the elements into account: when it is that of the known ones, there are no others.
    pub fn learn_length(&mut self, length: usize) {
        if !self.is_whole && self.there().count() == length {
            self.known.retain(|_, held| held.is_some());
            self.is_whole = true;
        }
    }

    /// Tells whether the server may have elements that have ended: without others they keep the key there, for a while.
    pub(super) fn may_linger(&self) -> bool {
        self.lingers
    }

    /// Tells whether nothing ends by itself up to `latest`.
    pub(super) fn lasts_until(&self, latest: i64) -> bool {
        self.soonest > latest
    }

    /// Lets time pass: `left` says of an element whether it is there still.
    pub(super) fn age(&mut self, left: impl Fn(Deadline) -> Element<()>) {
        let mut ending: Vec<(Vec<u8>, Element<T>)> = self
            .there()
            .filter_map(|(name, held)| match left(held.deadline()) {
                Element::There(()) => None,
                Element::Absent => Some((name.to_vec(), Element::Absent)),
                Element::Unknown => Some((name.to_vec(), Element::Unknown)),
            })
            .collect();
        // What may have ended comes first: then this is not all that there is, and what has ended is noted by name.
        ending.sort_by_key(|(_, element)| matches!(element, Element::Absent));
        self.lingers |= !ending.is_empty();
        for (name, element) in ending {
            self.set(&name, element);
        }
        let deadlines = self.there().map(|(_, held)| held.deadline().soonest());
        self.soonest = deadlines.min().unwrap_or(i64::MAX);
    }

    /// Returns what holds of both, when one of them is true.
    pub(super) fn common(self, other: &Self) -> Self {
        let mut common = Self {
            is_whole: self.is_whole && other.is_whole,
            lingers: self.lingers || other.lingers,
            ..Self::empty()
        };
        let names: Vec<&Vec<u8>> = self.known.keys().chain(other.known.keys()).collect();
        for name in names {
            let element = match (self.find(name), other.find(name)) {
                (Element::There(one), Element::There(other)) => {
                    Element::There(one.clone().common(other))
                }
                (Element::Absent, Element::Absent) => Element::Absent,
                _ => Element::Unknown,
            };
            common.set(name, element);
        }
        common
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(whole: bool, there: &[&str], absent: &[&str]) -> Collection<()> {
        let mut made = match whole {
            true => Collection::empty(),
            false => Collection::unknown(),
        };
        for name in there {
            made.set(name.as_bytes(), Element::There(()));
        }
        for name in absent {
            made.set(name.as_bytes(), Element::Absent);
        }
        made
    }

    #[test]
    fn a_whole_one_lacks_what_it_does_not_list() {
        let whole = of(true, &["a"], &["b"]);
        assert_eq!(whole.find(b"b"), Element::Absent);
        assert_eq!(whole.len(), Some(1));
        assert_eq!(whole.not_there().count(), 0);
        let some = of(false, &["a"], &["b"]);
        assert_eq!(some.find(b"c"), Element::Unknown);
        assert_eq!((some.len(), some.is_empty()), (None, Some(false)));
        assert_eq!(of(false, &[], &["b"]).is_empty(), None);
    }

    #[test]
    fn an_element_of_which_nothing_is_known_makes_it_partial() {
        let mut whole = of(true, &["a", "b"], &[]);
        whole.set(b"a", Element::Unknown);
        assert!(!whole.is_whole());
        assert_eq!(whole.find(b"a"), Element::Unknown);
        assert_eq!(whole.find(b"b"), Element::There(&()));
    }

    #[test]
    fn what_two_have_in_common() {
        let whole = of(true, &["a", "b"], &[]);
        assert_eq!(whole.clone().common(&whole), whole);
        // One has b and the other has not: b is open, and nothing else.
        let common = whole.clone().common(&of(true, &["a"], &[]));
        assert_eq!(common, of(false, &["a"], &[]));
        let common = whole.common(&of(false, &["a"], &["c"]));
        assert_eq!(common, of(false, &["a"], &["c"]));
    }

    #[test]
    fn a_count_proves_that_there_are_no_others() {
        let mut some = of(false, &["a"], &["b"]);
        some.learn_length(2);
        assert!(!some.is_whole());
        some.learn_length(1);
        assert_eq!(some, of(true, &["a"], &[]));
    }
}
