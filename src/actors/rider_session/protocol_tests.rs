//! The protocol without a socket.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::{
    domain::{
        duty::DutyReason,
        ids::{BootId, JobId, OfferId, OrderId, RiderId},
        money::{Currency, Money},
        order::{OfferState, OrderStatus},
    },
    engine::view::{JobOrder, JobView, OfferView},
};

const NOW: Timestamp = Timestamp::from_millis(1_900_000_000_000);

fn up(frame: Value) -> Result<Up, BadFrame> {
    Ok(serde_json::from_value(frame).unwrap())
}

fn hello() -> Result<Up, BadFrame> {
    // The device's clock is one minute slow.
    let at = NOW.as_millis() - 60_000;
    up(json!({"type": "hello", "device_id": "d", "app_version": "1", "boot_id": Uuid::nil(), "mono_ms": 0, "at": at}))
}

fn job(order: OrderId) -> JobView {
    let order = JobOrder {
        order,
        status: OrderStatus::Assigned,
        version: 2,
        merchant: Uuid::nil().into(),
        external_ref: None,
        store: None,
        ready_at: NOW,
        promise_at: NOW,
        cash_to_collect: Money { minor: 0, currency: Currency::INR },
        needs_otp: false,
    };
    JobView { job: JobId(Uuid::nil()), orders: vec![order], stops: vec![] }
}

fn offer(id: OfferId) -> OfferView {
    OfferView {
        offer: id,
        job: job(OrderId(Uuid::nil())),
        expires_in_ms: 60_000,
        pickup_eta: Duration::from_secs(90),
        pickup_distance_m: 400.0,
        payout: Money { minor: 3_500, currency: Currency::INR },
    }
}

fn live(duty: Duty, jobs: Vec<JobView>) -> Protocol {
    let mut protocol = Protocol::new(&Options::default(), Sealer::new(&[1; 32]));
    assert!(matches!(protocol.frame(NOW, hello()), Step::Join(_)));
    let city = CityCode::parse("blr").unwrap();
    let (rider, boot) = (RiderId(Uuid::nil()), BootId(Uuid::nil()));
    let track = Arc::new(Track::new(rider, city.clone(), boot, "d", 0, Timestamp::default()));
    let sync = RiderSync { duty, next_duty: None, jobs, open_offer: None, ping_interval_ms: 5_000, duty_why: None };
    let Down::Welcome(welcome) = protocol.joined(NOW, 1.0, &city, &sync, track) else { panic!("no welcome") };
    assert_eq!((welcome.server_time, welcome.duty.as_str()), (NOW.as_millis(), duty.as_str()));
    protocol
}

fn ping(protocol: &mut Protocol, seq: u64) -> Option<String> {
    let at = NOW.as_millis() - 60_000;
    let frame = json!({"type": "pings", "pings": [{"seq": seq, "at": at, "lat": 12.9, "lon": 77.5}]});
    let Step::Points(judged) = protocol.frame(NOW, up(frame)) else { panic!("no points") };
    judged.refused.first().map(|(_, reason)| reason.as_str().to_owned())
}

fn asked(protocol: &mut Protocol, frame: Value) -> (String, Request) {
    match protocol.frame(NOW, up(frame)) {
        Step::Ask { key, request } => (key.id, request),
        other => panic!("not asked: {other:?}"),
    }
}

fn code(step: Step) -> String {
    match step {
        Step::Say(Down::Error { code, .. }) => code,
        other => panic!("no error: {other:?}"),
    }
}

#[test]
fn hello_comes_first_and_once_and_nothing_before_welcome() {
    let mut protocol = Protocol::new(&Options::default(), Sealer::new(&[1; 32]));
    let duty = || up(json!({"type": "duty", "id": "1", "state": "on"}));
    assert_eq!(code(protocol.frame(NOW, duty())), "hello_first");
    assert!(matches!(protocol.frame(NOW, hello()), Step::Join(_)));
    assert_eq!(code(protocol.frame(NOW, duty())), "not_welcome_yet");
    assert_eq!(code(protocol.frame(NOW, hello())), "already_live");
    protocol.end();
    assert!(matches!(protocol.frame(NOW, duty()), Step::Nothing));
    assert!(matches!(protocol.notice(NOW, Notice::TakenOver), Step::Nothing));
}

