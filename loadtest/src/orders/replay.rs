//! A real day from CSV files: its orders and its couriers, and the window of it that is replayed. Pure.

use std::io::Read;

use dispatch_engine::wire::LatLon;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::{PlannedOrder, Whims};
use crate::{cli::Manners, device::Shift, device::motion::Vehicle};

/// Seconds of a day.
const DAY_S: i64 = 86_400;

/// A row of the orders.
#[derive(Clone, Debug, Deserialize)]
struct OrderRow {
    order_id: u64,
    pick_up_lat: f64,
    pick_up_lng: f64,
    drop_off_lat: f64,
    drop_off_lng: f64,
    placement_time: String,
    ready_time: String,
    expected_drop_off_time: String,
}

/// A row of the couriers.
#[derive(Clone, Debug, Deserialize)]
struct CourierRow {
    courier_id: u64,
    vehicle: String,
    on_lat: f64,
    on_lng: f64,
    on_time: String,
    off_time: String,
}

/// An order of the day; times are seconds of the day.
#[derive(Clone, Debug, PartialEq)]
pub struct DayOrder {
    /// Its number in the data.
    pub id: u64,
    /// Where the goods are.
    pub pickup: LatLon,
    /// Where they go.
    pub drop: LatLon,
    /// When it was placed.
    pub placed: i64,
    /// When the goods were ready; never before the placement.
    pub ready: i64,
    /// The promise.
    pub promise: i64,
}

/// A courier of the day; times are seconds of the day.
#[derive(Clone, Debug, PartialEq)]
pub struct DayCourier {
    /// Its number in the data.
    pub id: u64,
    /// How the courier moves.
    pub vehicle: Vehicle,
    /// Where the shift starts.
    pub at: LatLon,
    /// When it starts.
    pub on: i64,
    /// When it ends.
    pub off: i64,
}

/// What was read, and what was left out or put right, for the report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Day<T> {
    /// The rows, in the order of the file.
    pub rows: Vec<T>,
    /// Rows that were put right: an order ready before it was placed.
    pub clamped: usize,
    /// Rows that were left out: a shift that ends before it starts.
    pub skipped: usize,
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadData {
    /// Not the CSV that was expected.
    #[error(transparent)]
    Csv(#[from] csv::Error),
    /// A time or a word with no meaning.
    #[error("row {id}: `{value}` is no {what}")]
    Value {
        /// The row's number.
        id: u64,
        /// The value.
        value: String,
        /// What it should have been.
        what: &'static str,
    },
}

/// Seconds of the day from `HH:MM:SS`.
fn seconds(id: u64, text: &str) -> Result<i64, BadData> {
    let mut parts = text.trim().split(':').map(str::parse::<u32>);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(Ok(h)), Some(Ok(m)), Some(Ok(s)), None) if h < 48 && m < 60 && s < 60 => {
            Ok(i64::from(h) * 3_600 + i64::from(m) * 60 + i64::from(s))
        }
        _ => Err(BadData::Value { id, value: text.to_owned(), what: "time of the day" }),
    }
}

/// Reads a day's orders.
///
/// # Errors
/// [`BadData`] naming the row.
pub fn orders(source: impl Read) -> Result<Day<DayOrder>, BadData> {
    let mut day = Day { rows: vec![], clamped: 0, skipped: 0 };
    for row in csv::Reader::from_reader(source).into_deserialize() {
        let row: OrderRow = row?;
        let id = row.order_id;
        let placed = seconds(id, &row.placement_time)?;
        let (ready, promise) = (seconds(id, &row.ready_time)?, seconds(id, &row.expected_drop_off_time)?);
        day.clamped += usize::from(ready < placed);
        day.rows.push(DayOrder {
            id,
            pickup: LatLon { lat: row.pick_up_lat, lon: row.pick_up_lng },
            drop: LatLon { lat: row.drop_off_lat, lon: row.drop_off_lng },
            placed,
            ready: ready.max(placed),
            // A promise after midnight.
            promise: if promise < placed { promise + DAY_S } else { promise },
        });
    }
    Ok(day)
}

/// Reads a day's couriers.
///
/// # Errors
/// [`BadData`] naming the row.
pub fn couriers(source: impl Read) -> Result<Day<DayCourier>, BadData> {
    let mut day = Day { rows: vec![], clamped: 0, skipped: 0 };
    for row in csv::Reader::from_reader(source).into_deserialize() {
        let row: CourierRow = row?;
        let id = row.courier_id;
        let (on, off) = (seconds(id, &row.on_time)?, seconds(id, &row.off_time)?);
        if off <= on {
            day.skipped += 1;
            continue;
        }
        let vehicle = Vehicle::parse(&row.vehicle);
        let vehicle = vehicle.ok_or(BadData::Value { id, value: row.vehicle, what: "vehicle" })?;
        day.rows.push(DayCourier { id, vehicle, at: LatLon { lat: row.on_lat, lon: row.on_lng }, on, off });
    }
    Ok(day)
}

