//! Long tracks: pages, and the partitions that are read.

use std::{collections::BTreeSet, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use dispatch_engine::{
    domain::ids::RiderId,
    store::tracks::{self, TrackFilter},
};
use sha2::{Digest, Sha256};
use sqlx::Row;

use crate::{
    harness::{Rest, start, start_reading},
    support::token,
    tracks::{POINT, Stored, path, rider, seconds, store, time},
};

/// Two weeks of points around the end of a month, one every 12 seconds, every tenth of them twice, and every hundredth late.
async fn a_hundred_thousand(rest: &Rest, rider: RiderId) -> i64 {
    let insert = "INSERT INTO location_logs (rider_id, recorded_at, created_at, city, lat, lon, seq, boot_id, device_id, flags)
        SELECT $1, $2 + n * interval '12 s', $2 + n * interval '12 s' + CASE WHEN n % 100 = 0 THEN interval '23 h' ELSE interval '1 s' END,
               'testville', 12.97 + sin(n / 500.0) / 100, 77.59 + cos(n / 700.0) / 100, n + 1, $1, 'device', (n % 100 = 0)::int
          FROM generate_series(0, 99999) AS n, generate_series(0, (n % 10 = 3)::int)";
    let stored = sqlx::query(insert).bind(rider.0).bind(time(-7 * 86_400).to_datetime()).execute(&rest.deps.db).await;
    i64::try_from(stored.unwrap().rows_affected()).unwrap()
}

#[actix_web::test]
async fn a_long_track_is_walked_through_and_every_point_met_once() {
    // The quotas are another test's.
    let reads = dispatch_engine::http::reads::Options { track_burst: 1_000, ..Default::default() };
    let rest = start_reading(Default::default(), reads).await;
    let rider = rider(&rest).await;
    assert_eq!(a_hundred_thousand(&rest, rider).await, 110_000);
    let own = token("rider", &rider.to_string());
    let (from, to) = (-8 * 86_400, 20 * 86_400);
    let walk = async |more: &str| {
        let (mut met, mut pages, mut page) = (vec![], 0, String::new());
        loop {
            let read = rest.get(&path(rider, from, to, &format!("{more}{page}")), &own).await;
            met.extend(seconds(read.ok(200)));
            pages += 1;
            match read.body["next"].as_str() {
                Some(next) => page = format!("&page={next}"),
                None => return (met, pages),
            }
        }
    };
    let whole: Vec<i64> = (0..100_000).map(|n| n * 12 - 7 * 86_400).collect();
    let (met, pages) = walk("").await;
    assert_eq!((met.len(), pages), (100_000, 10));
    assert!(met == whole, "in order, each once");
    let (met, pages) = walk("&limit=9001").await;
    assert!(met == whole && pages == 12, "{pages} pages, {} points", met.len());
    // One leg: only its ends and those of pages and pieces have to stay.
    let (thin, _) = walk("&simplify_m=50").await;
    assert!(thin.len() < 5_000 && thin.is_sorted(), "{}", thin.len());
    let kept: BTreeSet<i64> = thin.into_iter().collect();
    assert!(whole.chunks(10_000).all(|page| kept.contains(&page[0]) && kept.contains(&page[page.len() - 1])));
}

#[actix_web::test]
async fn a_page_goes_on_where_the_one_before_ended() {
    let rest = start().await;
    let (rider, other) = (rider(&rest).await, rider(&rest).await);
    // All at one time, of two runs of the app: what tells them apart is the number, and then the run.
    let points: Vec<Stored<'_>> =
        (1..=6).flat_map(|seq| [7, 8].map(|boot| Stored { seq, boot, recorded_s: seq / 4, ..POINT })).collect();
    store(&rest, rider, &points).await;
    store(&rest, other, &points).await;
    let admin = rest.admin();
    let mut page = rest.get(&path(rider, 0, 60, "&limit=5&gap_s=60"), &admin).await;
    let mut met = seconds(page.ok(200));
    assert_eq!(page.body["points"][0]["starts"], true);
    let first = page.body["next"].as_str().unwrap().to_owned();
    let mut next = Some(first.clone());
    while let Some(token) = next {
        page = rest.get(&path(rider, 0, 60, &format!("&limit=5&gap_s=60&page={token}")), &admin).await;
        met.extend(seconds(page.ok(200)));
        assert!(page.body["points"][0].get("starts").is_none(), "no gap between pages");
        next = page.body["next"].as_str().map(str::to_owned);
    }
    assert_eq!(met, [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]);
    let map = rest.get(&path(rider, 0, 60, &format!("&limit=5&format=geojson&page={first}")), &admin).await;
    assert_eq!(map.ok(200)["features"][0]["properties"]["continues"], true);
    // The token is for this rider, this range and these points.
    for elsewhere in
        [path(other, 0, 60, ""), path(rider, 0, 61, ""), path(rider, 1, 60, ""), path(rider, 0, 60, "&late=false")]
    {
        rest.get(&format!("{elsewhere}&page={first}"), &admin).await.problem(400, "bad_page_token");
    }
    rest.get(&format!("/v1/riders?city={}&page={first}", rest.city), &admin).await.problem(400, "bad_page_token");
}

/// A place in a track as a token has it.
fn place(micros: i64, device: &str) -> Vec<u8> {
    let mut bytes = micros.to_be_bytes().to_vec();
    bytes.extend(1_i64.to_be_bytes());
    bytes.extend([7; 16]);
    bytes.extend(device.as_bytes());
    bytes
}

#[actix_web::test]
async fn a_token_that_was_not_given_out_is_refused() {
    let rest = start().await;
    let rider = rider(&rest).await;
    store(
        &rest,
        rider,
        &[POINT, Stored { seq: 2, recorded_s: 5, ..POINT }, Stored { seq: 3, recorded_s: -99, ..POINT }],
    )
    .await;
    let admin = rest.admin();
    let (path, list) = (path(rider, 0, 60, "&limit=1"), format!("track {rider} {} {} 0", time(0), time(60)));
    let first = rest.get(&path, &admin).await;
    let genuine = first.ok(200)["next"].as_str().unwrap();
    let read = async |token: &str| rest.get(&format!("{path}&page={token}"), &admin).await;
    assert_eq!(seconds(read(genuine).await.ok(200)), [5]);
    // Another place with the digest of the genuine one.
    let bytes = URL_SAFE_NO_PAD.decode(genuine).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut other = bytes.clone();
        other[bit / 8] ^= 1 << (bit % 8);
        read(&URL_SAFE_NO_PAD.encode(other)).await.problem(400, "bad_page_token");
    }
    // What everybody can work out: the digest without a key that tokens once had.
    let early = place(time(-100).as_millis() * 1_000, "device");
    for version in [1, 2] {
        for length in [12, 16] {
            let digest =
                Sha256::new().chain_update("page token 1\0").chain_update(&early).chain_update(&list).finalize();
            let forged = [&[version], &early[..], &digest[..length]].concat();
            read(&URL_SAFE_NO_PAD.encode(forged)).await.problem(400, "bad_page_token");
        }
    }
    // Even with the key, a place is one that the track may have.
    let signed = |micros: i64, device: &str| rest.deps.pages.token_at(&list, &place(micros, device));
    let from = time(0).as_millis() * 1_000;
    assert_eq!(seconds(read(&signed(from, "device")).await.ok(200)), [5]);
    for (micros, device) in [
        (from - 1, "device"),
        (from + 60_000_000, "device"),
        (-6_000_000_000_000_000_000, "device"),
        (i64::MAX, "device"),
        (from, "dev\0ice"),
        (from, &"d".repeat(65)),
    ] {
        read(&signed(micros, device)).await.problem(400, "bad_page_token");
    }
}

