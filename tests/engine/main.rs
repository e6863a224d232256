//! The pure engine, driven without any IO: scenarios one by one, whole invented days by seed, and every course of events of
//! some small worlds.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod disputes;
mod exhaustive;
mod explanations;
mod forward;
mod frames;
mod harness;
mod locate;
mod nearby;
mod offers;
mod offers_restart;
mod operators;
mod operators_races;
mod refusals;
mod restarts;
mod riders;
mod scenarios;
mod search_end;
mod simulation;
mod sweeps;
mod tags;
mod waking;
