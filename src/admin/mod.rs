//! The admin port. Stub until its branch is merged.
pub mod server;
