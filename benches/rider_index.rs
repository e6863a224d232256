//! The rider index against a plain R-tree: what an update costs, what the nearest ten cost, what a crowd on one spot does
//! to both, and what memory a rider takes. `cargo bench --bench rider_index`; riders per run as arguments.

use std::{
    hint::black_box,
    process::Command,
    time::{Duration, Instant},
};

use dispatch_engine::{
    domain::{ids::RiderId, position::Position, rider::Vehicle},
    engine::rider_index::{Means, RiderIndex},
};
use hdrhistogram::Histogram;
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use rstar::{RTree, primitives::GeomWithData};
use uuid::Uuid;

type Anyhow<T> = Result<T, Box<dyn std::error::Error>>;

/// The middle of the city, and its half side: 30 km from end to end.
const CENTRE: (f64, f64) = (12.97, 77.59);
const HALF_M: f64 = 15_000.0;
const METRES_PER_DEGREE: f64 = 111_195.0;

/// A motorcycle's 6.1 m/s over a ping interval of 5 s.
const STEP_M: f64 = 30.5;
/// Standard deviation of a receiver's error in each direction.
const NOISE_M: f64 = 3.0;

const QUERIES: usize = 20_000;
const NEAREST: usize = 10;
/// Longest time for one series of updates; slow rivals do fewer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What takes longer counts as this.
const LONGEST_NS: u64 = 60_000_000_000;

const MEANS: Means = Means { vehicle: Vehicle::Motorcycle, free_units: 10 };

/// What is measured.
trait Rival {
    const NAME: &'static str;
    fn new() -> Self;
    /// Tells where rider number `n` is; numbers come in order at first.
    fn put(&mut self, n: usize, ping: &Ping);
    /// Looks for the nearest ten; returns how many were found.
    fn nearest(&self, from: &Ping) -> usize;
}

/// A place in both forms, so that neither rival pays for the other's.
#[derive(Clone, Copy)]
struct Ping {
    rider: RiderId,
    position: Position,
    flat: [f64; 2],
}

struct Ours(RiderIndex);

impl Rival for Ours {
    const NAME: &'static str = "rider index";

    fn new() -> Self {
        Self(RiderIndex::around(CENTRE.0, CENTRE.1))
    }

    fn put(&mut self, _: usize, ping: &Ping) {
        self.0.put(ping.rider, ping.position, MEANS);
    }

    fn nearest(&self, from: &Ping) -> usize {
        self.0.nearest(from.position, 50_000.0).take(NEAREST).map(black_box).count()
    }
}

/// rstar with its default node size, on a plane, remove and insert per ping; where a rider was is looked up by number.
struct Plain {
    tree: RTree<GeomWithData<[f64; 2], RiderId>>,
    places: Vec<[f64; 2]>,
}

impl Rival for Plain {
    const NAME: &'static str = "plain rstar";

    fn new() -> Self {
        Self { tree: RTree::new(), places: Vec::new() }
    }

    fn put(&mut self, n: usize, ping: &Ping) {
        if let Some(before) = self.places.get_mut(n) {
            let before = std::mem::replace(before, ping.flat);
            black_box(self.tree.remove(&GeomWithData::new(before, ping.rider)));
        } else {
            self.places.push(ping.flat);
        }
        self.tree.insert(GeomWithData::new(ping.flat, ping.rider));
    }

    fn nearest(&self, from: &Ping) -> usize {
        self.tree.nearest_neighbor_iter_with_distance_2(from.flat).take(NEAREST).map(black_box).count()
    }
}

/// How riders move.
#[derive(Clone, Copy, PartialEq)]
enum Life {
    /// Seven tenths anywhere, three tenths around twenty hot spots; all of them ride.
    City,
    /// As the city, but every other rider stands on one spot, or comes from there or goes there.
    Crowd,
}

