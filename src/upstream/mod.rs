//! The Redis side: links, how they are opened, and which requests they carry.

pub mod awaited;
pub mod connect;
pub mod link;
pub mod registry;
pub mod unanswered;