#[test]
fn points_before_welcome_are_answered_once_and_end_nothing() {
    let options = Options::default();
    let mut protocol = Protocol::new(&options, Sealer::new(&[1; 32]));
    assert!(matches!(protocol.frame(NOW, hello()), Step::Join(_)));
    let pings = || up(json!({"type": "pings", "pings": [{"seq": 1, "at": 1, "lat": 12.9, "lon": 77.5}]}));
    assert_eq!(code(protocol.frame(NOW, pings())), "not_welcome_yet");
    for _ in 0..2 * options.max_bad_frames {
        assert!(matches!(protocol.frame(NOW, pings()), Step::Nothing));
    }
    // Other frames still count.
    let duty = || up(json!({"type": "duty", "id": "1", "state": "on"}));
    for _ in 1..options.max_bad_frames {
        assert_eq!(code(protocol.frame(NOW, duty())), "not_welcome_yet");
    }
    assert!(matches!(protocol.frame(NOW, duty()), Step::End(_)));
}

#[test]
fn a_device_id_that_postgres_could_not_store_is_refused() {
    let mut protocol = Protocol::new(&Options::default(), Sealer::new(&[1; 32]));
    let Ok(Up::Hello(hello)) = hello() else { panic!() };
    for device_id in ["", "a\0b", &"x".repeat(65)] {
        let hello = Hello { device_id: device_id.to_owned(), ..hello.clone() };
        assert_eq!(code(protocol.frame(NOW, Ok(Up::Hello(hello)))), "malformed_frame");
    }
    assert!(protocol.awaits_hello());
}

#[test]
fn points_are_wanted_on_duty_and_with_an_order_in_hand() {
    let mut protocol = live(Duty::Off, vec![]);
    assert_eq!(ping(&mut protocol, 1).as_deref(), Some("off_duty"));
    let (id, request) = asked(&mut protocol, json!({"type": "duty", "id": "1", "state": "on"}));
    protocol.answered(NOW, &id, &request, Ok(Outcome::Duty { duty: Duty::On, next: None }));
    assert_eq!(ping(&mut protocol, 2), None);

    let order = OrderId(Uuid::new_v4());
    let changed =
        Notice::OrderChanged { job: Some(Box::new(job(order))), order, status: OrderStatus::PickedUp, why: "handover" };
    protocol.notice(NOW, changed);
    protocol.notice(NOW, Notice::DutyChanged { duty: Duty::Off, reason: DutyReason::NotAllowed });
    assert_eq!(ping(&mut protocol, 3), None);

    let progress = json!({"type": "progress", "id": "2", "order": order.0, "step": "delivered", "at": 0});
    let (id, request) = asked(&mut protocol, progress);
    let done = Outcome::Stepped { order, status: OrderStatus::Delivered, version: 9, job: None };
    protocol.answered(NOW, &id, &request, Ok(done));
    assert_eq!(ping(&mut protocol, 4).as_deref(), Some("off_duty"));

    let mut carrier = live(Duty::AutoOff, vec![job(order)]);
    assert_eq!(ping(&mut carrier, 1), None);
}

#[test]
fn the_newest_duty_holds_whichever_answer_comes_first() {
    let mut protocol = live(Duty::Off, vec![]);
    let mut wish = |id: &str, state: &str| asked(&mut protocol, json!({"type": "duty", "id": id, "state": state}));
    let wishes = [wish("1", "on"), wish("2", "off"), wish("3", "on")];
    for (at, duty) in [(0, Duty::On), (2, Duty::On), (1, Duty::Off)] {
        protocol.answered(NOW, &wishes[at].0, &wishes[at].1, Ok(Outcome::Duty { duty, next: None }));
    }
    assert_eq!(ping(&mut protocol, 1), None);
}

#[test]
fn device_times_are_corrected_by_the_skew_of_hello() {
    let mut protocol = live(Duty::On, vec![]);
    let at = NOW.as_millis() - 61_000;
    let progress = json!({"type": "progress", "id": "2", "order": Uuid::nil(), "step": "at_pickup", "at": at});
    let (_, Request::Progress(report)) = asked(&mut protocol, progress) else { panic!("no progress") };
    assert_eq!(report.at, Timestamp::from_millis(NOW.as_millis() - 1_000));
    let ahead = json!({"type": "progress", "id": "3", "order": Uuid::nil(), "step": "at_pickup", "at": i64::MAX});
    let (_, Request::Progress(report)) = asked(&mut protocol, ahead) else { panic!("no progress") };
    assert_eq!(report.at, NOW);
}

