//! Keeps what this process holds, and waits for what another one does: renews the leases of its cities, fences a city that
//! was claimed by somebody else even when it writes nothing, and gives the leases back at an orderly end.

use std::{
    collections::BTreeMap,
    sync::{Arc, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::time::{sleep, timeout};

use super::{
    Options, Slot,
    launcher::{Inner, Launcher, Record},
};
use crate::{
    clock::Clock,
    domain::{ids::CityCode, time::Timestamp},
    store::epochs::{self, Held},
};

/// The longest time between two looks at a city that another process holds: it may give the city back at any time.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The shortest.
const PATIENCE: Duration = Duration::from_millis(50);

/// When to look again whether a city may be claimed that is held until a (real) time.
pub(super) fn next_look(until: Timestamp, wall: Timestamp) -> Duration {
    until.since(wall).clamp(PATIENCE, LOOK_AGAIN)
}

/// Renews every third of the lease, for as long as the launcher lives.
pub(super) async fn keep(launcher: Weak<Inner>, options: Options) {
    let every = options.lease() / 3;
    let mut silent = false;
    loop {
        sleep(every).await;
        let Some(inner) = launcher.upgrade() else { return };
        let launcher = Launcher(inner);
        if launcher.is_stopping() {
            return;
        }
        let held: Vec<_> = launcher.leased().iter().map(|(city, epoch)| (city.clone(), *epoch)).collect();
        if held.is_empty() {
            continue;
        }
        let until = Clock::wall() + options.lease();
        match timeout(every.max(PATIENCE), epochs::renew(launcher.db(), &held, until)).await {
            Ok(Ok(lost)) => {
                if std::mem::take(&mut silent) {
                    tracing::info!("the leases of the cities are renewed again");
                }
                for (city, epoch) in held.into_iter().filter(|(city, _)| lost.contains(city)) {
                    // Beside the renewals, because its lock may be held for as long as a start takes.
                    tokio::spawn(launcher.clone().fence(city, epoch));
                }
            }
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                complain(&mut silent, error);
            }
            Err(elapsed) => complain(&mut silent, &elapsed),
        }
    }
}

/// Once per outage: the city serves on, because whatever it commits is fenced by the epoch and not by the lease.
fn complain(silent: &mut bool, error: &(dyn std::error::Error + 'static)) {
    if !std::mem::replace(silent, true) {
        tracing::warn!(error, "the leases of the cities could not be renewed; another process may take them over");
    }
}

impl Launcher {
    /// The cities that this process holds.
    pub(super) fn leased(&self) -> MutexGuard<'_, BTreeMap<CityCode, i64>> {
        self.0.leased.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a city whose epoch was found to have moved on.
    async fn fence(self, city: CityCode, lost: i64) {
        let Some(record) = self.records().get(&city).cloned() else { return };
        let mut record = record.lock().await;
        if record.epoch != Some(lost) {
            // It was claimed anew, by this process.
            return;
        }
        match &record.running {
            // Its end is reported like every other one.
            Some((_, handle)) => handle.fence(),
            None => self.is_fenced(&mut record),
        }
    }

    /// Another process holds the city, and this one never takes it back by itself.
    pub(super) fn is_fenced(&self, record: &mut Record) {
        record.fenced = true;
        self.leased().remove(&record.settings.code);
        let code = &record.settings.code;
        self.router().put(code.clone(), Slot::Down("fenced"));
        tracing::error!(city = %code, epoch = record.epoch, "another process holds this city; it is served here no more");
    }

    /// Another process holds a city that this one wants to start.
    pub(super) fn is_held(&self, record: &Record, held: &Held) {
        let code = &record.settings.code;
        let known = self
            .router()
            .cities()
            .into_iter()
            .any(|(city, slot)| city == *code && matches!(slot, Slot::Held(known) if known.by == held.by));
        if !known {
            tracing::warn!(
                city = %code, by = held.by, until = %held.until,
                "another process holds this city; it is started here when that lets go of it"
            );
        }
        self.figures().held(code, true);
        self.router().put(code.clone(), Slot::Held(Arc::new(held.clone())));
    }

    /// Lets everybody claim a city that is served here no more, or all of them at the end.
    pub(super) async fn give_back(&self, only: Option<&CityCode>) {
        let given: Vec<_> = {
            let mut leased = self.leased();
            leased.extract_if(.., |city, _| only.is_none_or(|only| only == city)).collect()
        };
        if let Err(error) = epochs::give_back(self.db(), &given).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the cities could not be given back; another process has to wait for their leases");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_city_is_looked_at_when_its_lease_passes_and_every_second() {
        let at = Timestamp::from_millis;
        assert_eq!(next_look(at(10_000), at(9_700)), Duration::from_millis(300));
        assert_eq!(next_look(at(10_000), at(1_000)), LOOK_AGAIN);
        assert_eq!(next_look(at(10_000), at(11_000)), PATIENCE, "its holder renews it this very moment, or is gone");
    }
}
