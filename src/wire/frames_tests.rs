//! Both encodings say the same, take the same and refuse the same, and the fast way reads what the slow way reads.

use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::wire::{
    LatLon, MoneyBody, PlaceBody,
    rider::{Down, DutyWish, Hello, Job, JobOrder, Offer, Progress, PushAddress, RefusedPing, Stop, Up, Welcome},
};

fn ping(seq: u64) -> Ping {
    Ping {
        seq,
        at: 1_900_000_000_000,
        lat: 12.934_5,
        lon: 77.610_1,
        accuracy_m: Some(4.5),
        speed_mps: Some(6.1),
        heading_deg: Some(271.5),
        mock: false,
    }
}

/// A frame of every type, full and bare.
fn ups() -> Vec<Up> {
    let (id, order) = ("r-1".to_owned(), Uuid::from_u128(7));
    let hello = Hello {
        device_id: "d".into(),
        app_version: "1".into(),
        boot_id: Uuid::from_u128(1),
        mono_ms: u64::MAX,
        at: -1,
        battery: Some(0.25),
        push: Some(PushAddress { provider: "fcm".into(), token: "t".into() }),
        oldest: Some(3),
    };
    let bare = Hello { battery: None, push: None, oldest: None, ..hello.clone() };
    let step = Progress {
        id: id.clone(),
        order,
        step: "handover".into(),
        at: 5,
        position: Some(LatLon { lat: 1.0, lon: -2.0 }),
        reason: Some("नमस्ते".into()),
        proof: Some(json!({"otp": "4711", "photos": [[1, 2.5], {"a": [null, true]}], "n": -3})),
    };
    let bare_step = Progress { position: None, reason: None, proof: None, ..step.clone() };
    let lean = Ping { accuracy_m: None, speed_mps: None, heading_deg: None, mock: true, ..ping(u64::MAX) };
    let all = vec![
        Up::Hello(hello),
        Up::Hello(bare),
        Up::Duty { id: id.clone(), state: DutyWish::Break },
        Up::Pings { pings: vec![], oldest: None, sent_at: None },
        Up::Pings { pings: vec![ping(1), lean], oldest: Some(u64::MAX), sent_at: Some(i64::MIN) },
        Up::OfferSeen { id: id.clone(), offer: order },
        Up::OfferAccept { id: id.clone(), offer: order },
        Up::OfferDecline { id, offer: order, reason: "far".into() },
        Up::Progress(step),
        Up::Progress(bare_step),
    ];
    // A type that is added belongs into the list.
    for up in &all {
        match up {
            Up::Hello(_)
            | Up::Duty { .. }
            | Up::Pings { .. }
            | Up::OfferSeen { .. }
            | Up::OfferAccept { .. }
            | Up::OfferDecline { .. }
            | Up::Progress(_) => {}
        }
    }
    all
}

/// The same of the frames to devices.
fn downs() -> Vec<Down> {
    let (re, order) = (Some("r-1".to_owned()), Uuid::from_u128(7));
    let money = MoneyBody { minor: -250, currency: "INR".into() };
    let place = PlaceBody { lat: 12.0, lon: 77.0, hint: Some("gate 2".into()) };
    let job_order = JobOrder {
        order,
        status: "assigned".into(),
        version: 3,
        merchant: order,
        external_ref: Some("x".into()),
        store: None,
        ready_at: 1,
        promise_at: 2,
        cash_to_collect: money.clone(),
        needs_otp: true,
    };
    let stop = Stop { kind: "pickup".into(), order, place, at: 9 };
    let job = Job { job: order, orders: vec![job_order], stops: vec![stop] };
    let offer = Offer {
        re: None,
        offer: order,
        expires_in_ms: 1,
        job: job.clone(),
        pickup_eta_ms: 2,
        pickup_distance_m: 12.5,
        payout: money,
        sent_at: 3,
    };
    let welcome = Welcome {
        server_time: 1,
        clock_speed: 1.0,
        ping_interval_ms: 5_000,
        city: "blr".into(),
        duty: "ON".into(),
        next_duty: Some("OFF".into()),
        plan: vec![job.clone()],
        open_offer: Some(offer.clone()),
        reconnect_within_ms: 4,
        duty_why: None,
    };
    let refused = vec![RefusedPing { seq: 2, reason: "future".into() }];
    let changed = |version, job| Down::OrderChanged {
        re: re.clone(),
        order,
        status: "picked_up".into(),
        version,
        why: "progress".into(),
        job,
    };
    let all = vec![
        Down::Welcome(Welcome { open_offer: None, plan: vec![], ..welcome.clone() }),
        Down::Welcome(welcome),
        Down::PingsAck { received_to: 300, stored_to: 70_000, refused },
        Down::PingsAck { received_to: 0, stored_to: 0, refused: vec![] },
        Down::Offer(offer),
        Down::OfferClosed { re: re.clone(), offer: order, why: "taken".into() },
        Down::Assigned { re: None, job: job.clone() },
        changed(Some(4), Some(job)),
        changed(None, None),
        Down::DutyChanged { re: re.clone(), duty: "ON".into(), next: None, why: "rider".into() },
        Down::PingInterval { ms: 3_000 },
        Down::Error { re, code: "internal".into(), detail: "?".into() },
        Down::Bye { why: "busy".into(), reconnect_after_ms: Some(1_000) },
    ];
    for down in &all {
        match down {
            Down::Welcome(_)
            | Down::PingsAck { .. }
            | Down::Offer(_)
            | Down::OfferClosed { .. }
            | Down::Assigned { .. }
            | Down::OrderChanged { .. }
            | Down::DutyChanged { .. }
            | Down::PingInterval { .. }
            | Down::Error { .. }
            | Down::Bye { .. } => {}
        }
    }
    all
}