struct Fleet {
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
    fn new(n: usize, life: Life) -> Self {
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

    fn stands(&self, number: usize) -> bool {
        self.life == Life::Crowd && number.is_multiple_of(2)
    }

    fn somewhere(&mut self) -> [f64; 2] {
        if self.rng.random_range(0..10) < 7 {
            return [0, 1].map(|_| self.rng.random_range(-HALF_M..HALF_M));
        }
        let spot = self.spots[self.rng.random_range(0..self.spots.len())];
        // Five sums of twelve make a bell curve of 400 m.
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
    fn round(&mut self) -> Vec<(usize, Ping)> {
        let mut order: Vec<usize> = (0..self.riders.len()).collect();
        order.shuffle(&mut self.rng);
        order.into_iter().map(|number| (number, self.ping(number))).collect()
    }

    /// Where orders come from: from where riders are.
    fn queries(&mut self) -> Vec<Ping> {
        let nobody = RiderId(Uuid::nil());
        (0..QUERIES)
            .map(|n| ping(nobody, if self.stands(n) { [n as f64 / 100.0, 0.0] } else { self.somewhere() }))
            .collect()
    }
}

fn ping(rider: RiderId, flat: [f64; 2]) -> Ping {
    let lat = CENTRE.0 + flat[1] / METRES_PER_DEGREE;
    let lon = CENTRE.1 + flat[0] / (METRES_PER_DEGREE * CENTRE.0.to_radians().cos());
    Ping { rider, position: Position::new(lat, lon).expect("a city of 30 km is inside the world"), flat }
}

/// One line of the table.
struct Line {
    updates: u64,
    update_ns: f64,
    update: Histogram<u64>,
    nearest: Histogram<u64>,
}

fn measure<R: Rival>(n: usize, life: Life) -> Anyhow<Line> {
    let mut fleet = Fleet::new(n, life);
    let mut rival = R::new();
    for number in 0..n {
        let first = ping(fleet.riders[number].id, fleet.riders[number].at);
        rival.put(number, &first);
    }
    // A tree that has lived, not one as it was built.
    let patience = Instant::now();
    for (number, ping) in fleet.round() {
        if patience.elapsed() > PATIENCE {
            break;
        }
        rival.put(number, &ping);
    }
    // The mean without a clock in between, the percentiles with one.
    let (mut updates, mut spent) = (0_u64, Duration::ZERO);
    while spent < PATIENCE && updates < 1_000_000 {
        let round = fleet.round();
        for pings in round.chunks(1_000) {
            let start = Instant::now();
            pings.iter().for_each(|(number, ping)| rival.put(*number, ping));
            spent += start.elapsed();
            updates += pings.len() as u64;
            if spent > PATIENCE {
                break;
            }
        }
    }
    let (mut update, mut nearest) = (Histogram::new_with_max(LONGEST_NS, 3)?, Histogram::new_with_max(LONGEST_NS, 3)?);
    let patience = Instant::now();
    for (number, ping) in fleet.round().into_iter().take(200_000) {
        if patience.elapsed() > PATIENCE {
            break;
        }
        let start = Instant::now();
        rival.put(number, &ping);
        update.saturating_record(nanos(start));
    }
    for query in fleet.queries() {
        let start = Instant::now();
        let found = rival.nearest(&query);
        nearest.saturating_record(nanos(start));
        assert_eq!(found, NEAREST.min(n), "{} lost somebody", R::NAME);
    }
    Ok(Line { updates, update_ns: spent.as_nanos() as f64 / updates as f64, update, nearest })
}

fn nanos(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn print<R: Rival>(n: usize, life: Life) -> Anyhow<Line> {
    let line = measure::<R>(n, life)?;
    let us = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    println!(
        "{:>9}  {:<16} {:<12} {:>9.0} {:>9.2} {:>9.2}   {:>8.2} {:>8.2} {:>8.2}   {:>9}",
        n,
        if life == Life::City { "city" } else { "half on one spot" },
        R::NAME,
        line.update_ns,
        us(&line.update, 0.5),
        us(&line.update, 0.99),
        us(&line.nearest, 0.5),
        us(&line.nearest, 0.99),
        line.nearest.max() as f64 / 1_000.0,
        line.updates,
    );
    Ok(line)
}

/// Resident memory of this process, bytes.
fn resident() -> Anyhow<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<f64>()? * 1_024.0)
}

/// Builds one index in a process of its own and says what it added to the memory, bytes per rider.
fn memory_of<R: Rival>(n: usize) -> Anyhow<f64> {
    let mut fleet = Fleet::new(n, Life::City);
    let round = fleet.round();
    let mut rival = R::new();
    let before = resident()?;
    for number in 0..n {
        let first = ping(fleet.riders[number].id, fleet.riders[number].at);
        rival.put(number, &first);
    }
    round.iter().for_each(|(number, ping)| rival.put(*number, ping));
    let grown = resident()? - before;
    black_box(&rival);
    Ok(grown / n as f64)
}

fn ask_memory(rival: &str, n: usize) -> Anyhow<String> {
    let answer = Command::new(std::env::current_exe()?).args(["--memory", rival, &n.to_string()]).output()?;
    Ok(String::from_utf8_lossy(&answer.stdout).trim().to_owned())
}

/// The version of a package in the lock file.
fn version(package: &str) -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let name = format!("name = \"{package}\"\nversion = \"");
    // The newest one stands last; an older one belongs to a dependency.
    lock.rsplit_once(name.as_str()).and_then(|(_, rest)| rest.split('"').next()).unwrap_or("?")
}

fn surroundings() {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let rustc = Command::new("rustc").arg("--version").output().map(|out| out.stdout).unwrap_or_default();
    println!("machine   {}, {cores} cores", model.trim_start_matches([' ', '\t', ':']));
    println!("load      {}", read("/proc/loadavg").trim());
    println!("versions  {}, rstar {}", String::from_utf8_lossy(&rustc).trim(), version("rstar"));
    println!("city      30 km, riders move {STEP_M} m per ping in any order; {QUERIES} searches where riders are\n");
}

fn main() -> Anyhow<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [flag, rival, n] = &arguments[..]
        && flag == "--memory"
    {
        let n = n.parse()?;
        println!("{:.0}", if rival == "ours" { memory_of::<Ours>(n)? } else { memory_of::<Plain>(n)? });
        return Ok(());
    }
    let mut sizes = arguments.iter().map(|argument| argument.parse()).collect::<Result<Vec<usize>, _>>()?;
    if sizes.is_empty() {
        sizes = vec![10_000, 100_000, 1_000_000];
    }
    surroundings();
    println!("{:>9}  {:<29} {:>29}   {:>26}", "", "", "update", "nearest 10");
    println!(
        "{:>9}  {:<16} {:<12} {:>9} {:>9} {:>9}   {:>8} {:>8} {:>8}   {:>9}",
        "riders", "", "", "mean ns", "p50 us", "p99 us", "p50 us", "p99 us", "max us", "updates"
    );
    for n in sizes.iter().copied() {
        for life in [Life::City, Life::Crowd] {
            let (ours, plain) = (print::<Ours>(n, life)?, print::<Plain>(n, life)?);
            println!("{:>9}  {:<29} {:>8.1}x", "", "update, plain over ours", plain.update_ns / ours.update_ns);
        }
    }
    println!("\nmemory, bytes per rider");
    for n in sizes {
        println!("{n:>9}  rider index {:>5}   plain rstar {:>5}", ask_memory("ours", n)?, ask_memory("plain", n)?);
    }
    println!("load      {}", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
    Ok(())
}
