//! The statements that carry the promises, on a real PostgreSQL.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod checks;
mod connections;
mod disputes;
mod frames;
mod journal;
mod location_logs;
mod notes;
mod offers;
mod operators;
mod tags;
