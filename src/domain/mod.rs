//! Nouns and their rules. Pure: no IO, no clock, no randomness; time, ids and seeds are arguments.

pub mod access;
pub mod city;
pub mod device;
pub mod dispute;
pub mod duty;
pub mod ids;
pub mod money;
pub mod order;
pub mod otp;
pub mod ping;
pub mod policy;
pub mod polyline;
pub mod position;
pub mod rider;
pub mod steering;
pub mod tags;
pub mod text;
pub mod time;
pub mod wallet;
