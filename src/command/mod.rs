//! What Redis commands mean to the data path: pure, without clocks and sockets.

mod catalog;
pub mod facts;
pub mod keys;
pub mod leaves;
pub mod local;
pub mod table;
pub mod time;
pub mod ttl;
pub mod written;
