//! The bench's traffic: riders who send a point a second.

use std::sync::Arc;

use dispatch_engine::{
    actors::location_log::{LogPoint, PointBatch, Track},
    clock::Clock,
    domain::{
        ids::{BootId, CityCode, RiderId},
        position::Position,
        time::Timestamp,
    },
    store::location_logs::{CopyBatch, LocationRow},
};
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

const DEVICE: &str = "device-0123456789abcdef";

/// Riders and their next numbers.
pub struct Traffic {
    rng: ChaCha8Rng,
    riders: Vec<(RiderId, BootId)>,
    at: Timestamp,
    seq: u64,
}

/// Which order the rows of a batch have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As they come.
    Arrival,
    /// By rider.
    Rider,
}

impl Traffic {
    /// So many riders, ids of a fixed seed.
    pub fn new(riders: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut id = || Uuid::from_u128(rng.random());
        let mut riders: Vec<_> = (0..riders).map(|_| (RiderId(id()), BootId(id()))).collect();
        riders.sort_unstable_by_key(|(rider, _)| *rider);
        Self { rng, riders, at: Clock::wall(), seq: 0 }
    }

    /// Rows of so many points, a second of all riders after the other.
    pub fn batch(&mut self, rows: usize, order: Order) -> CopyBatch {
        let mut who: Vec<(usize, u64)> = Vec::with_capacity(rows);
        while who.len() < rows {
            self.seq += 1;
            self.at = self.at + std::time::Duration::from_secs(1);
            let mut second: Vec<usize> = (0..self.riders.len()).collect();
            second.shuffle(&mut self.rng);
            let left = rows - who.len();
            who.extend(second.into_iter().take(left).map(|rider| (rider, self.seq)));
        }
        if order == Order::Rider {
            who.sort_unstable();
        }
        let mut batch = CopyBatch::with_capacity(rows);
        for (rider, seq) in who {
            let (rider, boot) = self.riders[rider];
            batch.push(&LocationRow {
                rider,
                created_at: self.at,
                recorded_at: self.at,
                city: "blr",
                position: Position::new(12.9 + self.rng.random_range(0.0..0.1), 77.5).expect("a place on earth"),
                accuracy_m: Some(8.5),
                speed_mps: Some(4.25),
                heading_deg: Some(271.0),
                seq: i64::try_from(seq).unwrap_or(i64::MAX),
                boot,
                device: DEVICE,
                flags: 0,
                device_at: self.at,
            });
        }
        batch
    }

    /// Their tracks, for points that go the whole way.
    pub fn tracks(&self) -> Vec<Arc<Track>> {
        let city = CityCode::parse("blr").expect("a city");
        let track = |(rider, boot): &(RiderId, BootId)| {
            Arc::new(Track::new(*rider, city.clone(), *boot, DEVICE, 0, Timestamp::default()))
        };
        self.riders.iter().map(track).collect()
    }
}

/// Points of riders in turn, as a lane hands them over.
pub struct Lane {
    tracks: Vec<Arc<Track>>,
    next: u64,
}

impl Lane {
    /// A lane of these riders.
    pub const fn new(tracks: Vec<Arc<Track>>) -> Self {
        Self { tracks, next: 0 }
    }

    /// The next points.
    pub fn points(&mut self, count: usize) -> PointBatch {
        let now = Clock::wall();
        let riders = self.tracks.len() as u64;
        let mut points = Vec::with_capacity(count);
        for _ in 0..count {
            let track = &self.tracks[usize::try_from(self.next % riders).unwrap_or(0)];
            let seq = self.next / riders + 1;
            self.next += 1;
            track.note_accepted(seq, Some(now));
            points.push(LogPoint {
                track: track.clone(),
                seq,
                created_at: now,
                recorded_at: now,
                device_at: now,
                position: Position::new(12.9, 77.5).expect("a place on earth"),
                accuracy_m: Some(8.5),
                speed_mps: Some(4.25),
                heading_deg: Some(271.0),
                flags: 0,
                store: true,
                dot: None,
            });
        }
        points.into()
    }

    /// Points so far.
    pub const fn sent(&self) -> u64 {
        self.next
    }
}
