//! The admin port: `/metrics`, `/healthz`, `/readyz`, `/status`, `/events`.
//!
//! It runs on the control thread and asks the data thread by message, with a limit on the wait, so a stuck data thread
//! shows as unhealthy and a slow scrape costs the data path nothing. It only reads: no request changes anything, and no
//! page shows a credential, a key or a session id.

mod bounded;
mod server;
mod status;

pub use server::{State, router, serve, topology};
pub use status::{Clients, Limits, Links, PinnedLinks, Ready, SharedLinks, Status, Upstream};
