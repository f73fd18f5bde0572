//! What a failover means for requests: when they are held ([`machine`]), within which bounds ([`hold`]), and which are sent
//! again ([`replay`]). Pure: no clock, no socket.

pub mod hold;
pub mod machine;
pub mod replay;
