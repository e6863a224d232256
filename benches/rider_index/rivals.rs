//! The rivals that live in this process: our index and a plain R-tree.

use std::{hint::black_box, time::Duration};

use dispatch_engine::{
    domain::{ids::RiderId, rider::Vehicle, tags::Tags},
    engine::rider_index::{Means, RiderIndex},
};
use nix::time::{ClockId, clock_gettime};
use rstar::{RTree, primitives::GeomWithData};

use super::{
    Anyhow, NEAREST,
    fleet::{CENTRE, Ping},
};

/// What is measured.
pub trait Rival {
    const NAME: &'static str;
    /// Whether one update can be timed by itself, not only many in one pipeline.
    const TIMES_ONE: bool;

    /// Tells where riders are; numbers come in order at first.
    fn put(&mut self, pings: &[(usize, Ping)]) -> Anyhow<()>;

    /// Looks for the nearest ten; returns how many were found.
    fn nearest(&mut self, from: &Ping) -> Anyhow<usize>;

    /// Processor time that was spent so far by whoever does the work.
    fn cpu(&self) -> Anyhow<Duration> {
        Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
    }
}

pub struct Ours(RiderIndex);

impl Default for Ours {
    fn default() -> Self {
        Self(RiderIndex::around(CENTRE.0, CENTRE.1))
    }
}

impl Rival for Ours {
    const NAME: &'static str = "rider index";
    const TIMES_ONE: bool = true;

    fn put(&mut self, pings: &[(usize, Ping)]) -> Anyhow<()> {
        for (_, ping) in pings {
            self.0.put(
                ping.rider,
                ping.position,
                Means { vehicle: Vehicle::Motorcycle, free_units: 10, tags: Tags::NONE },
            );
        }
        Ok(())
    }

    fn nearest(&mut self, from: &Ping) -> Anyhow<usize> {
        Ok(self.0.nearest(from.position, 50_000.0).take(NEAREST).map(black_box).count())
    }
}

/// rstar with its default node size, on a plane, remove and insert per ping; where a rider was is looked up by number.
#[derive(Default)]
pub struct Plain {
    tree: RTree<GeomWithData<[f64; 2], RiderId>>,
    places: Vec<[f64; 2]>,
}

impl Rival for Plain {
    const NAME: &'static str = "plain rstar";
    const TIMES_ONE: bool = true;

    fn put(&mut self, pings: &[(usize, Ping)]) -> Anyhow<()> {
        for (n, ping) in pings {
            if let Some(before) = self.places.get_mut(*n) {
                let before = std::mem::replace(before, ping.flat);
                black_box(self.tree.remove(&GeomWithData::new(before, ping.rider)));
            } else {
                self.places.push(ping.flat);
            }
            self.tree.insert(GeomWithData::new(ping.flat, ping.rider));
        }
        Ok(())
    }

    fn nearest(&mut self, from: &Ping) -> Anyhow<usize> {
        Ok(self.tree.nearest_neighbor_iter_with_distance_2(from.flat).take(NEAREST).map(black_box).count())
    }
}