/// A point that came later than any is expected is found by no question, be it as part of a longer range or on a later page.
#[actix_web::test]
async fn what_came_too_late_is_not_found_by_any_page() {
    let rest = start().await;
    let rider = rider(&rest).await;
    let (hour, day) = (3_600, 86_400);
    let points = [
        POINT,
        Stored { seq: 2, recorded_s: day + 10, after_s: hour, ..POINT },
        Stored { seq: 3, recorded_s: day + 11, after_s: hour + 1, ..POINT },
        Stored { seq: 4, recorded_s: day + 12, after_s: 20 * hour, ..POINT },
    ];
    store(&rest, rider, &points).await;
    let late = Duration::from_secs(3_600);
    let all = TrackFilter { rider, from: time(0), to: time(5 * day), without: 0, cities: None, late };
    let near = TrackFilter { from: time(day), to: time(day + 20), ..all.clone() };
    let numbers = async |filter: &TrackFilter, most: usize| {
        let (mut met, mut after) = (vec![], None);
        loop {
            let page = tracks::read(&rest.deps.db, filter, after.as_ref(), most).await.unwrap();
            met.extend(page.iter().map(|point| point.seq));
            match page.last() {
                Some(last) => after = Some(last.mark()),
                None => return met,
            }
        }
    };
    for most in [1, 2, 1_000] {
        assert_eq!(numbers(&all, most).await, [1, 2], "{most} a page");
        assert_eq!(numbers(&near, most).await, [2], "{most} a page");
    }
}

