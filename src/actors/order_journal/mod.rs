//! The order journal: commits the writes of all cities in batches and tells each city what became of its own. While one
//! transaction runs the next batch gathers (group commit), so the order of writes is kept and throughput follows load.

mod availability;
mod figures;
mod handle;
mod journal;
mod options;
mod retry;

pub use availability::Availability;
pub use handle::JournalHandle;
pub use options::Options;
