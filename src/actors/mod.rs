//! The acting ring: one folder per actor, each a shell without rules around a pure decision.

pub mod city;
pub mod gate;
pub mod janitor;
pub mod location_log;
pub mod mirror;
pub mod operator_session;
pub mod order_journal;
pub mod pressure;
pub mod push;
pub mod refused_points;
pub mod rider_session;
pub mod router;
pub mod socket;
