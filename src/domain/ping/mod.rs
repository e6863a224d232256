//! What is decided about the points that devices send. Pure.

pub mod area;
pub mod dating;
pub mod density;
pub mod duty;
pub mod ground;
pub mod pipeline;
pub mod plain;
pub mod point;
pub mod rate;
pub mod rest;
pub mod skew;
pub mod teleport;
