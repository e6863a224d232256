//! What is known and decided about the points that devices report. Pure.

pub mod cadence;
pub mod progress;
pub mod ranges;
pub mod run;
