//! `dispatch demo`: a living city from one command. A private PostgreSQL and Redis, the engine as in production, two
//! cities, and the load tester as the fleet; a live line while it runs, a verdict at its end.

mod cities;
mod figures;
mod fleet;
mod secrets;
mod summary;

use std::{
    convert::Infallible,
    ffi::OsString,
    io::{IsTerminal, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    pin::pin,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use tokio::{
    sync::oneshot,
    time::{Instant, MissedTickBehavior, interval},
};

use self::{figures::Figures, fleet::Fleet, summary::FleetEnd};
use super::{BROKEN, UsageError, logging, small, stop::StopSignals};
use crate::{
    app::{self, App},
    clock::Clock,
    config::{Config, Environment, Secret},
    domain::access::Role,
    http::auth::Tokens,
    metrics::Metrics,
    store::{checks, migrate},
    supervisor::{DataDir, Postgres, PostgresOptions, Redis},
};

/// Orders per rider and second when the number of orders is not given: a rider delivers one in a good half of an hour.
const ORDERS_PER_RIDER_SECOND: f64 = 0.000_5;

/// What the demo runs.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Place orders for this real time, as in 60s or 5m, then end by itself; without it, Ctrl-C ends it
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    span: Option<Duration>,
    /// Simulated riders over both cities
    #[arg(long, default_value_t = 400)]
    riders: u32,
    /// Orders placed per second of the engine's clock, over both cities; without it, 0.0005 for each rider, as many as
    /// they deliver with time to spare (0.2 for 400 riders)
    #[arg(long)]
    orders_per_second: Option<f64>,
    /// How many times as fast as life the engine and the fleet run; a ride takes many minutes at 1
    #[arg(long, default_value_t = 20.0)]
    clock_speed: f64,
    /// Real time between two pings of a device
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    ping_every: Duration,
    /// Real time granted for orders to end after the last placement
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    drain_for: Duration,
    /// The port to serve on; a free one when absent
    #[arg(long)]
    port: Option<u16>,
    /// Where the private servers keep their data; kept for the next start
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Throw away what an earlier demo left in the data folder
    #[arg(long)]
    fresh: bool,
    /// Feeds the fleet's behaviour
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// After `--`: what the load tester does instead of the invented fleet, such as `replay` with its options; it is told
    /// by the demo how to reach the engine, and nothing of --for, --riders, --orders-per-second, --drain-for and --seed
    #[arg(last = true, value_name = "LOADTEST")]
    fleet: Vec<OsString>,
}

impl DemoArgs {
    /// The rate of orders: what was asked for, or as many as suit the riders.
    fn orders_per_second(&self) -> f64 {
        self.orders_per_second.unwrap_or_else(|| f64::from(self.riders) * ORDERS_PER_RIDER_SECOND)
    }

    fn check(&self) -> Result<(), String> {
        if !(0.1..=1_000.0).contains(&self.clock_speed) {
            return Err("--clock-speed must lie in 0.1..=1000".into());
        }
        if !(0.0..=100_000.0).contains(&self.orders_per_second()) {
            return Err("--orders-per-second must lie in 0..=100000".into());
        }
        if self.ping_every.is_zero() {
            return Err("--ping-every must be positive".into());
        }
        if self.fleet.first().is_some_and(|mode| mode != "replay" && mode != "synthetic") {
            return Err("what follows `--` begins with `replay` or `synthetic`, as for the load tester".into());
        }
        Ok(())
    }
}

/// Runs the demo; the exit code tells whether every promise held.
///
/// # Errors
/// When something cannot be started.
pub fn run(args: DemoArgs, mut config: Config, environment: &Environment) -> anyhow::Result<ExitCode> {
    args.check().map_err(UsageError)?;
    let folder = DataDir::open(args.data_dir.as_deref().unwrap_or(&config.private.data_dir))?;
    logging::to_file(&config.log, &folder.root().join("engine.log"))?;
    secrets::fill(&mut config, folder.root())?;
    app::run(async {
        // From here on a signal ends the demo in order instead of ending the process.
        let mut signals = StopSignals::listen()?;
        if args.fresh {
            Postgres::discard(&folder).await?;
        }
        let mut starting = pin!(Servers::start(&folder, &config, environment));
        let (servers, end) = tokio::select! {
            biased;
            signal = signals.next() => {
                println!("{signal}: stopping as soon as the private servers can be stopped");
                // They are stopped in order, which a half-started server cannot be.
                let servers = tokio::select! {
                    servers = &mut starting => servers?,
                    signal = signals.next() => anyhow::bail!("{signal} again: the start was cut off"),
                };
                (servers, Ok(End::BeforeItBegan))
            }
            servers = &mut starting => {
                let servers = servers?;
                let end = play(&args, config.clone(), environment, &folder, &servers, &mut signals).await;
                (servers, end)
            }
        };
        let stopped = servers.stop().await;
        let end = end?;
        stopped?;
        if matches!(end, End::BeforeItBegan) {
            println!("stopped before the fleet began: no verdict");
        }
        Ok(if matches!(end, End::Broken) { ExitCode::from(BROKEN) } else { ExitCode::SUCCESS })
    })?
}

/// How a demo ended.
enum End {
    /// Every promise held.
    Held,
    /// One did not, or the fleet has no verdict.
    Broken,
    /// It was told to stop before there was anything to judge.
    BeforeItBegan,
}

/// The private servers.
struct Servers {
    postgres: Postgres,
    redis: Option<Redis>,
    database: String,
}

impl Servers {
    async fn start(folder: &DataDir, config: &Config, environment: &Environment) -> anyhow::Result<Self> {
        let options = PostgresOptions {
            bin: config.private.postgres_bin.clone(),
            search_path: environment.search_path().to_owned(),
            durable: true,
            max_connections: config.database.connections + 20,
        };
        let postgres = Postgres::start(folder, &options).await?;
        let redis = Redis::start(folder, environment.search_path()).await?;
        let database = postgres.ensure_database("dispatch").await?;
        println!("PostgreSQL  {}", postgres.psql("dispatch"));
        match &redis {
            Some(redis) => println!("Redis       redis-cli -s {}", redis.socket().display()),
            None => println!("Redis       none installed: the mirror lives in this process"),
        }
        Ok(Self { postgres, redis, database })
    }

    async fn stop(self) -> anyhow::Result<()> {
        if let Some(redis) = self.redis {
            redis.stop().await?;
        }
        self.postgres.stop().await?;
        Ok(())
    }
}

/// Everything between the start and the end of the private servers.
async fn play(
    args: &DemoArgs,
    mut config: Config,
    environment: &Environment,
    folder: &DataDir,
    servers: &Servers,
    signals: &mut StopSignals,
) -> anyhow::Result<End> {
    config.location_log.spool.dir = folder.root().join("spool");
    config.database.url = Some(Secret::new(servers.database.clone()));
    config.redis.url = servers.redis.as_ref().map(|redis| Secret::new(redis.url()));
    let db = app::connect(&config).await?;
    migrate::migrate(&db).await?;
    // An earlier run with a fast clock may have left times ahead of now.
    let start = checks::latest_time(&db).await?.map_or_else(Clock::wall, |latest| latest.max(Clock::wall()));
    let clock = Clock::starting_at(start, args.clock_speed);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port.unwrap_or(0)));
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    let app = App::build(&config, clock, listener).await?;
    let url = format!("http://{}", app.address());
    println!("Engine      {url}");
    println!("Logs        {}", folder.root().join("engine.log").display());

    let metrics = app.metrics().clone();
    let (stop, stopped) = oneshot::channel::<()>();
    let mut engine = actix_web::rt::spawn(app.run_until_stopped(async move {
        // A dropped sender stops it as well.
        let _ = stopped.await;
    }));
    let secret = config.jwt_secret()?.clone();
    let show = async {
        let claims = small::claims(Role::Admin, "demo", Vec::new(), Duration::from_secs(3_600));
        let admin = Tokens::new(secret.expose().as_bytes()).issue(&claims);
        let begin = async {
            // A replay makes its own.
            if args.fleet.first().is_none_or(|mode| mode != "replay") {
                cities::seed(&url, &admin, args.ping_every.mul_f64(args.clock_speed)).await?;
            }
            Fleet::start(args, (&url, &servers.database), &secret, folder.root(), environment).await
        };
        let mut fleet = tokio::select! {
            biased;
            signal = signals.next() => {
                println!("{signal}: stopping");
                return Ok(None);
            }
            fleet = begin => fleet?,
        };
        let mut told = false;
        let ended = tokio::select! {
            ended = fleet.ended() => ended.map_err(anyhow::Error::from),
            never = live(&metrics) => match never {},
            signal = signals.next() => {
                told = true;
                println!("\n{signal}: the fleet finishes its work");
                tokio::select! {
                    ended = fleet.stop() => ended,
                    signal = signals.next() => Err(anyhow::anyhow!("{signal} again: the fleet was cut off")),
                }
            }
        };
        let end = match ended {
            Ok(status) => FleetEnd::Exited(status),
            Err(error) => FleetEnd::Lost(format!("{error:#}")),
        };
        anyhow::Ok(if told && end.before_it_began() { None } else { Some(end) })
    };
    let shown = tokio::select! {
        shown = show => shown,
        ended = &mut engine => {
            ended??;
            anyhow::bail!("the engine ended by itself; see its log");
        }
    };
    // Read while the engine still has them.
    let figures = Figures::read(&metrics);
    drop(stop);
    engine.await??;
    let Some(fleet) = shown? else {
        db.close().await;
        return Ok(End::BeforeItBegan);
    };
    println!();
    if !args.fleet.is_empty() {
        // Whoever asked for a run of their own wants to read its report.
        println!("{}", Fleet::log(folder.root()));
    }
    let held = summary::print(&db, start, &figures, &fleet).await?;
    if !Fleet::reports_elsewhere(args) {
        println!("fleet report: {}", folder.root().join("report.json").display());
    }
    db.close().await;
    Ok(if held { End::Held } else { End::Broken })
}

/// Shows the live line until it is dropped: in place at a terminal, one line every five seconds elsewhere.
async fn live(metrics: &Metrics) -> Infallible {
    let in_place = std::io::stdout().is_terminal();
    let every = Duration::from_secs(if in_place { 1 } else { 5 });
    let start = Instant::now();
    let (mut before, mut then) = (Figures::read(metrics), start);
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let (figures, now) = (Figures::read(metrics), Instant::now());
        let line = figures.line(now - start, &before, now - then);
        if in_place {
            print!("\r\x1b[2K{line}");
        } else {
            println!("{line}");
        }
        // A terminal that is gone is told to us as a signal.
        let _ = std::io::stdout().flush();
        (before, then) = (figures, now);
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        demo: DemoArgs,
    }

    #[test]
    fn more_riders_get_more_orders_unless_told_otherwise() {
        for (line, wanted) in [
            ("demo", "0.2"),
            ("demo --riders 1000", "0.5"),
            ("demo --riders 0", "0"),
            ("demo --riders 1000 --orders-per-second 5", "5"),
        ] {
            let args = Line::try_parse_from(line.split(' ')).unwrap().demo;
            assert_eq!(args.orders_per_second().to_string(), wanted, "{line}");
            args.check().unwrap();
        }
    }
}
