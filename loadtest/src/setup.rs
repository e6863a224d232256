//! What a run needs before it starts: cities, merchants, riders; made over REST.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use dispatch_engine::{
    domain::rider::Vehicle,
    replay::{
        day::{CityDay, DayCourier},
        device::{clock::DeviceClock, keeper::Limits},
        geometry::{DAY_MARGIN_M, box_around},
        manners::Manners,
        motion::Motion,
        orders::PlannedOrder,
        scenario::{Scenario, Shift, Window},
    },
    wire::{
        LatLon,
        rest::{CityBody, NewCity, NewRider},
    },
};
use futures_util::{StreamExt, TryStreamExt, stream};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    api::{Api, ApiError},
    area::Area,
    cli::{Encodings, Replay, Synthetic},
    clock::{ServerClock, millis},
    device::behaviour::{Character, Rider},
    orders::synthetic,
};

/// Busy spots per city.
const SPOTS: usize = 12;

/// How far from a busy spot a made-up rider starts, metres.
const HOME_SPREAD_M: f64 = 1_200.0;

/// Riders made at the same time.
const PARALLEL: usize = 16;

/// Real time that a device waits after `welcome` for word of which of its points arrived.
const HESITATE: Duration = Duration::from_millis(300);

/// One wave of the order rate where the run has no end.
const ENDLESS_WAVE_MS: i64 = 600_000;

/// A rider who will take part.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Index of the city.
    pub city: usize,
    /// How the rider moves.
    pub vehicle: Vehicle,
    /// Where the rider starts.
    pub at: LatLon,
    /// When the rider works.
    pub shift: Shift,
}

/// What will happen.
pub struct Plan {
    /// `synthetic` or `replay`.
    pub mode: &'static str,
    /// Codes of the cities.
    pub cities: Vec<String>,
    /// The riders.
    pub seats: Vec<Seat>,
    /// The orders in time.
    pub orders: Box<dyn Iterator<Item = PlannedOrder> + Send>,
    /// How long orders are placed, milliseconds; until told to stop, when absent.
    pub place_for: Option<i64>,
    /// How long they may be worked off after that.
    pub drain_for: i64,
    /// How riders and merchants behave.
    pub manners: Manners,
    /// Where idle riders wander, by city; absent where they stand still.
    pub haunts: Vec<Option<Arc<Area>>>,
    /// Overrules the engine's ping interval.
    pub ping_every_ms: Option<i64>,
    /// How devices write their frames.
    pub encoding: Encodings,
    /// Street distance over straight-line distance.
    pub detour: f64,
    /// What is replayed; absent when the run is made up.
    pub days: Option<Days>,
    /// The settings, for the report.
    pub config: Value,
}

/// Replayed days, kept so that an oracle can live them too.
pub struct Days {
    /// The window.
    pub window: Window,
    /// By city.
    pub scenarios: Vec<Scenario>,
}

/// Prepares a made-up run in cities that the engine has.
///
/// # Errors
/// When a city is unknown, or has no room for a trip.
pub async fn plan_synthetic(args: &Synthetic, api: &Api) -> anyhow::Result<Plan> {
    let mut rng = ChaCha8Rng::seed_from_u64(args.target.seed);
    let mut areas = vec![];
    for code in &args.city {
        let city = api.city(code).await?.with_context(|| format!("the engine has no city `{code}`"))?;
        let area = Area::new(&city.boundary, SPOTS, &mut rng);
        areas.push(Arc::new(area.with_context(|| format!("city `{code}` has no room"))?));
    }
    let seats = (0..args.riders as usize).map(|index| {
        let city = index % areas.len();
        let vehicle = match rng.random_range(0..100_u8) {
            0..80 => Vehicle::Motorcycle,
            80..97 => Vehicle::Bicycle,
            _ => Vehicle::Car,
        };
        let spot = areas[city].busy_spot(&mut rng);
        let at = areas[city].near(&mut rng, spot, HOME_SPREAD_M);
        Seat { city, vehicle, at, shift: Shift { on: 0, off: None } }
    });
    let seats = seats.collect();
    let place_for = args.duration.map(millis);
    let wave = place_for.unwrap_or(ENDLESS_WAVE_MS);
    let seed = args.target.seed;
    let orders = synthetic::Stream::new(areas.clone(), args.manners.clone(), args.orders_per_second, wave, seed);
    Ok(Plan {
        mode: "synthetic",
        cities: args.city.clone(),
        seats,
        orders: Box::new(orders),
        place_for,
        drain_for: args.target.drain_for.map_or(600_000, millis),
        manners: args.manners.clone(),
        haunts: areas.into_iter().map(Some).collect(),
        ping_every_ms: args.target.ping_every.map(millis),
        encoding: args.target.encoding,
        detour: 1.4,
        days: None,
        config: json!({
            "cities": args.city, "riders": args.riders, "orders_per_second": args.orders_per_second,
            "ping_every_ms": args.target.ping_every.map(millis), "for_ms": place_for, "seed": args.target.seed,
            "merchants": args.target.merchants, "sources": args.target.sources, "manners": args.manners,
            "encoding": args.target.encoding.word(),
        }),
    })
}

