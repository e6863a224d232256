//! The rival that lives in a process of its own: a private Redis over a unix socket, with GEOADD and GEOSEARCH. Its
//! processor time is that of its process; what we spend on asking is in the wall time only.

use std::time::Duration;

use dispatch_engine::supervisor::{DataDir, Redis};
use nix::{
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};
use redis::{Connection, Value};

use super::{
    Anyhow, NEAREST,
    fleet::{HALF_M, Ping},
    rivals::Rival,
};

const KEY: &str = "riders";

/// The server, for as long as the benchmark lasts.
pub struct Server {
    runtime: tokio::runtime::Runtime,
    redis: Redis,
    _folder: (DataDir, tempfile::TempDir),
    /// As it calls itself.
    pub version: String,
}

impl Server {
    /// Starts it; `None` where no Redis is installed.
    pub fn start() -> Anyhow<Option<Self>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let place = tempfile::tempdir()?;
        let folder = DataDir::open(place.path())?;
        let path = std::env::var("PATH").unwrap_or_default();
        let Some(redis) = runtime.block_on(Redis::start(&folder, &path))? else { return Ok(None) };
        let info: String = redis::cmd("INFO").arg("server").query(&mut connect(&redis)?)?;
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("?").to_owned();
        Ok(Some(Self { runtime, redis, _folder: (folder, place), version }))
    }

    /// A rival without riders, with so many to come.
    pub fn rival(&self, riders: usize) -> Anyhow<Geo> {
        let mut connection = connect(&self.redis)?;
        redis::cmd("FLUSHALL").arg("SYNC").exec(&mut connection)?;
        // A circle that holds the ten in all but the emptiest places: a hundred riders, were they spread evenly.
        let radius_m = (100.0 / riders as f64 * (2.0 * HALF_M).powi(2) / std::f64::consts::PI).sqrt();
        Ok(Geo { connection, pid: Pid::from_raw(self.redis.pid()), radius_m })
    }

    pub fn stop(self) -> Anyhow<()> {
        Ok(self.runtime.block_on(self.redis.stop())?)
    }
}

fn connect(redis: &Redis) -> Anyhow<Connection> {
    Ok(redis::Client::open(redis.url())?.get_connection()?)
}

/// One key of riders.
pub struct Geo {
    connection: Connection,
    pid: Pid,
    radius_m: f64,
}

impl Geo {
    /// What it says of its own memory, bytes.
    pub fn memory(&mut self) -> Anyhow<f64> {
        let info: String = redis::cmd("INFO").arg("memory").query(&mut self.connection)?;
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).ok_or("no used_memory")?;
        Ok(used.trim().parse()?)
    }
}

impl Rival for Geo {
    const NAME: &'static str = "Redis";
    const TIMES_ONE: bool = false;

    /// One pipeline.
    fn put(&mut self, pings: &[(usize, Ping)]) -> Anyhow<()> {
        let mut pipe = redis::pipe();
        for (_, ping) in pings {
            let (lat, lon) = (ping.position.lat(), ping.position.lon());
            pipe.cmd("GEOADD").arg(KEY).arg(lon).arg(lat).arg(ping.rider.to_string()).ignore();
        }
        Ok(pipe.exec(&mut self.connection)?)
    }

    /// One question and its answer; a wider circle where the first one holds too few.
    fn nearest(&mut self, from: &Ping) -> Anyhow<usize> {
        let mut radius_m = self.radius_m;
        loop {
            let mut ask = redis::cmd("GEOSEARCH");
            ask.arg(KEY).arg("FROMLONLAT").arg(from.position.lon()).arg(from.position.lat());
            ask.arg("BYRADIUS").arg(radius_m).arg("m").arg("ASC").arg("COUNT").arg(NEAREST);
            let found: Vec<Value> = ask.query(&mut self.connection)?;
            if found.len() >= NEAREST || radius_m > 4.0 * HALF_M {
                return Ok(found.len());
            }
            radius_m *= 2.0;
        }
    }

    fn cpu(&self) -> Anyhow<Duration> {
        Ok(clock_gettime(clock_getcpuclockid(self.pid)?)?.into())
    }
}
