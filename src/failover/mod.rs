//! What becomes of requests while the primary is replaced. Pure parts, not wired to the data path yet.

pub mod replay;
