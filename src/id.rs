//! Names for what the data path holds: a place in a slab, and which of the things that had this place.

/// A client connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientId {
    /// Place in the slab.
    pub index: u32,
    /// Raised with each connection.
    pub serial: u32,
}

impl ClientId {
    /// Whoever awaits the replies to our own commands.
    pub const NOBODY: Self = Self {
        index: u32::MAX,
        serial: 0,
    };
}

/// A link.
///
/// The serial is the link's *generation*: an answer can only reach a client through the entry that was queued on the
/// very link that brings it, so an answer of an older link finds nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkId {
    /// Place in the slab.
    pub index: u32,
    /// Raised with each link.
    pub serial: u32,
}
