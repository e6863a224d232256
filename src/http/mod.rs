//! REST and socket upgrades.

pub mod connection;
