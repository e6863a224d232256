//! The actors on a real PostgreSQL, each with as little around it as it needs.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod bed;
mod cities;
mod janitor;
mod lanes;
mod leases;
mod location_log;
mod lossy_line;
mod operator_sockets;
mod outages;
mod pacing;
mod played_city;
mod push;
mod rider_points;
mod rider_sockets;
mod socket_line;
