//! The application's side: client connections and what they have negotiated.

pub mod client;
