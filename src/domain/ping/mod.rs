//! Points of devices: the rules by which they are judged and how often they should come.

pub mod cadence;
