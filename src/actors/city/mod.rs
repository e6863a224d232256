//! One actor per city: the shell around the pure engine.

mod handle;
mod messages;

pub use handle::{CityCallError, CityHandle};
pub use messages::{BuildCommand, CityBody, CityMessage};
