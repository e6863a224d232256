//! Riders who move through a city, the same for every rival: where they are, how they ping, where orders come from.

use dispatch_engine::domain::{ids::RiderId, position::Position};
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

/// The middle of the city, and its half side: 30 km from end to end.
pub const CENTRE: (f64, f64) = (12.97, 77.59);
pub const HALF_M: f64 = 15_000.0;
const METRES_PER_DEGREE: f64 = 111_195.0;

/// A motorcycle's 6.1 m/s over a ping interval of 5 s.
pub const STEP_M: f64 = 30.5;
/// Standard deviation of a receiver's error in each direction.
const NOISE_M: f64 = 3.0;

/// A place in both forms, so that no rival pays for another's.
#[derive(Clone, Copy)]
pub struct Ping {
    pub rider: RiderId,
    pub position: Position,
    pub flat: [f64; 2],
}

/// How riders move.
#[derive(Clone, Copy, PartialEq)]
pub enum Life {
    /// Seven tenths anywhere, three tenths around twenty hot spots; all of them ride.
    City,
    /// As the city, but every other rider stands on one spot, or comes from there or goes there.
    Crowd,
}

impl Life {
    pub const fn name(self) -> &'static str {
        match self {
            Self::City => "city",
            Self::Crowd => "half on one spot",
        }
    }
}

pub struct Fleet {
    life: Life,
    rng: ChaCha8Rng,
    spots: Vec<[f64; 2]>,
    riders: Vec<Rider>,
}

struct Rider {
    id: RiderId,
    at: [f64; 2],
    heading: f64,
}

impl Fleet {
    pub fn new(n: usize, life: Life) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut side = |half: f64| [rng.random_range(-half..half), rng.random_range(-half..half)];
        let spots = (0..20).map(|_| side(HALF_M * 0.8)).collect();
        let mut fleet = Self { life, rng, spots, riders: Vec::new() };
        for number in 0..n {
            // As the store makes them: 48 bits of time, then chance.
            let id = RiderId(Uuid::from_u128(
                (0x019a_0000_0000_u128 + number as u128 * 977) << 80 | (fleet.rng.random::<u128>() >> 48),
            ));
            let at = if fleet.stands(number) { [0.0, 0.0] } else { fleet.somewhere() };
            let heading = fleet.rng.random_range(0.0..std::f64::consts::TAU);
            fleet.riders.push(Rider { id, at, heading });
        }
        fleet
    }

    /// Where everybody is at first, in the order of their numbers.
    pub fn first(&self) -> Vec<(usize, Ping)> {
        self.riders.iter().enumerate().map(|(number, rider)| (number, ping(rider.id, rider.at))).collect()
    }

    fn stands(&self, number: usize) -> bool {
        self.life == Life::Crowd && number.is_multiple_of(2)
    }

    fn somewhere(&mut self) -> [f64; 2] {
        if self.rng.random_range(0..10) < 7 {
            return [0, 1].map(|_| self.rng.random_range(-HALF_M..HALF_M));
        }
        let spot = self.spots[self.rng.random_range(0..self.spots.len())];
        // Sums of twelve make a bell curve of 400 m.
        spot.map(|metres| metres + (0..12).map(|_| self.rng.random_range(-0.5..0.5)).sum::<f64>() * 400.0)
    }

    /// A rider's next ping.
    fn ping(&mut self, number: usize) -> Ping {
        let (turn, noise) = (
            if self.rng.random_range(0..10) == 0 { self.rng.random_range(-1.6..1.6) } else { 0.0 },
            [0, 1].map(|_| self.rng.random_range(-NOISE_M..NOISE_M) * 1.7),
        );
        let stands = self.stands(number);
        let leaves = self.rng.random_range(0..10) == 0;
        let rider = &mut self.riders[number];
        if stands {
            let away = rider.at != [0.0, 0.0];
            // Who is away comes back; of those who stand there, one in ten leaves.
            rider.at = if away || !leaves { [0.0, 0.0] } else { [STEP_M + noise[0], noise[1]] };
            return ping(rider.id, rider.at);
        }
        rider.heading += turn;
        if rider.at.iter().any(|metres| metres.abs() > HALF_M) {
            rider.heading = (-rider.at[1]).atan2(-rider.at[0]);
        }
        rider.at = [rider.at[0] + STEP_M * rider.heading.cos(), rider.at[1] + STEP_M * rider.heading.sin()];
        ping(rider.id, [rider.at[0] + noise[0], rider.at[1] + noise[1]])
    }

    /// One ping of everybody, in the order of chance in which they come in.
    pub fn round(&mut self) -> Vec<(usize, Ping)> {
        let mut order: Vec<usize> = (0..self.riders.len()).collect();
        order.shuffle(&mut self.rng);
        order.into_iter().map(|number| (number, self.ping(number))).collect()
    }

    /// Where orders come from: from where riders are.
    pub fn queries(&mut self, n: usize) -> Vec<Ping> {
        let nobody = RiderId(Uuid::nil());
        (0..n).map(|n| ping(nobody, if self.stands(n) { [n as f64 / 100.0, 0.0] } else { self.somewhere() })).collect()
    }
}

fn ping(rider: RiderId, flat: [f64; 2]) -> Ping {
    let lat = CENTRE.0 + flat[1] / METRES_PER_DEGREE;
    let lon = CENTRE.1 + flat[0] / (METRES_PER_DEGREE * CENTRE.0.to_radians().cos());
    Ping { rider, position: Position::new(lat, lon).expect("a city of 30 km is inside the world"), flat }
}
