//! Points over bad networks: either encoding, any order, gaps, and devices that come back to another process.

use dispatch_engine::{
    actors::{city::PingRules, rider_session::Options},
    clock::Clock,
    domain::{ids::RiderId, policy::PingPolicy},
    wire::rider::{SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK},
};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};
use uuid::Uuid;

use crate::{played_city::Stage, support::device::Socket};

/// Acks that a test does not have to wait for.
fn brisk() -> Options {
    Options { ack_every_ms: 30, ack_soon_ms: 30, ..Options::default() }
}

/// A device that keeps what it was told about its points.
struct Device {
    socket: Socket,
    boot: Uuid,
    received_to: u64,
    stored_to: u64,
    refused: Vec<(u64, String)>,
}

impl Device {
    async fn connect(stage: &Stage, rider: RiderId, subprotocols: &str) -> Self {
        let socket = Socket::open(stage.address, &format!("/rider/{rider}"), "none", subprotocols).await.unwrap();
        Self { socket, boot: Uuid::from_u128(5), received_to: 0, stored_to: 0, refused: vec![] }
    }

    /// One that has been welcomed, and holds points from a number on.
    async fn live(stage: &Stage, rider: RiderId, oldest: Option<u64>) -> Self {
        let mut device = Self::connect(stage, rider, SUBPROTOCOL_MSGPACK).await;
        device.hello(oldest).await;
        assert_eq!(device.next().await["type"], "welcome");
        device
    }

    async fn hello(&mut self, oldest: Option<u64>) {
        let (boot, at) = (self.boot, Clock::wall().as_millis());
        let hello = json!({
            "type": "hello", "device_id": "d", "app_version": "1", "boot_id": boot, "mono_ms": 1, "at": at, "oldest": oldest
        });
        self.socket.send_frame(&hello).await;
    }

    /// Points, the last of them recorded now, one a second before it.
    async fn pings(&mut self, seqs: std::ops::RangeInclusive<u64>, oldest: Option<u64>) {
        self.pings_until(seqs.clone(), *seqs.end(), oldest).await;
    }

    /// The same when point `now` is the one of now.
    async fn pings_until(&mut self, seqs: std::ops::RangeInclusive<u64>, now: u64, oldest: Option<u64>) {
        let wall = Clock::wall().as_millis();
        let point = |seq: u64| {
            let ago = i64::try_from(now - seq).unwrap() * 1_000;
            json!({"seq": seq, "at": wall - ago, "lat": 12.9, "lon": 77.0 + f64::from(u32::try_from(seq).unwrap()) / 1e4})
        };
        let points: Vec<Value> = seqs.map(point).collect();
        self.socket.send_frame(&json!({"type": "pings", "pings": points, "oldest": oldest})).await;
    }

    /// The next frame; null when the connection was closed.
    async fn next(&mut self) -> Value {
        self.socket.next_frame().await.unwrap_or_default()
    }

    /// Reads acks until points are settled up to a number.
    async fn settled(&mut self, to: u64) {
        while self.stored_to < to {
            self.ack().await;
        }
        assert_eq!((self.received_to, self.stored_to), (to, to));
    }

    async fn ack(&mut self) {
        let ack = self.next().await;
        assert_eq!(ack["type"], "pings_ack", "{ack}");
        let told = |field: &str| ack[field].as_u64().unwrap();
        assert!(told("received_to") >= told("stored_to") && told("stored_to") >= self.stored_to, "{ack}");
        (self.received_to, self.stored_to) = (told("received_to"), told("stored_to"));
        for refused in ack["refused"].as_array().into_iter().flatten() {
            self.refused.push((refused["seq"].as_u64().unwrap(), refused["reason"].as_str().unwrap().to_owned()));
        }
    }
}

/// Numbers and flags of a rider's stored points.
async fn rows(stage: &Stage, rider: RiderId) -> Vec<(i64, i16)> {
    let sql = "SELECT seq, flags FROM location_logs WHERE rider_id = $1 ORDER BY seq";
    sqlx::query_as(sql).bind(rider.0).fetch_all(&stage.db).await.unwrap()
}

/// Takes rows out of the database, as if they had never come there.
async fn lost(stage: &Stage, rider: RiderId, which: &str) {
    let sql = format!("DELETE FROM location_logs WHERE rider_id = $1 AND {which}");
    sqlx::query(sqlx::AssertSqlSafe(sql)).bind(rider.0).execute(&stage.db).await.unwrap();
}

fn numbers(rows: &[(i64, i16)]) -> Vec<i64> {
    rows.iter().map(|row| row.0).collect()
}

