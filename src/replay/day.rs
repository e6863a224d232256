//! A real day from CSV files: its orders and its couriers. `docs/REPLAY.md` describes the files.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use chrono::{NaiveTime, Timelike};
use serde::Deserialize;

use crate::{
    domain::{position::Position, rider::Vehicle},
    wire::LatLon,
};

/// Seconds of a day.
const DAY_S: i64 = 86_400;

/// The columns of the orders that must be there.
const ORDER_COLUMNS: [&str; 8] = [
    "order_id",
    "pick_up_lat",
    "pick_up_lng",
    "drop_off_lat",
    "drop_off_lng",
    "placement_time",
    "ready_time",
    "expected_drop_off_time",
];

/// The columns of the couriers that must be there.
const COURIER_COLUMNS: [&str; 6] = ["courier_id", "vehicle", "on_lat", "on_lng", "on_time", "off_time"];

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

/// What was read of one file, and what was left out or put right, for the report.
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
    /// A column that must be there.
    #[error("the column `{0}` is missing")]
    Column(&'static str),
    /// A time, a place or a word with no meaning.
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

/// A day that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadDay {
    /// The file cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{}", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: BadData,
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

/// A time that belongs to an order placed at another: one that lies more than half a day before is of the next day.
const fn of_order(placed: i64, at: i64) -> i64 {
    if at < placed - DAY_S / 2 { at + DAY_S } else { at }
}

/// The rows of a file whose header has these columns.
fn rows<R: Read, T: serde::de::DeserializeOwned>(
    source: R,
    columns: &[&'static str],
) -> Result<csv::DeserializeRecordsIntoIter<R, T>, BadData> {
    let mut reader = csv::Reader::from_reader(source);
    // Read here, because an error in the header would otherwise pass as a file without one.
    let header = reader.headers()?;
    let missing = columns.iter().find(|column| !header.iter().any(|name| name == **column));
    match missing {
        Some(column) => Err(BadData::Column(column)),
        None => Ok(reader.into_deserialize()),
    }
}

/// A place from its degrees.
fn place(id: u64, lat: f64, lon: f64) -> Result<LatLon, BadData> {
    match Position::new(lat, lon) {
        Ok(_) => Ok(LatLon { lat, lon }),
        Err(_) => Err(BadData::Value { id, value: format!("{lat}, {lon}"), what: "position" }),
    }
}

/// Reads a day's orders.
///
/// # Errors
/// [`BadData`] naming the row.
pub fn read_orders(source: impl Read) -> Result<Day<DayOrder>, BadData> {
    let mut day = Day { rows: vec![], clamped: 0, skipped: 0 };
    for row in rows(source, &ORDER_COLUMNS)? {
        let row: OrderRow = row?;
        let id = row.order_id;
        let placed = seconds(id, &row.placement_time)?;
        if placed >= DAY_S {
            return Err(BadData::Value { id, value: row.placement_time, what: "placement on this day" });
        }
        let ready = of_order(placed, seconds(id, &row.ready_time)?);
        day.clamped += usize::from(ready < placed);
        day.rows.push(DayOrder {
            id,
            pickup: place(id, row.pick_up_lat, row.pick_up_lng)?,
            drop: place(id, row.drop_off_lat, row.drop_off_lng)?,
            placed,
            ready: ready.max(placed),
            promise: of_order(placed, seconds(id, &row.expected_drop_off_time)?),
        });
    }
    Ok(day)
}

/// Reads a day's couriers.
///
/// # Errors
/// [`BadData`] naming the row.
pub fn read_couriers(source: impl Read) -> Result<Day<DayCourier>, BadData> {
    let mut day = Day { rows: vec![], clamped: 0, skipped: 0 };
    for row in rows(source, &COURIER_COLUMNS)? {
        let row: CourierRow = row?;
        let id = row.courier_id;
        let (on, off) = (seconds(id, &row.on_time)?, seconds(id, &row.off_time)?);
        if off <= on {
            day.skipped += 1;
            continue;
        }
        let vehicle = Vehicle::parse(&row.vehicle);
        let vehicle = vehicle.map_err(|_| BadData::Value { id, value: row.vehicle, what: "vehicle" })?;
        day.rows.push(DayCourier { id, vehicle, at: place(id, row.on_lat, row.on_lng)?, on, off });
    }
    Ok(day)
}

/// Seconds of the day from `HH:MM` or `HH:MM:SS`; `24:00` is its end.
///
/// # Errors
/// In words, for the command line.
pub fn time_of_day(text: &str) -> Result<u32, String> {
    if matches!(text, "24:00" | "24:00:00") {
        return Ok(86_400);
    }
    let parsed = NaiveTime::parse_from_str(text, "%H:%M").or_else(|_| NaiveTime::parse_from_str(text, "%H:%M:%S"));
    parsed.map(|time| time.num_seconds_from_midnight()).map_err(|_| "must be HH:MM or HH:MM:SS".to_owned())
}

/// A city's day as it was read.
#[derive(Clone, Debug)]
pub struct CityDay {
    /// Its orders.
    pub orders: Day<DayOrder>,
    /// Its couriers.
    pub couriers: Day<DayCourier>,
}

impl CityDay {
    /// Reads both files, each given as it is or below the data folder.
    ///
    /// # Errors
    /// [`BadDay`] naming the file.
    pub fn read(orders: &Path, couriers: &Path, data: Option<&Path>) -> Result<Self, BadDay> {
        let bad = |path: &Path| {
            let path = path.to_owned();
            move |source| BadDay::Data { path, source }
        };
        Ok(Self {
            orders: read_orders(open(orders, data)?).map_err(bad(orders))?,
            couriers: read_couriers(open(couriers, data)?).map_err(bad(couriers))?,
        })
    }

    /// Every place of the day: where orders start and end, and where couriers begin.
    pub fn places(&self) -> impl Iterator<Item = LatLon> + '_ {
        let orders = self.orders.rows.iter().flat_map(|order| [order.pickup, order.drop]);
        orders.chain(self.couriers.rows.iter().map(|courier| courier.at))
    }
}

/// Opens a file, given as it is or below the data folder.
fn open(path: &Path, data: Option<&Path>) -> Result<File, BadDay> {
    let below = data.map(|data| data.join(path)).filter(|below| !path.exists() && below.exists());
    let path = below.as_deref().unwrap_or(path);
    File::open(path).map_err(|source| BadDay::Open { path: path.to_owned(), source })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub const ORDERS: &str = "\
order_id,pick_up_lat,pick_up_lng,drop_off_lat,drop_off_lng,placement_time,preparation_time,ready_time,expected_drop_off_time
7,7.06,-73.10,7.07,-73.11,12:30:00,12:31:00,12:29:00,13:10:00
5,7.06,-73.10,7.07,-73.11,12:00:00,12:01:00,12:15:00,12:40:00
9,7.06,-73.10,7.07,-73.11,13:00:00,13:01:00,13:15:00,13:40:00
8,7.06,-73.10,7.07,-73.11,23:50:00,23:51:00,23:59:00,00:30:00
";

    pub const COURIERS: &str = "\
courier_id,vehicle,on_lat,on_lng,on_time,off_time
1,motorcycle,7.11,-73.10,00:00:01,23:58:00
2,walking,7.11,-73.10,12:30:00,12:45:00
3,car,7.11,-73.10,12:30:00,12:30:00
4,bicycle,7.11,-73.10,14:30:00,18:00:00
";

    #[test]
    fn rows_are_read_and_put_right() {
        let day = read_orders(ORDERS.as_bytes()).unwrap();
        assert_eq!((day.rows.len(), day.clamped), (4, 1));
        assert_eq!(day.rows[3].promise, DAY_S + 1_800);
        let day = read_couriers(COURIERS.as_bytes()).unwrap();
        assert_eq!((day.rows.len(), day.skipped), (3, 1));
    }

    #[test]
    fn times_of_the_day_are_read() {
        assert_eq!((time_of_day("11:30"), time_of_day("24:00")), (Ok(41_400), Ok(86_400)));
        assert!(time_of_day("25:00").is_err());
    }

    #[test]
    fn a_file_is_looked_up_below_the_data_folder() {
        assert!(open(Path::new("Cargo.toml"), None).is_ok());
        assert!(open(Path::new("main.rs"), Some(Path::new("src"))).is_ok());
        assert!(open(Path::new("no/such/file"), Some(Path::new("src"))).is_err());
    }

    /// The rows of both cities and the shifts that end before they start, as counted when the data was chosen.
    #[test]
    fn real_days_are_read_whole() {
        let Some(folder) = std::env::var_os("DISPATCH_DATA").map(std::path::PathBuf::from) else {
            return eprintln!("SKIPPED real_days_are_read_whole: DISPATCH_DATA names no folder of real data");
        };
        for (city, orders_of_day, riders_of_day, backward_shifts) in [("3", 2_959, 1_185, 4), ("13", 4_516, 1_876, 45)]
        {
            let open = |name| File::open(folder.join("rappi").join(city).join(name)).unwrap();
            assert_eq!(read_orders(open("orders.csv")).unwrap().rows.len(), orders_of_day, "city {city}");
            let day = read_couriers(open("couriers.csv")).unwrap();
            assert_eq!((day.rows.len() + day.skipped, day.skipped), (riders_of_day, backward_shifts), "city {city}");
        }
    }

    #[test]
    fn bad_rows_are_named() {
        let bad = COURIERS.replace("walking", "boat");
        assert_eq!(read_couriers(bad.as_bytes()).unwrap_err().to_string(), "row 2: `boat` is no vehicle");
        let bad = ORDERS.replace("13:10:00", "13:70:00");
        assert_eq!(read_orders(bad.as_bytes()).unwrap_err().to_string(), "row 7: `13:70:00` is no time of the day");
        let bad = COURIERS.replace("7.11,-73.10,00:00:01", "97.11,-73.10,00:00:01");
        assert_eq!(read_couriers(bad.as_bytes()).unwrap_err().to_string(), "row 1: `97.11, -73.1` is no position");
        let bad = ORDERS.replace("13:00:00,13:01", "24:00:00,13:01");
        let late = read_orders(bad.as_bytes()).unwrap_err().to_string();
        assert_eq!(late, "row 9: `24:00:00` is no placement on this day");
    }

    #[test]
    fn a_file_without_its_columns_is_no_empty_day() {
        for bad in ["", "a,b\n1,2\n", "order_id;pick_up_lat\n"] {
            assert!(matches!(read_orders(bad.as_bytes()), Err(BadData::Column("order_id"))), "{bad}");
        }
        // A header that is no UTF-8 must not make the columns positional.
        let latin = [b"caf\xe9,".as_slice(), ORDERS.as_bytes()].concat();
        assert!(matches!(read_orders(latin.as_slice()), Err(BadData::Csv(_))));
        let bad = COURIERS.replace("vehicle", "fahrzeug");
        assert_eq!(read_couriers(bad.as_bytes()).unwrap_err().to_string(), "the column `vehicle` is missing");
    }

    #[test]
    fn midnight_is_passed_by_whatever_lies_half_a_day_back() {
        let (late, noon) = (23 * 3_600, 12 * 3_600);
        assert_eq!(of_order(late, 300), 300 + DAY_S);
        assert_eq!(of_order(noon, noon - 60), noon - 60, "a promise that was broken when it was made");
        assert_eq!(of_order(noon, noon + 60), noon + 60);
    }
}