#[test]
fn an_offer_that_was_seen_is_told_again_with_the_time_left() {
    let mut protocol = live(Duty::On, vec![]);
    let id = OfferId(Uuid::new_v4());
    assert!(matches!(protocol.notice(NOW, Notice::Offer(Box::new(offer(id)))), Step::Say(Down::Offer(_))));
    let (re, request) = asked(&mut protocol, json!({"type": "offer_seen", "id": "s", "offer": id.0}));
    let seen = Outcome::OfferSeen { expires_in_ms: 30_000 };
    let reply = protocol.answered(NOW, &re, &request, Ok(seen.clone()));
    let Down::Offer(again) = reply.frame else { panic!("no offer") };
    assert_eq!((again.re.as_deref(), again.offer, again.expires_in_ms), (Some("s"), id.0, 30_000));

    protocol.notice(NOW, Notice::OfferClosed { offer: id, state: OfferState::Withdrawn, why: "cancelled" });
    let (re, request) = asked(&mut protocol, json!({"type": "offer_seen", "id": "t", "offer": id.0}));
    let reply = protocol.answered(NOW, &re, &request, Ok(seen));
    assert_eq!(code(Step::Say(reply.frame)), "offer_closed");
}

#[test]
fn that_another_rider_was_faster_closes_the_offer_and_is_no_error() {
    let mut protocol = live(Duty::On, vec![]);
    let id = OfferId(Uuid::new_v4());
    protocol.notice(NOW, Notice::Offer(Box::new(offer(id))));
    let accept = || json!({"type": "offer_accept", "id": "a", "offer": id.0});
    let (re, request) = asked(&mut protocol, accept());
    protocol.notice(NOW, Notice::OfferClosed { offer: id, state: OfferState::Withdrawn, why: "taken" });
    let reply = protocol.answered(NOW, &re, &request, Err(CityCallError::Refused(Refusal::OfferTaken)));
    let closed = Down::OfferClosed { re: Some("a".to_owned()), offer: id.0, why: "taken".to_owned() };
    assert_eq!(reply.frame, closed);
    // Said again, it hears the same.
    assert!(matches!(protocol.frame(NOW, up(accept())), Step::Say(again) if again == closed));
}

#[test]
fn a_superseded_or_homeless_session_ends_with_its_answer() {
    let ends = [
        (CityCallError::Refused(Refusal::Superseded), Some(Farewell::for_good("taken_over"))),
        (CityCallError::Refused(Refusal::Fenced), Some(Farewell::for_now("city_moved"))),
        (CityCallError::Gone, Some(Farewell::for_now("city_unavailable"))),
        (CityCallError::Deadline, None),
    ];
    for (failed, end) in ends {
        let mut protocol = live(Duty::On, vec![]);
        let (id, request) = asked(&mut protocol, json!({"type": "duty", "id": "1", "state": "off"}));
        let reply = protocol.answered(NOW, &id, &request, Err(failed.clone()));
        assert_eq!((code(Step::Say(reply.frame)).as_str(), reply.end), (convert::code(&failed), end));
    }
}

#[test]
fn a_city_that_ended_is_told_at_once_or_after_the_last_answer() {
    let unavailable = Some(Farewell::for_now("city_unavailable"));
    assert_eq!(live(Duty::On, vec![]).city_ended(Ending::Panicked), unavailable);
    assert_eq!(live(Duty::On, vec![]).city_ended(Ending::Fenced), Some(Farewell::for_now("city_moved")));

    let mut protocol = live(Duty::On, vec![]);
    let mut ask = |id: &str| asked(&mut protocol, json!({"type": "duty", "id": id, "state": "off"}));
    let waiting = [ask("1"), ask("2")];
    assert_eq!(protocol.city_ended(Ending::Panicked), None);
    let ends = waiting.map(|(id, request)| {
        let reply = protocol.answered(NOW, &id, &request, Err(CityCallError::Gone));
        assert_eq!((reply.times, code(Step::Say(reply.frame)).as_str()), (1, "city_unavailable"));
        reply.end
    });
    assert_eq!(ends, [None, unavailable]);
}

#[test]
fn too_many_points_or_requests_at_once_are_refused() {
    let mut protocol = live(Duty::On, vec![]);
    let point = json!({"seq": 1, "at": 0, "lat": 1.0, "lon": 1.0});
    let many = json!({"type": "pings", "pings": vec![point; 501]});
    assert_eq!(code(protocol.frame(NOW, up(many))), "too_many_pings");
    for id in 0..16 {
        asked(&mut protocol, json!({"type": "duty", "id": id.to_string(), "state": "on"}));
    }
    let one_more = json!({"type": "duty", "id": "more", "state": "on"});
    assert_eq!(code(protocol.frame(NOW, up(one_more))), "too_many_requests");
}