/// Prepares a window of real days, one per city; makes or widens the cities.
///
/// # Errors
/// When a file cannot be read or a city cannot be made.
pub async fn plan_replay(args: &Replay, api: &Api) -> anyhow::Result<Plan> {
    ensure!(args.from < args.to, "--from must come before --to");
    ensure!((1.0..=5.0).contains(&args.detour), "--detour must lie in 1 to 5");
    ensure!(
        args.city.len() == args.orders.len() && args.city.len() == args.couriers.len(),
        "each --city needs its --orders and its --couriers"
    );
    let cities: std::collections::BTreeSet<&String> = args.city.iter().collect();
    ensure!(cities.len() == args.city.len(), "a --city is named twice");
    let drain_ms = args.target.drain_for.map_or(3 * 3_600_000, millis);
    let window = Window { from_s: args.from, to_s: args.to, drain_ms, fleet: args.fleet };
    let (mut seats, mut scenarios, mut notes) = (vec![], vec![], serde_json::Map::new());
    for (index, (code, files)) in args.city.iter().zip(args.orders.iter().zip(&args.couriers)).enumerate() {
        let day = CityDay::read(files.0, files.1, args.data.as_deref()).with_context(|| format!("city `{code}`"))?;
        let places: Vec<LatLon> = day.places().collect();
        ensure_city(api, code, &places).await?;
        let scenario = Scenario::new(&day, &window, &args.manners, index, args.target.seed);
        notes.insert(code.clone(), serde_json::to_value(&scenario.notes)?);
        let seat = |(courier, shift): &(DayCourier, Shift)| Seat {
            city: index,
            vehicle: courier.vehicle,
            at: courier.at,
            shift: *shift,
        };
        seats.extend(scenario.couriers.iter().map(seat));
        scenarios.push(scenario);
    }
    // One line of orders in time, numbered through over the cities; the oracles know them by the same numbers.
    let mut line: Vec<&mut PlannedOrder> = scenarios.iter_mut().flat_map(|s: &mut Scenario| &mut s.orders).collect();
    line.sort_by_key(|order| order.at);
    line.iter_mut().zip(1..).for_each(|(order, number)| order.number = number);
    let orders: Vec<PlannedOrder> = line.into_iter().map(|order| order.clone()).collect();
    Ok(Plan {
        mode: "replay",
        cities: args.city.clone(),
        seats,
        orders: Box::new(orders.into_iter()),
        place_for: Some(window.length_ms()),
        drain_for: drain_ms,
        manners: args.manners.clone(),
        haunts: vec![None; args.city.len()],
        ping_every_ms: args.target.ping_every.map(millis),
        encoding: args.target.encoding,
        detour: args.detour,
        days: Some(Days { window, scenarios }),
        config: json!({
            "cities": args.city, "from_s": args.from, "to_s": args.to, "fleet": args.fleet, "detour": args.detour,
            "window": window.words(), "acceptance": args.manners.acceptance(),
            "what_goes_wrong": args.manners.mishaps(), "ping_every_ms": args.target.ping_every.map(millis),
            "seed": args.target.seed, "merchants": args.target.merchants, "manners": args.manners, "data": notes,
            "encoding": args.target.encoding.word(),
        }),
    })
}