/// The orders placed in `from..to` (seconds of the day), in time; a plan that starts at `from`.
pub fn plan(day: &[DayOrder], from: u32, to: u32, manners: &Manners, rng: &mut ChaCha8Rng) -> Vec<PlannedOrder> {
    let (from, to) = (i64::from(from), i64::from(to));
    let mut chosen: Vec<&DayOrder> = day.iter().filter(|order| (from..to).contains(&order.placed)).collect();
    chosen.sort_by_key(|order| (order.placed, order.id));
    let plan = chosen.into_iter().zip(1..).map(|(order, number)| PlannedOrder {
        number,
        city: 0,
        at: (order.placed - from) * 1_000,
        store: format!("store {:.5}/{:.5}", order.pickup.lat, order.pickup.lon),
        store_number: order.pickup.lat.to_bits() ^ order.pickup.lon.to_bits().rotate_left(17),
        pickup: order.pickup,
        drop: order.drop,
        ready: (order.ready - from) * 1_000,
        promise: (order.promise - from) * 1_000,
        whims: Whims::draw(manners, rng),
    });
    plan.collect()
}

/// The couriers whose shift touches the time from `from` to `until` (seconds of the day; `until` includes the time in
/// which the orders are worked off), a random `share` of them, with their shifts in the plan.
pub fn fleet(day: &[DayCourier], from: u32, until: i64, share: f64, rng: &mut ChaCha8Rng) -> Vec<(DayCourier, Shift)> {
    let from = i64::from(from);
    day.iter()
        .filter(|courier| courier.on < until && courier.off > from)
        .filter(|_| rng.random_bool(share))
        .map(|courier| {
            let shift = Shift { on: (courier.on - from) * 1_000, off: Some((courier.off - from) * 1_000) };
            (courier.clone(), shift)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::device::work_tests::good_manners;

    const ORDERS: &str = "\
order_id,pick_up_lat,pick_up_lng,drop_off_lat,drop_off_lng,placement_time,preparation_time,ready_time,expected_drop_off_time
7,7.06,-73.10,7.07,-73.11,12:30:00,12:31:00,12:29:00,13:10:00
5,7.06,-73.10,7.07,-73.11,12:00:00,12:01:00,12:15:00,12:40:00
9,7.06,-73.10,7.07,-73.11,13:00:00,13:01:00,13:15:00,13:40:00
8,7.06,-73.10,7.07,-73.11,23:50:00,23:51:00,23:59:00,00:30:00
";

    const COURIERS: &str = "\
courier_id,vehicle,on_lat,on_lng,on_time,off_time
1,motorcycle,7.11,-73.10,00:00:01,23:58:00
2,walking,7.11,-73.10,12:30:00,12:45:00
3,car,7.11,-73.10,12:30:00,12:30:00
4,bicycle,7.11,-73.10,14:30:00,18:00:00
";

    fn rng() -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(1)
    }

    #[test]
    fn orders_are_read_put_right_and_cut_to_the_window() {
        let day = orders(ORDERS.as_bytes()).unwrap();
        assert_eq!((day.rows.len(), day.clamped), (4, 1));
        assert_eq!(day.rows[3].promise, DAY_S + 1_800);
        let plan = plan(&day.rows, 43_200, 46_800, &good_manners(), &mut rng());
        let times: Vec<_> = plan.iter().map(|o| (o.number, o.at, o.ready, o.promise)).collect();
        assert_eq!(times, [(1, 0, 900_000, 2_400_000), (2, 1_800_000, 1_800_000, 4_200_000)]);
        assert_eq!(plan[0].store, plan[1].store);
    }

    #[test]
    fn couriers_come_when_their_shift_touches_the_time() {
        let day = couriers(COURIERS.as_bytes()).unwrap();
        assert_eq!((day.rows.len(), day.skipped), (3, 1));
        let ids = |until| -> Vec<u64> {
            fleet(&day.rows, 43_200, until, 1.0, &mut rng()).iter().map(|(courier, _)| courier.id).collect()
        };
        assert_eq!(ids(46_800), [1, 2]);
        assert_eq!(ids(54_000), [1, 2, 4]);
        let (_, shift) = fleet(&day.rows, 43_200, 46_800, 1.0, &mut rng()).remove(1);
        assert_eq!(shift, Shift { on: 1_800_000, off: Some(2_700_000) });
        assert!(fleet(&day.rows, 43_200, 46_800, 0.0, &mut rng()).is_empty());
    }

    /// The rows of both cities and the shifts that end before they start, as counted when the data was chosen.
    #[test]
    fn real_days_are_read_whole() {
        let Some(folder) = std::env::var_os("DISPATCH_DATA").map(std::path::PathBuf::from) else {
            return eprintln!("SKIPPED real_days_are_read_whole: DISPATCH_DATA names no folder of real data");
        };
        for (city, orders_of_day, riders_of_day, backward_shifts) in [("3", 2_959, 1_185, 4), ("13", 4_516, 1_876, 45)]
        {
            let open = |name| std::fs::File::open(folder.join("rappi").join(city).join(name)).unwrap();
            assert_eq!(orders(open("orders.csv")).unwrap().rows.len(), orders_of_day, "city {city}");
            let day = couriers(open("couriers.csv")).unwrap();
            assert_eq!((day.rows.len() + day.skipped, day.skipped), (riders_of_day, backward_shifts), "city {city}");
        }
    }

    #[test]
    fn bad_rows_are_named() {
        let bad = COURIERS.replace("walking", "boat");
        assert_eq!(couriers(bad.as_bytes()).unwrap_err().to_string(), "row 2: `boat` is no vehicle");
        let bad = ORDERS.replace("13:10:00", "13:70:00");
        assert_eq!(orders(bad.as_bytes()).unwrap_err().to_string(), "row 7: `13:70:00` is no time of the day");
        assert!(orders("a,b\n1,2\n".as_bytes()).is_err());
    }
}
