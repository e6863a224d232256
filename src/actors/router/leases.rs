//! Keeps what this process holds, and waits for what another one does: renews the leases of its cities, fences a city that
//! was claimed by somebody else even when it writes nothing, and gives the leases back at an orderly end.

use std::{
    sync::{Arc, Weak},
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
        let held = launcher.held().await;
        if held.is_empty() {
            continue;
        }
        let until = Clock::wall() + options.lease();
        match timeout(every.max(PATIENCE), epochs::renew(launcher.db(), &held, until)).await {
            Ok(Ok(lost)) => {
                if std::mem::take(&mut silent) {
                    tracing::info!("the leases of the cities are renewed again");
                }
                for city in lost {
                    launcher.fence(&city, &held).await;
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
    /// The cities that run here or are about to, with their epochs. One that keeps failing is let go of: where there is
    /// another process, it may have better luck.
    async fn held(&self) -> Vec<(CityCode, i64)> {
        let records: Vec<_> = self.records().values().cloned().collect();
        let mut held = Vec::with_capacity(records.len());
        for record in records {
            // A city that is being started has claimed its epoch a moment ago.
            let Ok(record) = record.try_lock() else { continue };
            if let Some(epoch) = record.epoch.filter(|_| record.running.is_some() || record.awaits_start()) {
                held.push((record.settings.code.clone(), epoch));
            }
        }
        held
    }

    /// Ends a city whose epoch was found to have moved on.
    async fn fence(&self, city: &CityCode, held: &[(CityCode, i64)]) {
        let Some((_, lost)) = held.iter().find(|(code, _)| code == city) else { return };
        let Some(record) = self.records().get(city).cloned() else { return };
        let mut record = record.lock().await;
        if record.epoch != Some(*lost) {
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

    /// Lets everybody claim the cities that have ended here in order.
    pub(super) async fn give_back(&self, ended: &[(CityCode, i64)]) {
        if let Err(error) = epochs::give_back(self.db(), ended).await {
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