fn text(frame: &impl Serialize) -> String {
    match Encoding::Json.encode(frame) {
        Ok(Encoded::Text(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn binary(frame: &impl Serialize) -> Vec<u8> {
    match Encoding::Msgpack.encode(frame) {
        Ok(Encoded::Binary(bytes)) => bytes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_frame_goes_through_both_encodings() {
    for up in ups() {
        assert_eq!(up_from_json(&text(&up)), Ok(up.clone()));
        assert_eq!(up_from_msgpack(&binary(&up)), Ok(up.clone()));
        // The same message, value for value: ids are texts, fields have names.
        let (json, msgpack) = (serde_json::from_str::<Value>(&text(&up)), msgpack::from_slice::<Value>(&binary(&up)));
        // What was a number of 32 bits is one of 64 now.
        assert_eq!(shape(&json.unwrap()), shape(&msgpack.unwrap()));
    }
    for down in downs() {
        assert_eq!(serde_json::from_str::<Down>(&text(&down)).unwrap(), down);
        assert_eq!(msgpack::from_slice::<Down>(&binary(&down)), Ok(down.clone()));
        let (json, msgpack) =
            (serde_json::from_str::<Value>(&text(&down)), msgpack::from_slice::<Value>(&binary(&down)));
        assert_eq!(json.unwrap(), msgpack.unwrap());
    }
}

/// A value with its fractions rounded.
fn shape(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => json!(number.as_f64().map(|n| (n * 1e6).round())),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), shape(value))).collect(),
        other => other.clone(),
    }
}

#[test]
fn what_is_no_frame_says_as_much_as_it_can() {
    let bytes = |value: Value| msgpack::to_vec(&value).unwrap();
    let head = |read: Result<Up, NotFrame>| read.map_err(|bad| (bad.kind, bad.id));
    for (frame, kind, id) in [
        (json!({"type": "dance", "id": "7"}), Some("dance"), Some("7")),
        (json!({"id": "7", "type": "duty", "state": "asleep"}), Some("duty"), Some("7")),
        (json!({"type": "pings", "pings": [{"seq": -1}]}), Some("pings"), None),
        (json!({"type": "pings", "pings": [[13, 0, 12.9, 77.5, null, null, null, false]]}), Some("pings"), None),
        (json!({"type": "duty", "id": "7", "state": 0}), Some("duty"), Some("7")),
        (json!({"type": 2, "pings": []}), None, None),
        (json!({}), None, None),
        (json!(["duty", "7", "on"]), None, None),
        (json!([1, 2]), None, None),
        (json!("pings"), None, None),
    ] {
        let expected = Err((kind.map(str::to_owned), id.map(str::to_owned)));
        assert_eq!(head(up_from_json(&frame.to_string())), expected, "{frame}");
        assert_eq!(head(up_from_msgpack(&bytes(frame.clone()))), expected, "{frame}");
    }
    for frame in [
        json!({"type": "duty", "id": "1", "state": "on", "mood": "good"}),
        json!({"type": "pings", "id": 5, "pings": [{"seq": 1, "at": 0, "lat": 1, "lon": 2, "later": [[1], {"a": [2]}]}]}),
        json!({"pings": [], "type": "pings"}),
    ] {
        let read = up_from_json(&frame.to_string());
        assert!(read.is_ok(), "{frame}: {read:?}");
        assert_eq!(up_from_msgpack(&bytes(frame.clone())), read, "{frame}");
    }
    assert!(up_from_msgpack(&[0xC4, 0x00]).is_err() && up_from_msgpack(&[]).is_err() && up_from_json("").is_err());
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(up_from_json(&format!(r#"{{"type":"progress","proof":{deep}}}"#)).is_err());
}

/// Reads a frame of points from both encodings, and in both ways; NaN is not equal to itself.
fn points(frame: &Value) -> Vec<String> {
    let bytes = msgpack::to_vec(frame).unwrap();
    let text = frame.to_string();
    let ways =
        [up_from_json(&text).ok(), slowly(&text), up_from_msgpack(&bytes).ok(), slowly_msgpack(&bytes)].map(|up| {
            match up {
                Some(Up::Pings { pings, .. }) => pings.iter().map(|ping| format!("{ping:?}")).collect(),
                other => vec![format!("{other:?}")],
            }
        });
    assert!(ways.iter().all(|way| *way == ways[0]), "{frame}: {ways:?}");
    ways[0].clone()
}

#[test]
fn nil_is_absent_and_a_bad_point_does_not_cost_the_others() {
    let good = json!({"seq": 2, "at": 8, "lat": 1.25, "lon": 2.5});
    let bare = Ping { accuracy_m: None, speed_mps: None, heading_deg: None, at: 8, lat: 1.25, lon: 2.5, ..ping(2) };
    let frame = |point: Value| json!({"type": "pings", "pings": [point, good], "oldest": null, "sent_at": null});
    let nil = json!({"seq": 2, "at": 8, "lat": 1.25, "lon": 2.5, "accuracy_m": null, "speed_mps": null,
        "heading_deg": null, "mock": null});
    assert_eq!(points(&frame(nil)), [format!("{bare:?}"), format!("{bare:?}")]);
    let with = |key: &str, value: Value| {
        let mut point = good.clone();
        point[key] = value;
        points(&frame(point))
    };
    let without = |key: &str| {
        let mut point = good.clone();
        point.as_object_mut().unwrap().remove(key);
        points(&frame(point))
    };
    let nowhere = Ping { lat: f64::NAN, ..bare };
    for read in [with("lat", json!(null)), without("lat")] {
        assert_eq!(read, [format!("{nowhere:?}"), format!("{bare:?}")]);
    }
    assert_eq!(with("lon", json!(null))[0], format!("{:?}", Ping { lon: f64::NAN, ..bare }));
    assert_eq!(without("lon")[1], format!("{bare:?}"));
    for (key, value, read) in [
        ("seq", json!(1e20), Ping { seq: u64::MAX, ..bare }),
        ("seq", json!(-1), Ping { seq: 0, ..bare }),
        ("at", json!(u64::MAX), Ping { at: i64::MAX, ..bare }),
        ("at", json!(-1e20), Ping { at: i64::MIN, ..bare }),
        ("at", json!(8.75), bare.clone()),
        ("accuracy_m", json!(1e39), Ping { accuracy_m: Some(f32::INFINITY), ..bare }),
    ] {
        assert_eq!(with(key, value.clone())[0], format!("{read:?}"), "{key} {value}");
    }
    // These still make the whole frame malformed: nothing could be told about the point, or the app is at fault.
    for (key, value) in
        [("seq", json!(null)), ("seq", json!(1.5)), ("at", json!(null)), ("at", json!("8")), ("lat", json!("1"))]
    {
        assert_eq!(with(key, value), ["None"], "{key}");
    }
    assert_eq!((without("seq"), without("at")), (vec!["None".to_owned()], vec!["None".to_owned()]));
    // What MessagePack says of no number is the same as nil.
    let frame = Up::Pings { pings: vec![nowhere.clone()], oldest: None, sent_at: None };
    let both = [up_from_json(&text(&frame)), up_from_msgpack(&binary(&frame))];
    assert!(both.iter().all(|up| format!("{up:?}") == format!("Ok({frame:?})")), "{both:?}");
}

/// The slow way, which every frame could go.
fn slowly(text: &str) -> Option<Up> {
    let up: Up = serde_json::from_str(text).ok()?;
    objects_are_objects(up, usize::MAX, || serde_json::from_str(text).map_err(|error| error.to_string())).ok()
}

fn slowly_msgpack(bytes: &[u8]) -> Option<Up> {
    msgpack::check(bytes).ok()?;
    msgpack::read::<TypeOnly<'_>>(bytes).ok()?;
    objects_are_objects(msgpack::read(bytes).ok()?, usize::MAX, || {
        msgpack::read(bytes).map_err(|error| error.to_string())
    })
    .ok()
}

/// Both ways read the same, but for numbers too great for a double in fields that nobody knows: the fast way skips them.
fn alike(text: &str) -> Result<(), TestCaseError> {
    let (fast, slow) = (up_from_json(text).ok(), slowly(text));
    if slow.is_some() || fast.is_none() || serde_json::from_str::<Value>(text).is_ok() {
        // NaN is not equal to itself.
        prop_assert_eq!(format!("{fast:?}"), format!("{slow:?}"));
    }
    Ok(())
}

/// Members of a frame, good ones and bad ones, some of them twice.
fn frame_text() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        Just("1".to_owned()),
        Just("null".to_owned()),
        Just("1.5".to_owned()),
        Just("-0.0".to_owned()),
        Just("1e400".to_owned()),
        Just("18446744073709551615".to_owned()),
        Just("9223372036854775808".to_owned()),
        Just("\"1\"".to_owned()),
        Just("[1]".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| json!(n).to_string()),
        any::<f32>().prop_map(|n| json!(n).to_string()),
    ];
    let keys = ["seq", "at", "lat", "lon", "accuracy_m", "speed_mps", "heading_deg", "mock", "later", "\\u0073eq"];
    let member =
        (prop::sample::select(keys.to_vec()), number.clone()).prop_map(|(key, value)| format!("\"{key}\":{value}"));
    let good = r#""seq":7,"at":8,"lat":1.25,"lon":2"#;
    let point = (any::<bool>(), prop::collection::vec(member, 0..4)).prop_map(move |(whole, more)| {
        let members: Vec<String> = whole.then(|| good.to_owned()).into_iter().chain(more).collect();
        format!("{{{}}}", members.join(","))
    });
    let points = prop::collection::vec(point, 0..3).prop_map(|points| format!("\"pings\":[{}]", points.join(",")));
    let types = ["pings", "pings", "pings", "duty", "hello", "dance", "pi\\u006egs"];
    let kind = prop::sample::select(types.to_vec()).prop_map(|kind| format!("\"type\":\"{kind}\""));
    let more = prop_oneof![
        number.clone().prop_map(|n| format!("\"oldest\":{n}")),
        number.prop_map(|n| format!("\"sent_at\":{n}")),
        Just("\"type\":\"pings\"".to_owned()),
        Just("\"id\":\"1\",\"state\":\"on\"".to_owned()),
        Just("\"type\":2".to_owned()),
        Just("\"pings\":{}".to_owned()),
    ];
    (kind, points, prop::collection::vec(more, 0..3), any::<prop::sample::Index>()).prop_map(
        |(kind, points, more, at)| {
            let mut members = vec![points];
            members.extend(more);
            members.insert(at.index(members.len() + 1), kind);
            format!("{{{}}}", members.join(","))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_way_reads_what_the_slow_way_reads(text in frame_text()) {
        alike(&text)?;
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            let bytes = msgpack::to_vec(&value).unwrap();
            prop_assert_eq!(format!("{:?}", up_from_msgpack(&bytes).ok()), format!("{:?}", slowly_msgpack(&bytes)));
        }
    }

    #[test]
    fn frames_with_wrong_bytes_are_read_the_same_way_or_not_at_all(
        which in 0..10_usize,
        wrong in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = binary(&ups()[which]);
        for (at, byte) in &wrong {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        prop_assert_eq!(format!("{:?}", up_from_msgpack(&bytes).ok()), format!("{:?}", slowly_msgpack(&bytes)));
        let mut text = text(&ups()[which]).into_bytes();
        for (at, byte) in wrong {
            let at = at.index(text.len());
            text[at] = byte;
        }
        if let Ok(text) = String::from_utf8(text) {
            alike(&text)?;
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), text in ".{0,80}") {
        let _ = up_from_msgpack(&bytes);
        let _ = up_from_json(&text);
        let _ = up_from_json(&String::from_utf8_lossy(&bytes));
    }
}