#[test]
fn a_nul_goes_no_further() {
    let mut protocol = live(Duty::On, vec![]);
    let progress = |field: &str, value: Value| {
        let mut frame = json!({"type": "progress", "id": "1", "order": Uuid::nil(), "step": "attempt_failed", "at": 0});
        frame[field] = value;
        frame
    };
    for frame in [
        progress("reason", json!("a\0")),
        progress("proof", json!({"a": ["b\0"]})),
        progress("proof", json!({"a\0": 1})),
        json!({"type": "offer_decline", "id": "1", "offer": Uuid::nil(), "reason": "\0"}),
    ] {
        let Step::Say(Down::Error { code, re, .. }) = protocol.frame(NOW, up(frame)) else { panic!("no error") };
        assert_eq!((code.as_str(), re.as_deref()), ("malformed_frame", Some("1")));
    }
    // A backslash and five characters are none.
    asked(&mut protocol, progress("proof", json!("\\u0000")));
    let Ok(Up::Hello(hello)) = hello() else { panic!() };
    assert!(convert::check_hello(&Hello { app_version: "1\0".to_owned(), ..hello.clone() }).is_err());
    assert!(convert::check_hello(&Hello { device_id: "d\0".to_owned(), ..hello }).is_err());
}

#[test]
fn the_device_is_paced_by_what_its_rider_does() {
    use crate::{actors::city::PingRules, domain::position::Position};
    // 5 s usually, 3 s before a pickup, 15 s at rest; slower is told after 4 s.
    let rules = PingRules::default();
    let later = |seconds: u64| NOW + Duration::from_secs(seconds);
    let ms = |protocol: &mut Protocol, seconds: u64, factor: f64| {
        protocol.pace(later(seconds), &rules, factor).map(|change| match change.down {
            Down::PingInterval { ms } => (ms, change.is_faster),
            other => panic!("no interval: {other:?}"),
        })
    };
    let mut protocol = live(Duty::On, vec![]);
    assert_eq!(protocol.first_interval_ms(NOW, &rules, 1.0), 5_000);
    let (first, second) = (OrderId(Uuid::from_u128(1)), OrderId(Uuid::from_u128(2)));
    protocol.notice(NOW, Notice::Offer(Box::new(offer(OfferId(Uuid::nil())))));
    assert_eq!((ms(&mut protocol, 0, 1.0), ms(&mut protocol, 1, 1.0)), (Some((3_000, true)), None));
    protocol
        .notice(NOW, Notice::OfferClosed { offer: OfferId(Uuid::nil()), state: OfferState::Expired, why: "expired" });
    assert_eq!(ms(&mut protocol, 1, 1.0), None);
    let changed = |order, status: OrderStatus| {
        let mut job = job(order);
        job.orders[0].status = status;
        Notice::OrderChanged { job: Some(Box::new(job)), order, status, why: "assigned_by_operator" }
    };
    // One in hand and one still at the counter; what the rider sees to first counts.
    protocol.notice(NOW, changed(first, OrderStatus::PickedUp));
    protocol.notice(NOW, changed(second, OrderStatus::Assigned));
    assert_eq!(ms(&mut protocol, 9, 1.0), None, "still on the way to a pickup");
    protocol.notice(NOW, changed(second, OrderStatus::AtPickup));
    assert_eq!((ms(&mut protocol, 10, 1.0), ms(&mut protocol, 14, 1.0)), (None, Some((5_000, false))));
    assert_eq!((ms(&mut protocol, 15, 4.0), ms(&mut protocol, 19, 4.0)), (None, Some((20_000, false))));
    assert_eq!(ms(&mut protocol, 20, 1.0), Some((5_000, true)), "relief is told at once");

    for order in [first, second] {
        let gone = Notice::OrderChanged { job: None, order, status: OrderStatus::Cancelled, why: "cancelled" };
        protocol.notice(NOW, gone);
    }
    protocol.located(&rules, Some((Position::new(12.9, 77.5).unwrap(), NOW)));
    assert_eq!((ms(&mut protocol, 119, 1.0), ms(&mut protocol, 120, 1.0)), (None, None));
    assert_eq!(ms(&mut protocol, 124, 1.0), Some((15_000, false)), "at rest for two minutes");
    protocol.located(&rules, Some((Position::new(12.91, 77.5).unwrap(), later(125))));
    assert_eq!(ms(&mut protocol, 125, 1.0), Some((5_000, true)));
    protocol.end();
    assert_eq!(ms(&mut protocol, 500, 4.0), None);

    let mut carrier = live(Duty::Off, vec![job(first)]);
    assert_eq!(carrier.first_interval_ms(NOW, &rules, 1.0), 3_000, "on the way to a pickup when the device came back");
    assert_eq!(live(Duty::Off, vec![]).first_interval_ms(NOW, &rules, 1.0), 15_000);
}
