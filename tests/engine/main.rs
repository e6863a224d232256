//! The pure engine, driven without any IO: scenarios one by one, and whole invented days by seed.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod disputes;
mod frames;
mod harness;
mod restarts;
mod riders;
mod scenarios;
mod simulation;
mod sweeps;
