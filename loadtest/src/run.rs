//! A run from its set-up to its report: warm-up, placing, draining, going home, cross-check.

use std::{
    io::Write,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use dispatch_engine::replay::{
    outcome::Outcomes,
    report::{CityRuns, Run as QualityRun},
    scenario::Shift,
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::Instant,
};

use crate::{
    api::Api,
    cli::{Cli, ExpectedSpeed, Mode, Target},
    clock::ServerClock,
    crosscheck::{self, Stored},
    device::{Phase, Shared, link::Endpoint, live},
    faults::{self, Drills, Wish},
    ledger::Ledger,
    live_line::LiveLine,
    orders::placer::{Merchants, place_all},
    outcomes::{self, Frame},
    points::{self, PointCheck},
    report::{Report, Timing},
    setup,
    stats::Stats,
    stop::{self, Stop},
    token::Minter,
};

/// Readings taken to align the clock.
const READINGS: usize = 9;

/// Handshakes at the same time.
const HANDSHAKES: usize = 64;

/// Real time in which more riders must come on duty for the warm-up to go on.
const WARMUP_STALL: Duration = Duration::from_secs(15);

/// Real time between two looks at what is left to be worked off.
const DRAIN_LOOK: Duration = Duration::from_secs(2);

/// Real time granted for the orders to end once the run was told to stop.
const BRIEF_DRAIN: Duration = Duration::from_secs(15);

/// Real time in which all devices must have gone home.
const GOING_HOME: Duration = Duration::from_secs(30);

/// Does what the command line says; answers whether everything agreed.
///
/// # Errors
/// When the engine cannot be reached, refuses the set-up, or cannot be read back.
pub async fn run(cli: &Cli) -> anyhow::Result<bool> {
    let (target, expected) = match &cli.mode {
        Mode::Synthetic(args) => (&args.target, args.clock_speed),
        Mode::Replay(args) => (&args.target, args.speed),
    };
    let api = Api::new(&target.url, Minter::new(&target.jwt_secret))?;
    let clock = align(&api, expected).await?;
    let plan = match &cli.mode {
        Mode::Synthetic(args) => setup::plan_synthetic(args, &api).await?,
        Mode::Replay(args) => setup::plan_replay(args, &api).await?,
    };
    let panics = faults::plan(&cli.mode, &plan.cities, &api).await?;
    let run_id = target.run_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string()[..12].to_owned());
    let shared = Arc::new(Shared {
        clock,
        manners: plan.manners.clone(),
        stats: Stats::default(),
        ledger: Ledger::default(),
        endpoint: endpoint(target, api.minter().clone()).await?,
        handshakes: Semaphore::new(HANDSHAKES),
    });
    let merchants = Merchants {
        api: api.clone(),
        cities: plan.cities.clone(),
        ids: setup::merchants(&api, &run_id, target.merchants).await?,
        prefix: format!("lt-{run_id}-"),
        shared: Arc::clone(&shared),
    };
    let riders = setup::riders(&api, &plan, &run_id, target.seed, &clock).await?;
    let mut run = Run {
        target: target.clone(),
        run_id,
        api: api.clone(),
        began: Instant::now(),
        began_at: clock.now(),
        clock,
        stop: stop::watch(api, clock)?,
        line: LiveLine::new(target.quiet, plan.place_for),
        merchants: Arc::new(merchants),
        shared,
        panics,
    };
    run.carry_out(plan, riders).await
}

/// Aligns with the engine's clock.
async fn align(api: &Api, expected: ExpectedSpeed) -> anyhow::Result<ServerClock> {
    let (mut readings, mut speeds) = (vec![], vec![]);
    for _ in 0..READINGS {
        let (reading, speed) = api.clock().await.context("the engine's clock cannot be read")?;
        readings.push(reading);
        speeds.push(speed);
    }
    let speed = speeds.first().copied().unwrap_or(1.0);
    ensure!(speed.is_finite() && speed > 0.0, "the engine's clock runs at {speed}");
    if !expected.agrees_with(speed) {
        bail!("the engine's clock runs at {speed}, not at the speed that was asked for");
    }
    ServerClock::aligned(&readings, speed).context("the engine's clock gave no reading")
}

