//! Which city runs where: one replaceable slot per city, and the launcher that fills the slots.

mod launcher;
mod leases;
mod options;
mod restarts;

pub use launcher::{Launcher, LauncherDeps, RouterError};
pub use options::Options;

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{
    actors::city::{CityCallError, CityHandle},
    domain::ids::CityCode,
    store::epochs::Held,
};

/// The cities of this process. Cheap to clone; all clones see the same slots.
#[derive(Clone, Debug, Default)]
pub struct Router {
    slots: Arc<RwLock<BTreeMap<CityCode, Slot>>>,
}

/// What stands in a city's place.
#[derive(Clone, Debug)]
pub enum Slot {
    /// It runs.
    Running(CityHandle),
    /// It is known, and not served now; the word says why (`starting`, `restarting`,
    /// `quarantined`, `fenced`, `draft`, `unreadable`, `stopping`).
    Down(&'static str),
    /// Another process holds it; it is started here when that lets go of it.
    Held(Arc<Held>),
}

impl Router {
    /// The handle of a running city.
    ///
    /// # Errors
    /// [`CityCallError::Unknown`] or [`CityCallError::Gone`].
    pub fn city(&self, code: &CityCode) -> Result<CityHandle, CityCallError> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        match slots.get(code) {
            Some(Slot::Running(handle)) if handle.is_running() => Ok(handle.clone()),
            Some(_) => Err(CityCallError::Gone),
            None => Err(CityCallError::Unknown),
        }
    }

    /// Whether a city is known and will not be served here soon: kept down, or another process holds it.
    #[must_use]
    pub fn is_away(&self, code: &CityCode) -> bool {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        match slots.get(code) {
            Some(Slot::Held(_)) => true,
            Some(Slot::Down(why)) => !matches!(*why, "starting" | "restarting" | "stopping"),
            Some(Slot::Running(_)) | None => false,
        }
    }

    /// Whether another process is known to hold a city.
    pub(super) fn is_held(&self, code: &CityCode) -> bool {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        matches!(slots.get(code), Some(Slot::Held(_)))
    }

    /// Puts a city, or the reason for its absence, into its slot.
    pub fn put(&self, code: CityCode, slot: Slot) {
        self.slots.write().unwrap_or_else(PoisonError::into_inner).insert(code, slot);
    }

    /// Every known city and whether it runs.
    #[must_use]
    pub fn cities(&self) -> Vec<(CityCode, Slot)> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.iter().map(|(code, slot)| (code.clone(), slot.clone())).collect()
    }
}