/// The plan of the very statement that the store prepared, after many executions of it, when the server may have turned
/// to a plan without the values.
#[actix_web::test]
async fn a_track_reads_only_the_partitions_of_its_time() {
    let rest = start().await;
    let db = sqlx::postgres::PgPoolOptions::new().max_connections(1).connect(&rest.database_url).await.unwrap();
    for month in ["2026-08-01", "2026-09-01", "2026-10-01", "2026-11-01", "2026-12-01", "2027-01-01"] {
        let make = sqlx::query("SELECT create_location_logs_partition($1::date)")
            .bind(month.parse::<chrono::NaiveDate>().unwrap());
        make.execute(&db).await.unwrap();
    }
    let rider = rider(&rest).await;
    store(&rest, rider, &[POINT]).await;
    let day = 86_400;
    // A minute at the end of October may have been received until the first day of November.
    for (from_s, to_s, wanted) in [(-20 * day, -19 * day, 1), (-30, 30, 2), (5 * day, 6 * day, 1)] {
        let filter = TrackFilter {
            rider,
            from: time(from_s),
            to: time(to_s),
            without: 0,
            cities: None,
            late: Duration::from_secs(86_400),
        };
        for _ in 0..10 {
            tracks::read(&db, &filter, None, 10).await.unwrap();
        }
        let (low, until) = (filter.from - Duration::from_secs(900), filter.to + Duration::from_secs(900));
        let high = until + filter.late;
        let arguments = format!(
            "'{rider}', '{low}', '{high}', '{until}', '{}', -1, '{rider}', '', '{}', 0, NULL, 10, 86400",
            filter.from, filter.to
        );
        let plan = plan(&db, "DISTINCT ON", &arguments).await;
        assert_eq!(scans(&plan), wanted, "{}", plan.join("\n"));
        assert!(
            plan.iter().any(|line| line.contains("rider_id_created_at_idx")) || plan.len() < 5,
            "{}",
            plan.join("\n")
        );
    }
    for _ in 0..10 {
        assert!(tracks::last(&db, rider, (time(-31 * day), time(0)), None).await.unwrap().is_none(), "received later");
    }
    let executed = "SELECT custom_plans + generic_plans FROM pg_prepared_statements
        WHERE position($1 IN statement) > 0 AND NOT from_sql";
    let executed: i64 = sqlx::query_scalar(executed).bind("ORDER BY created_at DESC").fetch_one(&db).await.unwrap();
    assert_eq!(executed, 10, "where there is nothing, one look is enough");
    let arguments = format!("'{rider}', '{}', '{}', 1, NULL", time(-31 * day), time(0));
    let plan = plan(&db, "ORDER BY created_at DESC", &arguments).await;
    assert_eq!(scans(&plan), 2, "{}", plan.join("\n"));
    let found = tracks::last(&db, rider, (time(-31 * day), time(60)), None).await.unwrap().unwrap();
    assert_eq!(found.seq, 1);
}

async fn plan(db: &sqlx::PgPool, statement: &str, arguments: &str) -> Vec<String> {
    let prepared = "SELECT name FROM pg_prepared_statements WHERE position($1 IN statement) > 0 AND NOT from_sql";
    let name: String = sqlx::query_scalar(prepared).bind(statement).fetch_one(db).await.unwrap();
    let explain = format!("EXPLAIN (ANALYZE, COSTS OFF) EXECUTE \"{name}\" ({arguments})");
    let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(explain)).fetch_all(db).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0)).collect()
}

fn scans(plan: &[String]) -> usize {
    let reads = |line: &&String| line.contains("Scan") && line.contains(" on location_logs_y");
    plan.iter().filter(reads).count()
}