#[actix_web::test]
async fn both_encodings_say_the_same_and_the_client_chooses() {
    let stage = Stage::with(brisk()).await;
    for (offered, chosen) in [
        (SUBPROTOCOL_JSON.to_owned(), SUBPROTOCOL_JSON),
        (SUBPROTOCOL_MSGPACK.to_owned(), SUBPROTOCOL_MSGPACK),
        (format!("{SUBPROTOCOL_MSGPACK}, {SUBPROTOCOL_JSON}"), SUBPROTOCOL_MSGPACK),
        (format!("other, {SUBPROTOCOL_JSON},{SUBPROTOCOL_MSGPACK}"), SUBPROTOCOL_JSON),
    ] {
        let rider = stage.rider().await;
        let mut device = Device::connect(&stage, rider, &offered).await;
        assert_eq!(device.socket.subprotocol, chosen);
        device.hello(Some(1)).await;
        let welcome = device.next().await;
        assert_eq!(
            (&welcome["type"], &welcome["duty"], &welcome["plan"]),
            (&json!("welcome"), &json!("ON"), &json!([]))
        );
        device.pings(1..=3, Some(1)).await;
        device
            .socket
            .send_frame(&json!({"type": "pings", "pings": [{"seq": 4, "at": 0, "lat": 95.0, "lon": 1}]}))
            .await;
        device.settled(4).await;
        assert_eq!(device.refused, [(4, "out_of_world".to_owned())]);

        device.socket.send_frame(&json!({"type": "dance", "id": "7"})).await;
        let error = device.next().await;
        assert_eq!((&error["code"], &error["re"]), (&json!("unknown_type"), &json!("7")));
        let (wrong, code) = match chosen {
            SUBPROTOCOL_JSON => (Message::binary(vec![0x80]), "binary_not_supported"),
            _ => (Message::text("{}"), "text_not_supported"),
        };
        device.socket.send(wrong).await;
        assert_eq!(device.next().await["code"], code);
        device.socket.send_frame(&json!({"type": "duty", "id": "d", "state": "break"})).await;
        let answer = device.next().await;
        assert_eq!((&answer["re"], &answer["duty"]), (&json!("d"), &json!("BREAK")));
    }
}

#[actix_web::test]
async fn a_binary_message_in_parts_is_one_and_a_bomb_is_none() {
    let stage = Stage::with(Options { max_frame_bytes: 200, ..brisk() }).await;
    let mut device = Device::live(&stage, stage.rider().await, None).await;
    let bytes = dispatch_engine::wire::msgpack::to_vec(&json!({"type": "duty", "id": "d", "state": "break"})).unwrap();
    let part =
        |bytes: &[u8], code: Data, last: bool| Message::Frame(Frame::message(bytes.to_vec(), OpCode::Data(code), last));
    let (one, rest) = bytes.split_at(7);
    let (two, three) = rest.split_at(11);
    device.socket.send(part(one, Data::Binary, false)).await;
    device.socket.send(part(two, Data::Continue, false)).await;
    device.socket.send(part(three, Data::Continue, true)).await;
    assert_eq!(device.next().await["re"], "d");

    device.socket.send(part(&[0x91; 150], Data::Binary, false)).await;
    device.socket.send(part(&[0x91; 150], Data::Continue, true)).await;
    assert_eq!(device.next().await["code"], "frame_too_large");
    for bomb in
        [vec![0x91; 190], vec![0xDD, 0xFF, 0xFF, 0xFF, 0xFF], vec![0xDB, 0xFF, 0xFF, 0xFF, 0xFF, b'a'], vec![0xC1]]
    {
        device.socket.send(Message::binary(bomb)).await;
        assert_eq!(device.next().await["code"], "malformed_frame");
    }
    device.socket.send_frame(&json!({"type": "duty", "id": "e", "state": "on"})).await;
    assert_eq!(device.next().await["re"], "e");
}

#[actix_web::test]
async fn a_backlog_comes_newest_first_and_only_the_newest_point_moves_the_dot() {
    let stage = Stage::with(brisk()).await;
    let rider = stage.rider().await;
    let mut device = Device::live(&stage, rider, Some(1)).await;
    for from in [201, 101, 1] {
        device.pings_until(from..=from + 99, 300, Some(1)).await;
    }
    while device.stored_to < 300 {
        device.ack().await;
        let stored = rows(&stage, rider).await.len() as u64;
        assert!(device.stored_to == 0 || stored == 300, "told {} when {stored} were stored", device.stored_to);
        assert!([0, 300].contains(&device.received_to));
    }
    assert_eq!(numbers(&rows(&stage, rider).await), (1..=300).collect::<Vec<_>>());
    assert!(device.refused.is_empty());
    stage.until("the dot", |seen| !seen.fixes.is_empty()).await;
    assert_eq!(stage.seen().fixes.len(), 1);
    assert!((stage.seen().fixes[0].position.lon() - 77.03).abs() < 1e-9);
}

