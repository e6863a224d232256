//! The ping lane of one HTTP worker: gathers the accepted points of all its sessions and, every few milliseconds, hands
//! each city one message and the location log one batch. One message per ping per actor would be the toy version.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::{Rc, Weak},
    time::Duration,
};

use crate::{
    actors::{
        city::{CityCallError, CityHandle},
        location_log::{LocationLogHandle, LogPoint},
    },
    domain::ids::{CityCode, RiderId},
    engine::command::Fix,
};

use super::figures::Figures;

/// The lane of one worker thread; sessions of the same app on the same thread share it.
pub struct Lane {
    log: LocationLogHandle,
    figures: Figures,
    flush_every: Duration,
    max: usize,
    gathered: RefCell<Gathered>,
    armed: Cell<bool>,
}

thread_local! {
    /// The lanes of this thread by app: one in production, several where tests run apps side by side.
    static LANES: RefCell<Vec<(u64, Weak<Lane>)>> = const { RefCell::new(Vec::new()) };
}

impl Lane {
    /// The lane of this thread for an app.
    pub fn of_this_worker(
        app: u64,
        log: &LocationLogHandle,
        figures: &Figures,
        flush_every: Duration,
        max: usize,
    ) -> Rc<Self> {
        LANES.with_borrow_mut(|lanes| {
            lanes.retain(|(_, lane)| lane.strong_count() > 0);
            if let Some(lane) = lanes.iter().find(|(of, _)| *of == app).and_then(|(_, lane)| lane.upgrade()) {
                return lane;
            }
            let lane = Rc::new(Self {
                log: log.clone(),
                figures: figures.clone(),
                flush_every,
                max,
                gathered: RefCell::default(),
                armed: Cell::new(false),
            });
            lanes.push((app, Rc::downgrade(&lane)));
            lane
        })
    }

    /// Takes the points of one frame: the newest live one for the city, all of them for the log.
    pub fn take(self: &Rc<Self>, city: &CityHandle, live: Option<Fix>, points: Vec<LogPoint>) {
        let full = {
            let mut gathered = self.gathered.borrow_mut();
            if let Some(fix) = live {
                gathered.add(city, fix);
            }
            gathered.points.extend(points);
            gathered.points.len() >= self.max
        };
        if full {
            self.flush();
        }
        self.arm();
    }

    fn arm(self: &Rc<Self>) {
        if self.armed.get() || self.gathered.borrow().is_empty() {
            return;
        }
        self.armed.set(true);
        let lane = Rc::downgrade(self);
        let wait = self.flush_every;
        actix_web::rt::spawn(async move {
            tokio::time::sleep(wait).await;
            if let Some(lane) = lane.upgrade() {
                lane.armed.set(false);
                lane.flush();
                // A city that was full is tried again.
                lane.arm();
            }
        });
    }

    fn flush(&self) {
        let mut gathered = self.gathered.borrow_mut();
        let points = std::mem::take(&mut gathered.points);
        if !points.is_empty() {
            #[expect(clippy::cast_precision_loss, reason = "a number of points in one flush")]
            self.figures.lane_points.observe(points.len() as f64);
            self.log.append(points.into());
        }
        gathered.cities.retain(|_, (city, share)| {
            let superseded = share.settle();
            let gone = match city.fixes(share.fixes.as_slice().into()) {
                Ok(()) => 0,
                Err(CityCallError::Full) => {
                    // Kept: the newest position of each rider, for the next flush.
                    share.crowded = true;
                    self.count("superseded", superseded);
                    return true;
                }
                Err(_) => share.fixes.len(),
            };
            self.count("superseded", superseded);
            self.count("city_gone", gone);
            false
        });
    }

    fn count(&self, reason: &str, dropped: usize) {
        if dropped > 0 {
            self.figures.lane_dropped.with_label_values(&[reason]).inc_by(dropped as u64);
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // The last session of the worker is gone; what it brought still counts.
        self.flush();
    }
}

/// What a lane holds between two flushes.
#[derive(Default)]
struct Gathered {
    cities: BTreeMap<CityCode, (CityHandle, Share)>,
    points: Vec<LogPoint>,
}

impl Gathered {
    fn add(&mut self, city: &CityHandle, fix: Fix) {
        let entry = self.cities.entry(city.code().clone()).or_insert_with(|| (city.clone(), Share::default()));
        if !entry.0.is_running() {
            // A new incarnation took its place.
            entry.0 = city.clone();
        }
        entry.1.fixes.push(fix);
    }

    fn is_empty(&self) -> bool {
        self.points.is_empty() && self.cities.is_empty()
    }
}

/// The live positions for one city, in the order of their arrival.
#[derive(Debug, Default)]
struct Share {
    fixes: Vec<Fix>,
    /// The city was full at the last flush.
    crowded: bool,
}

impl Share {
    /// After a flush that the city could not take, keeps only the newest position per rider; returns how many went.
    fn settle(&mut self) -> usize {
        if !std::mem::take(&mut self.crowded) {
            return 0;
        }
        let before = self.fixes.len();
        let mut newest: BTreeMap<RiderId, usize> = BTreeMap::new();
        for (at, fix) in self.fixes.iter().enumerate() {
            newest.insert(fix.rider, at);
        }
        let mut at = 0;
        self.fixes.retain(|fix| {
            at += 1;
            newest.get(&fix.rider) == Some(&(at - 1))
        });
        before - self.fixes.len()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{ids::SessionId, position::Position, time::Timestamp};

    fn fix(rider: u128, at: i64) -> Fix {
        Fix {
            rider: RiderId(Uuid::from_u128(rider)),
            session: SessionId(1),
            position: Position::new(1.0, 2.0).unwrap(),
            recorded_at: Timestamp::from_millis(at),
        }
    }

    #[test]
    fn a_city_that_was_full_gets_the_newest_position_of_each_rider() {
        let mut share = Share { fixes: vec![fix(1, 10), fix(2, 11), fix(1, 12), fix(1, 13)], crowded: false };
        assert_eq!(share.settle(), 0, "nothing is dropped while the city keeps up");
        share.crowded = true;
        assert_eq!(share.settle(), 2);
        let left: Vec<i64> = share.fixes.iter().map(|fix| fix.recorded_at.as_millis()).collect();
        assert_eq!(left, [11, 13]);
        assert_eq!(share.settle(), 0);
    }
}
