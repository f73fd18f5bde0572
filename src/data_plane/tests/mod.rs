//! The whole data thread on a paused clock, without sockets: what it promises to clients when links come, go and lie.
//!
//! [`world`] starts it between a listener that the tests feed with pipes in memory and a dial that hands out pipes to
//! [`redis`], a server that does what a test tells it to. On a paused clock time only passes while everybody waits, so
//! "at once" and "never" can be told apart, and nothing here sleeps for real.

mod acknowledge;
mod ahead;
mod cached;
mod client;
mod drain;
mod durable;
mod episodes;
mod hold;
mod journal;
mod limits;
mod looks;
mod loss;
mod maint;
mod malformed;
mod order;
mod own;
mod pool;
mod redis;
mod repair;
mod replica;
mod replies;
mod start;
mod wait;
mod watch;
mod whether;
mod world;
