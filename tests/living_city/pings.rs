//! Points over the real socket: each kind of bad one gets its reason and is counted, the others their remarks; a clock that
//! is set in mid-session is followed; where a rider off duty is stays unknown.

use dispatch_engine::wire::rider::{Down, DutyWish, Ping, Up};
use serde_json::json;
use sqlx::Row;

use crate::support::{
    TestApp,
    device::Device,
    spawn_app,
    world::{ELSEWHERE, KITCHEN, order},
};

fn ping(seq: u64, at: i64) -> Ping {
    Ping {
        seq,
        at,
        lat: KITCHEN.lat,
        lon: KITCHEN.lon,
        accuracy_m: Some(5.0),
        speed_mps: None,
        heading_deg: None,
        mock: false,
    }
}

/// Sends points and waits until all of them are received; which ones were refused, and why.
async fn send(device: &mut Device, pings: Vec<Ping>, sent_at: i64) -> Vec<(u64, String)> {
    let last = pings.iter().map(|ping| ping.seq).max().unwrap();
    device.send(&Up::Pings { pings, oldest: None, sent_at: Some(sent_at) }).await;
    let mut refused = Vec::new();
    let all = |down: &Down| match down {
        Down::PingsAck { received_to, refused: some, .. } => {
            refused.extend(some.iter().map(|one| (one.seq, one.reason.clone())));
            (*received_to >= last).then_some(())
        }
        _ => None,
    };
    device.wait_for(all).await;
    refused
}

async fn figure(app: &TestApp, line: &str) -> bool {
    let figures = app.get("/metrics").await.body.as_str().unwrap().to_owned();
    figures.lines().any(|one| one == line)
}