async fn endpoint(target: &Target, minter: Minter) -> anyhow::Result<Endpoint> {
    let authority = target.url.strip_prefix("http://").context("--url must begin with http://")?;
    let authority = authority.split('/').next().unwrap_or_default();
    let host = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let mut addresses = tokio::net::lookup_host(&host).await.with_context(|| format!("{host} cannot be looked up"))?;
    let address: SocketAddr = addresses.next().with_context(|| format!("{host} has no address"))?;
    let uri = format!("ws://{authority}/v1/rider/socket").parse().context("--url is no address")?;
    Ok(Endpoint { address, uri, sources: target.sources, minter })
}

struct Run {
    target: Target,
    run_id: String,
    api: Api,
    began: Instant,
    began_at: i64,
    clock: ServerClock,
    stop: Stop,
    line: LiveLine,
    merchants: Arc<Merchants>,
    shared: Arc<Shared>,
    panics: Vec<Wish>,
}

impl Run {
    async fn carry_out(
        &mut self,
        mut plan: setup::Plan,
        riders: Vec<(crate::device::behaviour::Rider, Shift)>,
    ) -> anyhow::Result<bool> {
        let (phase, watching) = watch::channel(Phase::Warmup);
        let early = riders.iter().filter(|(_, shift)| shift.on <= 0).count();
        let fleet = riders.len();
        let mut devices = JoinSet::new();
        for (rider, shift) in riders {
            devices.spawn(live(rider, shift, Arc::clone(&self.shared), watching.clone()));
        }
        self.warm_up(early).await?;
        let on_duty_at_start = self.on_duty();

        let (t0, placing) = (self.clock.now(), Instant::now());
        phase.send_replace(Phase::Running { t0 });
        let drills = Drills::start(std::mem::take(&mut self.panics), &self.api, &self.shared, t0);
        let until = plan.place_for.map(|place_for| t0 + place_for);
        let orders = std::mem::replace(&mut plan.orders, Box::new(std::iter::empty()));
        let mut places = tokio::spawn(place_all(Arc::clone(&self.merchants), orders, t0, until, self.stop.told()));
        let later = loop {
            tokio::select! {
                later = &mut places => break later.context("placing ended badly")?,
                () = tokio::time::sleep(LiveLine::EVERY) => self.line.show("placing", &self.shared, t0),
            }
        };
        // The last order may come before the end of the window.
        if let Some(until) = until {
            let mut told = self.stop.told();
            tokio::select! {
                () = self.clock.sleep_until(until) => {}
                _ = told.wait_for(|told| *told) => {}
            }
        }
        let (placed_to, placed_in) = (self.clock.now(), placing.elapsed());
        let drained = self.drain(&plan.cities, placed_to, plan.drain_for).await;
        drop(later);
        drills.finish(&self.shared).await;
        let drained_to = self.clock.now();

        phase.send_replace(Phase::Closing);
        self.line.show("going home", &self.shared, t0);
        let home = async { while devices.join_next().await.is_some() {} };
        let all_home = tokio::time::timeout(GOING_HOME, home).await.is_ok();
        devices.shutdown().await;

        self.line.show("cross-check", &self.shared, t0);
        let stored = self.read_back(&plan.cities).await;
        let points = self.read_points(&plan.cities).await;
        let timing = Timing {
            placing_clock_s: (placed_to - t0) as f64 / 1_000.0,
            placing_real_s: placed_in.as_secs_f64(),
            draining_clock_s: (drained_to - placed_to) as f64 / 1_000.0,
            total_real_s: self.began.elapsed().as_secs_f64(),
            drained,
            interrupted: self.stop.was_told(),
            all_home,
            clock_speed: self.clock.speed(),
            clock_uncertainty_ms: self.clock.uncertainty().as_secs_f64() * 1_000.0,
            clock_drift_ms: self.stop.drift_ms(),
        };
        self.line.finish();
        let from_s = plan.days.as_ref().map_or(0, |days| days.window.from_s);
        let frame = Frame { t0, from_s, placed_to, until: drained_to };
        let quality = stored.as_ref().map(|stored| self.quality(frame, &plan, stored)).unwrap_or_default();
        let report = Report::new(
            plan.mode,
            &self.run_id,
            plan.config,
            timing,
            (fleet, on_duty_at_start),
            stored.as_ref().ok(),
            points.as_ref().ok().cloned().unwrap_or_default(),
            quality,
            &self.shared,
        );
        if let Some(path) = &self.target.report_json {
            let json = serde_json::to_vec_pretty(&report).context("the report cannot be written down")?;
            tokio::fs::write(path, json).await.with_context(|| format!("cannot write {}", path.display()))?;
        }
        if let Some(path) = &self.target.report_html {
            let page = report.page().context("the page cannot be made")?;
            tokio::fs::write(path, page).await.with_context(|| format!("cannot write {}", path.display()))?;
        }
        if !self.target.quiet {
            // Whoever reads it may have seen enough.
            let _ = writeln!(std::io::stdout().lock(), "{}", report.table());
        }
        for difference in report.first_differences() {
            eprintln!("{}: {:?}: {}", difference.kind, difference.order, difference.detail);
        }
        stored.context("the stored orders cannot be read back")?;
        points.context("the stored points cannot be read back")?;
        ensure!(!self.stop.engine_lost(), "the engine was lost during the run");
        Ok(report.agrees())
    }

