//! The watcher against Sentinels and nodes in memory, with the clock paused.

mod asking;
mod running;
mod switch;
mod world;
