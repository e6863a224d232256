//! One measurement: a server with its clients, idle, then with one point per frame, then with ten.

use std::{path::Path, time::Duration};

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep};

use crate::{
    bed::Bed,
    common::process::{Cpu, cpu_of, cpu_with_children, resident},
    fleet::{Counts, Fleet, Word},
    latency::{self, Seen},
    programs::{self, Clients, Server},
    rider::{Encoding, Peer},
};

/// Points per frame, and how many times as many points per second: who sends ten at once has fewer frames, and what a
/// server pays for being woken should not be what is measured.
pub const SHAPES: [(u32, u32); 2] = [(1, 1), (10, 3)];

/// How long and how much.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Points per second of all riders together, when each is a frame of its own.
    pub points_per_s: u32,
    pub warm_up: Duration,
    pub idle: Duration,
    pub span: Duration,
}

/// Work under a steady load.
#[derive(Clone, Debug, Default)]
pub struct Steady {
    pub points_per_frame: u32,
    pub span: Duration,
    /// Frames that were sent in the span.
    pub frames: u64,
    pub frame_bytes: u64,
    /// Acks or echoes in the span.
    pub heard: u64,
    /// What the server used in the span.
    pub cpu: Cpu,
    /// What PostgreSQL used from the first frame to the last commit, and the points of that time.
    pub postgres: Duration,
    pub points: u64,
    pub latencies: Vec<Seen>,
}

/// A server with so many connections.
#[derive(Clone, Debug)]
pub struct Measured {
    pub encoding: Encoding,
    pub riders: u32,
    pub resident_empty: u64,
    pub resident_idle: u64,
    pub resident_loaded: u64,
    /// What the idle connections cost, per second of real time.
    pub idle: Cpu,
    pub idle_span: Duration,
    pub steady: Vec<Steady>,
    /// Points sent, and rows found in the end.
    pub stored: Option<(u64, u64)>,
}

impl Measured {
    /// What idle connections cost in a span.
    pub fn idle_in(&self, span: Duration) -> Duration {
        self.idle.total().mul_f64(span.as_secs_f64() / self.idle_span.as_secs_f64())
    }
}

/// The engine, and what of its points is stored: every one, once.
pub async fn engine(
    bed: &Bed,
    encoding: Encoding,
    riders: u32,
    workers: usize,
    load: Load,
    log: &Path,
) -> Result<Measured> {
    bed.clear().await?;
    let server = programs::engine(bed.url(), workers, log).await?;
    let fleet = Fleet { peer: Peer::Engine, address: server.address, encoding, riders };
    let (mut measured, counts) = serve(&server, fleet, Some(bed), load).await?;
    server.terminate().await?;
    ensure!(counts.refused == 0, "the engine refused {} points", counts.refused);
    measured.stored = Some((counts.points, bed.rows().await?));
    ensure!(bed.doubled().await? == 0, "points were stored twice");
    Ok(measured)
}

/// The echo server under the same frames.
pub async fn echo(encoding: Encoding, riders: u32, workers: usize, load: Load) -> Result<Measured> {
    let server = programs::echo(workers).await?;
    let fleet = Fleet { peer: Peer::Echo, address: server.address, encoding, riders };
    let (measured, _) = serve(&server, fleet, None, load).await?;
    server.kill().await?;
    Ok(measured)
}

async fn serve(server: &Server, fleet: Fleet, bed: Option<&Bed>, load: Load) -> Result<(Measured, Counts)> {
    let pid = server.pid()?;
    eprintln!("{:?}, {} connections, {}: process {pid}", fleet.peer, fleet.riders, fleet.encoding.name());
    // What a start leaves behind is given back first.
    sleep(Duration::from_secs(1)).await;
    let resident_empty = resident(pid)?;
    let (mut clients, _) = Clients::start(fleet).await?;
    sleep(load.warm_up).await;
    let (begun, before) = (Instant::now(), cpu_of(pid)?);
    sleep(load.idle).await;
    let (idle_span, idle, resident_idle) = (begun.elapsed(), cpu_of(pid)? - before, resident(pid)?);
    let mut steady = Vec::new();
    for (points_per_frame, times) in SHAPES {
        let load = Load { points_per_s: load.points_per_s * times, ..load };
        steady.push(steadily(server, &mut clients, fleet, points_per_frame, bed, load).await?);
    }
    let counts = clients.ask(Word::Count).await?;
    let measured = Measured {
        encoding: fleet.encoding,
        riders: fleet.riders,
        resident_empty,
        resident_idle,
        resident_loaded: resident(pid)?,
        idle,
        idle_span,
        steady,
        stored: None,
    };
    Ok((measured, counts))
}

async fn steadily(
    server: &Server,
    clients: &mut Clients,
    fleet: Fleet,
    points: u32,
    bed: Option<&Bed>,
    load: Load,
) -> Result<Steady> {
    let pid = server.pid()?;
    let postgres = || bed.map_or(Ok(Cpu::default()), |bed| cpu_with_children(bed.postmaster()));
    let every_us = u64::from(fleet.riders) * u64::from(points) * 1_000_000 / u64::from(load.points_per_s);
    let first = clients.ask(Word::Count).await?;
    let stored_before = postgres()?;
    clients.tell(Word::Ride { every_us, points }).await?;
    // Riders begin one after the other over a whole interval.
    sleep(load.warm_up + Duration::from_micros(every_us)).await;
    let seen = if bed.is_some() { latency::look(server.address).await? } else { latency::Look::default() };
    let (begun, cpu, counts) = (Instant::now(), cpu_of(pid)?, clients.ask(Word::Count).await?);
    sleep(load.span).await;
    let (span, cpu) = (begun.elapsed(), cpu_of(pid)? - cpu);
    let then = clients.ask(Word::Count).await?;
    let latencies = if bed.is_some() { latency::look(server.address).await?.since(&seen) } else { Vec::new() };
    let last = clients.ask(Word::Rest).await?;
    let frames = then.frames - counts.frames;
    Ok(Steady {
        points_per_frame: points,
        span,
        frames,
        frame_bytes: (then.bytes - counts.bytes) / frames.max(1),
        heard: then.heard - counts.heard,
        cpu,
        postgres: (postgres()? - stored_before).total(),
        points: last.points - first.points,
        latencies,
    })
}
