//! Where the one key's replies are kept.

use crate::cache::entry::{Kept, Store, View};

/// The replies of the one key, by shape.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct OneKey {
    kept: Vec<Kept>,
}

impl Store for OneKey {
    fn find<T>(
        &mut self,
        _: &[u8],
        wanted: impl Fn(&View<'_>) -> bool,
        show: impl FnOnce(View<'_>) -> T,
    ) -> Option<T> {
        self.kept.iter().map(Kept::view).find(wanted).map(show)
    }

    fn keep(&mut self, _: &[u8], kept: Kept) {
        self.kept.retain(|other| other.shape != kept.shape);
        self.kept.push(kept);
    }

    fn remove(&mut self, _: &[u8]) {
        self.kept.clear();
    }

    fn clear(&mut self) {
        self.kept.clear();
    }
}
