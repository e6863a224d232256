//! One city's brain. Pure: commands in, effects out, time as an argument. The same code runs live, in the seeded
//! simulation and in the quality benchmark.

mod alarms;
pub mod answered;
mod aside;
pub mod audit;
mod change;
mod city;
pub mod command;
mod commit;
mod counts;
mod defects;
#[cfg(feature = "fault-injection")]
mod description;
mod disputes;
pub mod effect;
mod explain;
mod fixes;
mod forward;
mod holds;
mod id_source;
pub mod invariants;
mod locate;
pub mod matching;
pub mod nearby;
mod offer_end;
mod offers;
mod one_time_code;
mod operation;
mod operators;
mod order_queue;
mod orders;
mod payout;
mod progress;
mod refusal;
mod report;
mod restore;
pub mod rider_index;
mod riders;
mod roster;
mod search_end;
mod snapshot;
mod state;
mod tick;
mod unsaved;
mod verdicts;
pub mod view;
pub mod wake;
mod waking;

pub use city::{City, CityImage, MEMORY, StoredEnd, StoredRider};
#[cfg(feature = "fault-injection")]
pub use defects::Defect;
pub use restore::{StoredClaim, StoredDispute, StoredFrame};
