//! What Redis commands mean to the data path.
pub mod table;
