//! What is known and decided about the points that devices report. Pure.

pub mod area;
pub mod cadence;
pub mod dating;
pub mod density;
pub mod duty;
pub mod ground;
pub mod pipeline;
pub mod plain;
pub mod point;
pub mod progress;
pub mod ranges;
pub mod rate;
pub mod rest;
pub mod run;
pub mod skew;
pub mod teleport;