#[actix_web::test]
async fn gaps_are_waited_for_until_the_device_gives_them_up() {
    let stage = Stage::with(brisk()).await;
    let rider = stage.rider().await;
    let mut device = Device::live(&stage, rider, Some(1)).await;
    device.pings(1..=2, Some(1)).await;
    device.pings(5..=6, Some(1)).await;
    device.settled(2).await;
    device.pings(4..=4, Some(3)).await;
    device.pings(5..=5, Some(3)).await;
    while device.refused.is_empty() {
        device.ack().await;
    }
    assert_eq!((device.received_to, &device.refused[..]), (2, &[(5, "duplicate".to_owned())][..]));
    // Point 3 fell victim to the device's own memory.
    device.pings(7..=7, Some(4)).await;
    device.settled(7).await;
    assert_eq!(numbers(&rows(&stage, rider).await), [1, 2, 4, 5, 6, 7]);
    // A device that says nothing of the kind sends in order, and what it skips never comes.
    device.pings(9..=9, None).await;
    device.settled(9).await;
    device.pings(8..=8, None).await;
    device.refused.clear();
    while device.refused.is_empty() {
        device.ack().await;
    }
    assert_eq!(device.refused, [(8, "duplicate".to_owned())]);
    device.socket.send_frame(&json!({"type": "pings", "pings": [], "oldest": u64::MAX})).await;
    assert_eq!(device.next().await["code"], "malformed_frame");
}

#[actix_web::test]
async fn what_was_stored_is_recognised_by_the_next_process() {
    let stage = Stage::with(brisk()).await;
    let (rider, plain) = (stage.rider().await, stage.rider().await);
    let mut device = Device::live(&stage, rider, Some(1)).await;
    device.pings(1..=5, Some(1)).await;
    device.settled(5).await;
    let mut in_order = Device::live(&stage, plain, None).await;
    in_order.pings(1..=5, None).await;
    in_order.settled(5).await;

    // The acks never reached the devices, and the engine is another one now.
    let next = Stage::beside(stage.db.clone(), stage.code.clone(), brisk()).await;
    let mut device = Device::live(&next, rider, Some(3)).await;
    device.settled(5).await;
    device.pings(3..=7, Some(3)).await;
    device.settled(7).await;
    let duplicates: Vec<u64> = device.refused.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(duplicates, [3, 4, 5]);
    assert_eq!(numbers(&rows(&next, rider).await), [1, 2, 3, 4, 5, 6, 7]);
    // Point 8 is of a time before those that the process before this one saw.
    next.until("the dot", |seen| !seen.fixes.is_empty()).await;
    device.pings_until(8..=8, 100, Some(8)).await;
    device.settled(8).await;
    assert_eq!(rows(&next, rider).await[7], (8, 1), "late");
    assert_eq!(next.seen().fixes.len(), 1);

    let mut in_order = Device::live(&next, plain, None).await;
    in_order.settled(5).await;
    in_order.pings_until(6..=6, 100, None).await;
    in_order.settled(6).await;
    assert_eq!(rows(&next, plain).await[5], (6, 1), "the first point here is older than the dot");
    assert!(next.metrics.render().unwrap().contains("dispatch_rider_reconnects_total 2"));
    // Another start of the app counts anew.
    let mut fresh = Device::connect(&next, plain, SUBPROTOCOL_JSON).await;
    fresh.boot = Uuid::from_u128(6);
    fresh.hello(None).await;
    assert_eq!(fresh.next().await["type"], "welcome");
    fresh.pings(1..=1, None).await;
    fresh.settled(1).await;
    assert_eq!(rows(&next, plain).await.len(), 7);
}

