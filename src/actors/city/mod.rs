//! One actor per city: the shell around the pure engine.

mod engaged;
mod figures;
mod handle;
mod life;
mod live;
mod messages;
mod options;
mod rounds;
mod rules;
mod shell;
mod watchers;

pub use engaged::Engaged;
pub use figures::Figures;
pub use handle::{CityCallError, CityHandle};
pub use life::{Ending, Life, Lifeline};
pub use live::{LivePoints, live_fixes};
#[cfg(feature = "fault-injection")]
pub use messages::Fault;
pub use messages::{BuildCommand, CityBody, CityMessage};
pub use options::Options;
pub use rules::{PingRules, RuleBoard};
pub use shell::CityDeps;
pub(in crate::actors) use shell::{EndReport, Ended, Incarnation, start};
