//! One city's brain. Pure: commands in, effects out, time as an argument. The same code runs live, in the seeded
//! simulation and in the quality benchmark.

mod alarms;
pub mod audit;
mod change;
mod city;
pub mod command;
mod commit;
mod counts;
mod defects;
pub mod effect;
mod holds;
mod id_source;
pub mod invariants;
pub mod matching;
mod offers;
mod operation;
mod operators;
mod order_queue;
mod orders;
mod progress;
mod restore;
pub mod rider_index;
mod riders;
mod snapshot;
mod state;
mod tick;
pub mod view;

pub use city::{City, CityImage, MEMORY, StoredEnd, StoredRider};
#[cfg(feature = "fault-injection")]
pub use defects::Defect;
