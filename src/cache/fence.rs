//! The fence: whether what was read may still be kept.
//!
//! A small fixed table by key hash, so that spoiling costs one addition and no list of flights is walked. Two keys that
//! share a slot spoil each other now and then; that costs a fill and nothing else.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;

/// Slots of the table: a false spoil needs a write in the same slot while a read is under way.
const SLOTS: usize = 4096;

/// What a flight starts with; still good if neither counter has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    slot: SlotId,
    spoiled: u64,
    cleared: u64,
}

/// Where a key's counters stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotId(u32);

/// One slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Slot {
    /// How often something spoiled it.
    spoiled: u64,
    /// Writes sent and neither answered nor lost.
    pending: u32,
}

/// Counters of what may have changed, and of writes under way.
#[derive(Clone, Debug)]
pub struct Fence<H = RandomState> {
    hasher: H,
    slots: Vec<Slot>,
    /// How often everything was spoiled.
    cleared: u64,
    /// Writes under way that may change any key.
    pending_everywhere: u32,
}

impl Default for Fence {
    fn default() -> Self {
        Self::with_slots(SLOTS, RandomState::default())
    }
}

impl<H: BuildHasher> Fence<H> {
    /// Makes a fence of `slots` slots, at least one.
    pub fn with_slots(slots: usize, hasher: H) -> Self {
        Self {
            hasher,
            slots: vec![Slot::default(); slots.max(1)],
            cleared: 0,
            pending_everywhere: 0,
        }
    }

    /// Finds the slot of a key.
    pub fn slot(&self, key: &[u8]) -> SlotId {
        SlotId((self.hasher.hash_one(key) % self.slots.len() as u64) as u32)
    }

    fn at(&mut self, slot: SlotId) -> &mut Slot {
        &mut self.slots[slot.0 as usize]
    }

    /// Hands out a ticket for a read that is about to be sent; none while a write to the key is under way, since nothing
    /// tells which of the two the server runs first.
    pub fn ticket(&self, key: &[u8]) -> Option<Ticket> {
        let slot = self.slot(key);
        let free = self.slots[slot.0 as usize].pending == 0 && self.pending_everywhere == 0;
        free.then(|| self.ticket_of(slot))
    }

    /// Hands out a ticket although a write may be under way: for what that write will leave, and for the exploration that shows
    /// why not for a read.
    pub(super) fn ticket_regardless(&self, key: &[u8]) -> Ticket {
        self.ticket_of(self.slot(key))
    }

    fn ticket_of(&self, slot: SlotId) -> Ticket {
        Ticket {
            slot,
            spoiled: self.slots[slot.0 as usize].spoiled,
            cleared: self.cleared,
        }
    }

    /// Tells whether nothing may have changed since the ticket was handed out.
    pub fn holds(&self, ticket: Ticket) -> bool {
        let slot = &self.slots[ticket.slot.0 as usize];
        slot.spoiled == ticket.spoiled && self.cleared == ticket.cleared
    }

    /// Spoils every ticket of the slot.
    pub fn spoil(&mut self, slot: SlotId) {
        self.at(slot).spoiled += 1;
    }

    /// Spoils every ticket.
    pub fn spoil_all(&mut self) {
        self.cleared += 1;
    }

    /// A write to a key of the slot is under way.
    pub fn begin_write(&mut self, slot: SlotId) {
        self.at(slot).pending += 1;
    }

    /// Such a write was answered, or its link was lost.
    pub fn end_write(&mut self, slot: SlotId) {
        let pending = &mut self.at(slot).pending;
        debug_assert!(*pending > 0, "a write ended that had not begun");
        *pending = pending.saturating_sub(1);
    }

    /// A write that may change any key is under way.
    pub fn begin_write_anywhere(&mut self) {
        self.pending_everywhere += 1;
    }

    /// Such a write was answered, or its link was lost.
    pub fn end_write_anywhere(&mut self) {
        debug_assert!(
            self.pending_everywhere > 0,
            "a write ended that had not begun"
        );
        self.pending_everywhere = self.pending_everywhere.saturating_sub(1);
    }
}

#[cfg(test)]
impl<H: BuildHasher> Fence<H> {
    /// Everything that decides about a key.
    pub(super) fn state(&self, key: &[u8]) -> (u64, u32, u64, u32) {
        let slot = self.slots[self.slot(key).0 as usize];
        (
            slot.spoiled,
            slot.pending,
            self.cleared,
            self.pending_everywhere,
        )
    }
}