#[actix_web::test]
async fn a_device_amid_its_backlog_is_recognised_by_the_next_process() {
    let stage = Stage::with(brisk()).await;
    let rider = stage.rider().await;
    let mut device = Device::live(&stage, rider, Some(1)).await;
    // The newest 1,000 of 1,500 points: nothing of that can be told as settled.
    device.pings_until(1_001..=1_500, 1_500, Some(1)).await;
    device.pings_until(501..=1_000, 1_500, Some(1)).await;
    loop {
        if rows(&stage, rider).await.len() == 1_000 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let next = Stage::beside(stage.db.clone(), stage.code.clone(), brisk()).await;
    let mut device = Device::live(&next, rider, Some(1)).await;
    for from in [1_001, 501, 1] {
        device.pings_until(from..=from + 499, 1_500, Some(1)).await;
    }
    device.settled(1_500).await;
    assert_eq!(numbers(&rows(&next, rider).await), (1..=1_500).collect::<Vec<_>>());
    assert!(device.refused.len() == 1_000 && device.refused.iter().all(|(_, reason)| reason == "duplicate"));
    assert!(next.seen().fixes.is_empty(), "none of them is newer than the dot");
}

#[actix_web::test]
async fn a_point_that_was_left_out_is_stored_in_its_own_run() {
    let stage = Stage::with(brisk()).await;
    let thinned = PingPolicy { idle_store_every_s: 30, idle_store_move_m: 0, ..stage.rules.read().pings.clone() };
    stage.rules.show(PingRules { pings: thinned, ..PingRules::default() });
    let rider = stage.rider().await;
    let mut device = Device::live(&stage, rider, Some(1)).await;
    device.pings(1..=40, Some(1)).await;
    device.settled(40).await;
    assert_eq!(numbers(&rows(&stage, rider).await), [1, 31]);
    drop(device);

    // The app starts anew, and something ends before its first point.
    let mut fresh = Device::connect(&stage, rider, SUBPROTOCOL_JSON).await;
    fresh.boot = Uuid::from_u128(6);
    fresh.hello(Some(1)).await;
    assert_eq!(fresh.next().await["type"], "welcome");
    fresh.socket.send_frame(&json!({"type": "duty", "id": "d", "state": "off"})).await;
    assert_eq!(fresh.next().await["duty"], "OFF");
    fresh.socket.send_frame(&json!({"type": "duty", "id": "e", "state": "on"})).await;
    assert_eq!(fresh.next().await["duty"], "ON");
    // Its own point of the same number is stored.
    fresh.pings(40..=40, Some(1)).await;
    fresh.pings(1..=39, Some(1)).await;
    fresh.settled(40).await;
    assert!(fresh.refused.is_empty(), "{:?}", fresh.refused);
    let sql = "SELECT boot_id, seq FROM location_logs WHERE rider_id = $1 AND seq >= 40 ORDER BY boot_id";
    let stored = || async { sqlx::query_as(sql).bind(rider.0).fetch_all(&stage.db).await.unwrap() };
    let expected = [(Uuid::from_u128(5), 40_i64), (Uuid::from_u128(6), 40)];
    assert_eq!(stored().await as Vec<(Uuid, i64)>, expected);
}

#[actix_web::test]
async fn runs_that_take_turns_are_recognised_before_the_database_knows_them() {
    let stage = Stage::with(brisk()).await;
    let rider = stage.rider().await;
    let mut device = Device::live(&stage, rider, Some(1)).await;
    device.pings(1..=5, Some(1)).await;
    device.settled(5).await;
    // As if they lay in the spool.
    lost(&stage, rider, "seq <= 5").await;
    let mut other = Device::connect(&stage, rider, SUBPROTOCOL_JSON).await;
    other.boot = Uuid::from_u128(6);
    other.hello(Some(1)).await;
    assert_eq!(other.next().await["type"], "welcome");
    other.pings(1..=1, Some(1)).await;
    other.settled(1).await;
    let mut again = Device::live(&stage, rider, Some(1)).await;
    again.settled(5).await;
    again.pings(1..=6, Some(1)).await;
    again.settled(6).await;
    let duplicates: Vec<u64> = again.refused.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(duplicates, [1, 2, 3, 4, 5]);
    assert_eq!(numbers(&rows(&stage, rider).await), [1, 6]);
}

#[actix_web::test]
async fn what_was_lost_between_stored_points_is_never_told_as_stored() {
    let stage = Stage::with(brisk()).await;
    let (plain, rider) = (stage.rider().await, stage.rider().await);
    let mut in_order = Device::live(&stage, plain, None).await;
    in_order.pings(1..=8, None).await;
    in_order.settled(8).await;
    let mut device = Device::live(&stage, rider, Some(1)).await;
    device.pings_until(301..=700, 700, Some(1)).await;
    device.pings_until(1..=300, 700, Some(1)).await;
    device.settled(700).await;
    // Their batches were on their way when the process was killed.
    lost(&stage, plain, "seq IN (4, 6)").await;
    lost(&stage, rider, "seq % 2 = 0").await;

    let next = Stage::beside(stage.db.clone(), stage.code.clone(), brisk()).await;
    let mut in_order = Device::live(&next, plain, None).await;
    in_order.settled(3).await;
    in_order.pings(4..=8, None).await;
    in_order.settled(8).await;
    let duplicates: Vec<u64> = in_order.refused.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(duplicates, [5, 7, 8]);
    assert_eq!(numbers(&rows(&next, plain).await), (1..=8).collect::<Vec<_>>());
    // Every other point of many.
    let mut device = Device::live(&next, rider, Some(1)).await;
    device.pings_until(301..=700, 700, Some(1)).await;
    device.pings_until(1..=300, 700, Some(1)).await;
    device.settled(700).await;
    assert!(device.refused.len() == 350 && device.refused.iter().all(|(seq, _)| seq % 2 == 1));
    assert_eq!(numbers(&rows(&next, rider).await), (1..=700).collect::<Vec<_>>());
}