#[tokio::test]
async fn every_bad_point_gets_its_reason_and_is_counted_and_kept() {
    let app = spawn_app().await;
    let pings = json!({ "keep_refused": true, "mock": "refuse", "believe_after": 3, "burst": 30 });
    app.city("blr", json!({ "pings": pings })).await;
    let (mut device, _) = Device::connect(&app, app.rider("blr").await).await;
    let now = app.clock.now().as_millis();
    assert_eq!(send(&mut device, vec![ping(1, now)], now).await, [(1, "off_duty".to_owned())]);
    device.duty(DutyWish::On).await;

    let now = app.clock.now().as_millis();
    let at = |seq: u64, ago: i64| ping(seq, now - ago);
    let far = |seq: u64, ago: i64| Ping { lat: ELSEWHERE.lat, lon: ELSEWHERE.lon, ..at(seq, ago) };
    let refused = send(
        &mut device,
        vec![
            at(2, 3_600_000),
            at(2, 3_600_000),
            Ping { accuracy_m: Some(-1.0), ..at(3, 60_000) },
            Ping { lat: -91.0, ..at(4, 60_000) },
            Ping { lat: 0.0, lon: 0.0, ..at(5, 60_000) },
            Ping { accuracy_m: Some(2_000.0), ..at(6, 60_000) },
            Ping { mock: true, ..at(7, 60_000) },
            at(8, -60_000),
            at(9, 30 * 86_400_000),
            // The rider is where the phone says, after three points that agree.
            far(10, 60_000 + 3_500_000),
            far(11, 60_000 + 3_499_000),
            far(12, 60_000 + 3_498_000),
            far(13, 60_000 + 3_497_000),
        ],
        now,
    );
    let wanted = [
        (2, "duplicate"),
        (3, "no_fix"),
        (4, "out_of_world"),
        (5, "null_island"),
        (6, "inaccurate"),
        (7, "mock"),
        (8, "future"),
        (9, "too_old"),
        (10, "teleport"),
        (11, "teleport"),
    ];
    assert_eq!(refused.await, wanted.map(|(seq, reason)| (seq, reason.to_owned())));
    for line in ["kind=\"live\"} 3", "kind=\"late\"} 0"] {
        assert!(figure(&app, &format!("dispatch_pings_total{{{line}")).await, "{line}");
    }
    for (flag, points) in [("outside", 2), ("jumped", 1), ("at_rest", 1), ("late", 0)] {
        assert!(figure(&app, &format!("dispatch_pings_flagged_total{{flag=\"{flag}\"}} {points}")).await, "{flag}");
    }
    for (_, reason) in wanted {
        let points = if reason == "teleport" { 2 } else { 1 };
        let line = format!("dispatch_pings_refused_total{{reason=\"{reason}\"}} {points}");
        assert!(figure(&app, &line).await, "{line}");
    }

    // More than may come at once: 26 are left of the burst, and what has been earned since.
    let flood: Vec<Ping> = (20..80).map(|seq| far(seq, 3_000_000 - 1_000 * seq as i64)).collect();
    let refused = send(&mut device, flood, now).await;
    assert!(refused.iter().all(|(_, reason)| reason == "rate"), "{refused:?}");
    assert!((1..=34).contains(&refused.len()), "{}", refused.len());

    // Ten days off: not to be corrected.
    let clock = now - 10 * 86_400_000;
    let mut hopeless = Vec::new();
    for seq in 100..103 {
        hopeless = send(&mut device, vec![ping(seq, clock)], clock).await;
    }
    assert_eq!(hopeless, [(102, "bad_clock".to_owned())], "once it is sure that the clock was set");

    device.duty(DutyWish::Off).await;
    assert_eq!(send(&mut device, vec![ping(200, now)], now).await, [(200, "off_duty".to_owned())]);
    assert!(figure(&app, "dispatch_pings_refused_total{reason=\"off_duty\"} 2").await);

    let kept = "SELECT reason, count(*) AS points FROM refused_points WHERE rider_id = $1 GROUP BY reason";
    let kept = async || {
        let rows = sqlx::query(kept).bind(device.rider).fetch_all(app.db()).await.unwrap();
        rows.iter().map(|row| (row.get::<String, _>("reason"), row.get::<i64, _>("points"))).collect::<Vec<_>>()
    };
    let deadline = tokio::time::Instant::now() + crate::support::SOON;
    while !kept().await.iter().any(|(reason, _)| reason == "bad_clock") {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", kept().await);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let kept = kept().await;
    assert!(kept.contains(&("teleport".to_owned(), 2)) && kept.contains(&("mock".to_owned(), 1)), "{kept:?}");
    assert!(!kept.iter().any(|(reason, _)| reason == "off_duty" || reason == "duplicate"), "{kept:?}");
}

#[tokio::test]
async fn a_phone_whose_clock_is_set_is_dated_right_and_both_times_are_known() {
    let app = spawn_app().await;
    app.city("blr", json!({})).await;
    let mut device = Device::on_duty(&app, "blr", KITCHEN).await;
    for (seq, ahead) in [(10, 3_600_000), (11, 3_600_000), (12, 0), (13, 0), (14, 0), (15, 0)] {
        let clock = app.clock.now().as_millis() + ahead;
        let refused = send(&mut device, vec![ping(seq, clock)], clock).await;
        assert!(refused.is_empty(), "{seq}: {refused:?}");
    }
    // The dot is fresh: work is offered.
    let merchant = app.merchant().await;
    app.place(merchant, &order("blr")).await;
    device.take_offer().await;
    let at = app.clock.now().as_millis();
    let there = Ping { lat: ELSEWHERE.lat, lon: ELSEWHERE.lon, ..ping(16, at) };
    assert_eq!(send(&mut device, vec![there], at).await, [(16, "teleport".to_owned())]);
}

#[tokio::test]
async fn a_city_changes_its_rules_and_its_riders_are_judged_by_them_at_once() {
    let app = spawn_app().await;
    app.city("blr", json!({})).await;
    let mut device = Device::on_duty(&app, "blr", KITCHEN).await;
    let mut mock = async |seq: u64| {
        let now = app.clock.now().as_millis();
        send(&mut device, vec![Ping { mock: true, ..ping(seq, now) }], now).await
    };
    assert_eq!(mock(10).await, []);
    app.city("blr", json!({ "pings": { "mock": "refuse" } })).await;
    let mut seq = 10;
    // The session reads what the city shows, and the city shows it once it has the command.
    let refused = loop {
        seq += 1;
        let refused = mock(seq).await;
        if !refused.is_empty() {
            break refused;
        }
        assert!(seq < 500, "the rule did not change");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    assert_eq!(refused, [(seq, "mock".to_owned())]);
}
