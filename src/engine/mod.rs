//! One city's brain. Pure: commands in, effects out, time as an argument. The same code runs live, in the seeded
//! simulation and in the quality benchmark.

mod alarms;
pub mod answered;
mod city;
pub mod command;
mod commit;
mod counts;
mod defects;
mod disputes;
pub mod effect;
mod id_source;
pub mod invariants;
pub mod matching;
mod offers;
mod one_time_code;
mod order_queue;
mod orders;
mod progress;
mod report;
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
pub use restore::{StoredClaim, StoredDispute, StoredFrame};