/// Makes the city around the points, or widens the engine's own so that all of them lie inside.
async fn ensure_city(api: &Api, code: &str, points: &[LatLon]) -> anyhow::Result<()> {
    let stored = api.city(code).await?;
    let mut all = points.to_vec();
    if let Some(city) = &stored {
        let inside = Area::new(&city.boundary, 1, &mut ChaCha8Rng::seed_from_u64(0));
        if city.status == "live" && inside.is_some_and(|area| points.iter().all(|p| area.contains(*p))) {
            return Ok(());
        }
        all.extend(&city.boundary);
    }
    // A widened boundary holds the old one; the margin is for a new one only.
    let margin = if stored.is_some() { 100.0 } else { DAY_MARGIN_M };
    let boundary = box_around(all.into_iter(), margin).context("the data has no places")?;
    let city = match stored {
        Some(CityBody { code, name, time_zone, day_cutover_min, currency, policy, .. }) => NewCity {
            code,
            name,
            status: Some("live".to_owned()),
            boundary,
            time_zone,
            day_cutover_min,
            currency,
            policy,
            pay_base_minor: None,
            pay_per_km_minor: None,
        },
        None => NewCity {
            code: code.to_owned(),
            name: format!("Replay {code}"),
            status: Some("live".to_owned()),
            boundary,
            time_zone: "America/Bogota".to_owned(),
            day_cutover_min: 0,
            currency: "COP".to_owned(),
            policy: json!({}),
            pay_base_minor: None,
            pay_per_km_minor: None,
        },
    };
    api.put_city(&city).await.with_context(|| format!("city `{code}`"))?;
    Ok(())
}

/// Makes the merchants of a run.
///
/// # Errors
/// When the engine refuses one.
pub async fn merchants(api: &Api, run: &str, count: u16) -> anyhow::Result<Vec<Uuid>> {
    let mut ids = vec![];
    for number in 1..=count {
        let merchant = api.create_merchant(&format!("Load test {run}, merchant {number}")).await;
        ids.push(merchant.context("a merchant cannot be made")?.id);
    }
    Ok(ids)
}

/// Makes the riders of a plan, approved to work, and gives each its character.
///
/// # Errors
/// When the engine refuses one.
pub async fn riders(
    api: &Api,
    plan: &Plan,
    run: &str,
    seed: u64,
    clock: &ServerClock,
) -> anyhow::Result<Vec<(Rider, Shift)>> {
    let now = clock.now();
    let limits = Limits { hesitate_ms: clock.ms_in(HESITATE).max(1), ..Limits::default() };
    let made = stream::iter(plan.seats.iter().enumerate()).map(|(index, seat)| async move {
        let id = rider(api, plan, seat, run, seed, index).await?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(index as u64 + 1);
        let liar = rng.random_bool(plan.manners.liars);
        let (skewed, wrong) = (rng.random_bool(plan.manners.skewed), DeviceClock::wrong(now, &mut rng));
        let character = Character {
            rider: id,
            index,
            city: seat.city,
            liar,
            clock: if skewed { wrong } else { DeviceClock::default() },
            encoding: plan.encoding.of(index),
            limits,
            haunts: plan.haunts.get(seat.city).cloned().flatten(),
            ping_every_ms: plan.ping_every_ms,
        };
        let motion = Motion::standing(seat.at, seat.vehicle, plan.detour);
        anyhow::Ok((Rider::new(character, motion, rng), seat.shift))
    });
    made.buffered(PARALLEL).try_collect().await
}

async fn rider(api: &Api, plan: &Plan, seat: &Seat, run: &str, seed: u64, index: usize) -> anyhow::Result<Uuid> {
    // A number may be taken by an earlier run of the same name, or by this request when its answer was lost.
    for attempt in 0..10 {
        let body = NewRider {
            name: format!("Load rider {index}"),
            mobile: mobile(run, seed, index, attempt),
            city: plan.cities[seat.city].clone(),
            vehicle: seat.vehicle.to_string(),
            capacity_units: None,
            tags: vec![],
            kyc_status: Some("APPROVED".to_owned()),
        };
        match api.create_rider(&body).await {
            Ok(rider) => return Ok(rider.id),
            Err(ApiError::Refused { status: 409, .. }) => {}
            Err(error) => match error.retry_after() {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(error).context("a rider cannot be made"),
            },
        }
    }
    bail!("a rider cannot be made: ten attempts failed")
}

/// A number of 15 digits that no country code begins with: 9, eight digits of the run and the attempt, six of the rider.
fn mobile(run: &str, seed: u64, index: usize, attempt: u32) -> String {
    let name = format!("{run}/{seed}/{attempt}/{}", index / 1_000_000);
    // FNV-1a: stable between builds, which std's hasher is not.
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("+9{:08}{:06}", hash % 100_000_000, index % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mobiles_are_unique_and_well_formed() {
        let mobiles: std::collections::BTreeSet<String> = (0..2_000)
            .flat_map(|index| [mobile("a", 1, index, 0), mobile("b", 1, index, 0), mobile("a", 1, index, 1)])
            .collect();
        assert_eq!(mobiles.len(), 6_000);
        assert!(mobiles.iter().all(|m| m.len() == 16 && m.starts_with("+9")));
    }
}