    /// How good the run was, by city, beside the oracles.
    fn quality(&self, frame: Frame, plan: &setup::Plan, stored: &Stored) -> Vec<CityRuns> {
        let (riders, refused) = {
            let mut sums = self.shared.stats.sums();
            (std::mem::take(&mut sums.riders), sums.refused.clone())
        };
        let runs = outcomes::of_run(frame, plan, stored, &riders, &refused).into_iter();
        let of_city = |(code, runs): (&String, Vec<Outcomes>)| CityRuns {
            code: code.clone(),
            runs: runs.into_iter().map(QualityRun::new).collect(),
        };
        plan.cities.iter().zip(runs).map(of_city).collect()
    }

    fn on_duty(&self) -> usize {
        usize::try_from(self.shared.stats.on_duty.load(Relaxed)).unwrap_or(0)
    }

    /// Waits until the riders are on duty, or no more come.
    async fn warm_up(&mut self, expected: usize) -> anyhow::Result<()> {
        let (mut most, mut since) = (0, Instant::now());
        while self.on_duty() < expected && !self.stop.was_told() {
            if self.on_duty() > most {
                (most, since) = (self.on_duty(), Instant::now());
            }
            if since.elapsed() > WARMUP_STALL {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.line.show("riders come on duty", &self.shared, self.clock.now());
        }
        if expected > 0 && self.on_duty() == 0 {
            let sums = self.shared.stats.sums();
            bail!("no rider came on duty: connections {:?}, frames {:?}", sums.connect_errors, sums.socket_errors);
        }
        Ok(())
    }

    /// Waits until no order of the run is live any more; `false` when the time was over before.
    async fn drain(&self, cities: &[String], from: i64, drain_for: i64) -> bool {
        let mut brief: Option<Instant> = None;
        loop {
            if self.stop.was_told() {
                brief.get_or_insert(Instant::now() + BRIEF_DRAIN);
            }
            let mut open = 0;
            for city in cities {
                // An engine that does not answer now is asked again.
                let Ok(state) = self.api.snapshot(city).await else {
                    open += 1;
                    continue;
                };
                let ours = |reference: &Option<String>| {
                    reference.as_deref().is_some_and(|r| r.starts_with(&self.merchants.prefix))
                };
                open += state.orders.iter().filter(|order| ours(&order.external_ref)).count();
            }
            if open == 0 {
                return true;
            }
            self.line.show(&format!("draining, {open} orders left"), &self.shared, from);
            let over = brief.is_some_and(|end| Instant::now() >= end) || self.clock.now() >= from + drain_for;
            if over || self.stop.engine_lost() {
                return false;
            }
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    }

    /// Compares the points, where the database is known.
    async fn read_points(&self, cities: &[String]) -> anyhow::Result<PointCheck> {
        let Some(url) = &self.target.database_url else { return Ok(PointCheck::default()) };
        let mut full = vec![];
        for code in cities {
            let policy = self.api.city(code).await?.map(|city| city.policy).unwrap_or_default();
            full.push(policy["pings"]["idle_store_every_s"] == 0);
        }
        let told = std::mem::take(&mut self.shared.stats.sums().points);
        let since = DateTime::<Utc>::from_timestamp_millis(self.began_at).unwrap_or_default() - TimeDelta::minutes(1);
        Ok(points::check(url, &told, &full, since).await?)
    }

    async fn read_back(&self, cities: &[String]) -> Result<Stored, crate::api::ApiError> {
        let told = self.shared.ledger.books().orders.keys().copied().collect();
        let date = |at: i64| DateTime::<Utc>::from_timestamp_millis(at).unwrap_or_default();
        let times = (date(self.began_at) - TimeDelta::minutes(1), date(self.clock.now()) + TimeDelta::minutes(1));
        crosscheck::read(&self.api, cities, &self.merchants.prefix, times, &told, self.target.histories).await
    }
}
