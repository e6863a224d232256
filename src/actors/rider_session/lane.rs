//! The ping lane of one HTTP worker: gathers the accepted points of all its sessions and, every few milliseconds, makes one
//! batch for each city, which the city and the location log share. One message per ping per actor would be the toy version.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

use tokio::time::Instant;

use self::share::Share;
use super::{Shared, figures::LaneFigures};
use crate::{
    actors::{
        city::{CityCallError, CityHandle, LivePoints, live_fixes},
        location_log::{LocationLogHandle, LogPoint, PointBatch},
        pressure::Pressure,
    },
    domain::ids::CityCode,
};

mod share;

/// The lane of one worker thread.
pub struct Lane {
    log: LocationLogHandle,
    figures: LaneFigures,
    pressure: Pressure,
    bounds: Bounds,
    gathered: RefCell<Gathered>,
    armed: Cell<bool>,
}

/// The bounds of a lane.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    flush_every: Duration,
    /// Points that are not waited with any longer.
    max: usize,
    /// Riders whose positions may wait for cities that are full.
    keep: usize,
}

impl Lane {
    /// An empty lane.
    pub(super) fn new(deps: &Shared) -> Rc<Self> {
        let options = &deps.options;
        Rc::new(Self {
            log: deps.log.clone(),
            figures: deps.figures.lane.clone(),
            pressure: deps.pressure.clone(),
            bounds: Bounds {
                flush_every: Duration::from_millis(options.lane_flush_ms),
                max: options.lane_max,
                keep: options.lane_keep,
            },
            gathered: RefCell::default(),
            armed: Cell::new(false),
        })
    }

    /// Takes the accepted points of one frame, which arrived at a time.
    pub fn take(self: &Rc<Self>, city: &CityHandle, arrived: Instant, points: Vec<LogPoint>) {
        if points.is_empty() {
            return;
        }
        let full = {
            let mut gathered = self.gathered.borrow_mut();
            gathered.points += points.len();
            let lost = gathered.add(city, arrived, points);
            self.figures.city_gone.inc_by(lost as u64);
            self.show_kept(lost, 0);
            gathered.points >= self.bounds.max
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
        let wait = self.bounds.flush_every;
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
        gathered.points = 0;
        let before = gathered.kept();
        let mut room = self.bounds.keep.saturating_sub(before);
        gathered.cities.retain(|_, (city, share)| {
            let kept = share.kept();
            let active = self.hand_over(city, share, room);
            room = (room + kept).saturating_sub(share.kept());
            active
        });
        self.show_kept(before, gathered.kept());
    }

    /// Gives the log its batch and the city its positions; returns whether the share may be needed soon.
    fn hand_over(&self, city: &CityHandle, share: &mut Share, room: usize) -> bool {
        let batch = share.batch();
        let active = batch.is_some() || share.kept() > 0;
        if let Some((batch, _)) = &batch {
            #[expect(clippy::cast_precision_loss, reason = "a number of points in one flush")]
            self.figures.points.observe(batch.len() as f64);
            // Whatever becomes of the city's own: what a device has reported is history.
            self.log.append(batch.clone());
        }
        let live = batch.filter(|(batch, _)| live_fixes(batch).next().is_some());
        // What waits is older than what came.
        let Some(arrived) = share.kept_since().or(live.as_ref().map(|(_, arrived)| *arrived)) else { return active };
        let sent = city.points(|| LivePoints {
            kept: share.take_kept(),
            batch: live.as_ref().map_or_else(|| PointBatch::from([]), |(batch, _)| batch.clone()),
            arrived,
        });
        match (sent, live) {
            (Ok(()), _) => self.figures.seconds.observe(arrived.elapsed().as_secs_f64()),
            (Err(CityCallError::Full), live) => {
                self.pressure.city_was_full();
                if let Some((batch, arrived)) = live {
                    let dropped = share.keep(&batch, arrived, room);
                    self.figures.superseded.inc_by(dropped.superseded as u64);
                    self.figures.overflow.inc_by(dropped.overflow as u64);
                }
            }
            (Err(_), live) => {
                let gone = share.take_kept().len() + live.map_or(0, |(batch, _)| live_fixes(&batch).count());
                self.figures.city_gone.inc_by(gone as u64);
            }
        }
        active
    }

    fn show_kept(&self, before: usize, after: usize) {
        let shown = |kept: usize| i64::try_from(kept).unwrap_or(i64::MAX);
        if before != after {
            self.figures.depth.add(shown(after) - shown(before));
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // The last session of the worker is gone; what it brought still counts. Positions that a full city could not take
        // even now are of riders who are gone.
        self.flush();
        let kept = self.gathered.borrow().kept();
        self.show_kept(kept, 0);
        self.figures.abandoned.inc_by(kept as u64);
    }
}

/// What a lane holds between two flushes.
#[derive(Default)]
struct Gathered {
    cities: BTreeMap<CityCode, (CityHandle, Share)>,
    /// Points since the last flush.
    points: usize,
}

impl Gathered {
    /// Returns how many positions waited for an incarnation of the city that is gone.
    fn add(&mut self, city: &CityHandle, arrived: Instant, points: Vec<LogPoint>) -> usize {
        let Some((target, share)) = self.cities.get_mut(city.code()) else {
            let mut share = Share::default();
            share.add(arrived, points);
            self.cities.insert(city.code().clone(), (city.clone(), share));
            return 0;
        };
        let mut lost = 0;
        if !target.is_running() {
            // A new incarnation took its place; it knows nothing of the sessions of the old one.
            *target = city.clone();
            lost = share.take_kept().len();
        }
        share.add(arrived, points);
        lost
    }

    fn kept(&self) -> usize {
        self.cities.values().map(|(_, share)| share.kept()).sum()
    }

    fn is_empty(&self) -> bool {
        self.points == 0 && self.kept() == 0
    }
}
