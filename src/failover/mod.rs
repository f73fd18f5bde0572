//! What a failover means for requests: when they are held ([`machine`]), within which bounds ([`hold`]), who may not wait for so long ([`patience`]), which are sent again
//! ([`replay`], [`deadline`], [`block`], [`blocking`]), which scripts a new primary has to be shown ([`scripts`]), what is set up again
//! ([`subscriptions`]) and what was answered meanwhile ([`touches`]). Pure: no clock, no socket.

pub mod block;
pub mod blocking;
pub mod deadline;
pub mod hold;
pub mod machine;
pub mod patience;
pub mod replay;
pub mod scripts;
pub mod subscriptions;
pub mod touches;
