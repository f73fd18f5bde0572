//! What is kept for a key, and who keeps it.

use bytes::Bytes;

/// Milliseconds of a clock that counts suspend and never goes back (CLOCK_BOOTTIME).
pub type Millis = u64;

/// One reply as it came over RESP3, with all that decides whether it may be served.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kept {
    /// The database it was read in.
    pub database: u32,
    /// The request without its key: `get`, `hmget` and its fields ….
    pub shape: Bytes,
    /// The reply's bytes.
    pub reply: Bytes,
    /// When the key expires, if it does; never served from then on.
    pub deadline: Option<Millis>,
    /// When the read was sent: what it tells is at least as new as this.
    pub sent_at: Millis,
    /// When PTTL's reply was there.
    pub answered_at: Millis,
    /// Serial of the link that brought it.
    pub link: u32,
}

/// A reply that is kept, wherever it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View<'a> {
    /// See [`Kept`].
    pub database: u32,
    /// See [`Kept`].
    pub shape: &'a [u8],
    /// See [`Kept`].
    pub reply: &'a [u8],
    /// See [`Kept`].
    pub deadline: Option<Millis>,
    /// See [`Kept`].
    pub sent_at: Millis,
    /// See [`Kept`].
    pub answered_at: Millis,
    /// See [`Kept`].
    pub link: u32,
}

impl Kept {
    /// Shows it.
    pub fn view(&self) -> View<'_> {
        View {
            database: self.database,
            shape: &self.shape,
            reply: &self.reply,
            deadline: self.deadline,
            sent_at: self.sent_at,
            answered_at: self.answered_at,
            link: self.link,
        }
    }
}

impl View<'_> {
    /// Tells whether it is the reply to this.
    pub fn is_of(&self, database: u32, shape: &[u8]) -> bool {
        self.database == database && self.shape == shape
    }

    /// Copies it.
    pub fn to_kept(self) -> Kept {
        Kept {
            database: self.database,
            shape: Bytes::copy_from_slice(self.shape),
            reply: Bytes::copy_from_slice(self.reply),
            deadline: self.deadline,
            sent_at: self.sent_at,
            answered_at: self.answered_at,
            link: self.link,
        }
    }
}

/// Where replies are kept, by key name alone: an invalidation names no database, so it removes the name in all of them.
pub trait Store {
    /// Shows the first reply of a key that is `wanted`, if there is one; the newest are looked at first.
    fn find<T>(
        &mut self,
        key: &[u8],
        wanted: impl Fn(&View<'_>) -> bool,
        show: impl FnOnce(View<'_>) -> T,
    ) -> Option<T>;

    /// Returns a reply.
    fn get(&mut self, key: &[u8], database: u32, shape: &[u8]) -> Option<Kept> {
        self.find(
            key,
            |view| view.is_of(database, shape),
            |view| view.to_kept(),
        )
    }

    /// Keeps a reply, in place of one of the same key, database and shape.
    fn keep(&mut self, key: &[u8], kept: Kept);

    /// Drops everything of a key, in all databases.
    fn remove(&mut self, key: &[u8]);

    /// Drops everything.
    fn clear(&mut self);
}
