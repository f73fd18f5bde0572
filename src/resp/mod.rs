//! RESP as bytes: where a frame begins and ends, and the few frames that we write ourselves.
//!
//! Nothing here owns a socket or knows what a command means. The data path forwards bytes; it only needs to know where
//! one reply or request ends and the next begins.

pub mod codec;
pub mod encode;
pub mod frame;
#[cfg(test)]
pub(crate) mod notation;
pub mod request;
pub mod value;

pub use codec::FrameCodec;
pub use encode::{Protocol, request_bytes};
pub use frame::{FrameError, Scanner};
pub use request::{Parsed, Words, parse};
