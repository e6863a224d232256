//! Tags: who lacks what an order needs is not asked for it, and is named as left out.

use dispatch_engine::{
    domain::{
        duty::Duty,
        ids::{OrderId, SessionId},
        order::{OrderSpec, OrderStatus, Step},
        rider::Vehicle,
        tags::Tags,
    },
    engine::{
        City, CityImage, StoredRider,
        command::{Command, Fix, OperatorAction, Outcome},
        effect::Write,
        view::WaitReason,
    },
};
use serde_json::{Value, json};

use super::{
    harness::*,
    operators::{assign, operate, reassign},
};

fn tags(words: &[&str]) -> Tags {
    Tags::parse(words).unwrap()
}

/// A rider with tags who is on duty near the counter, the farther the larger the number.
fn on_duty_with(town: &mut Town, n: u128, words: &[&str]) {
    town.on_duty(n, at(12.97 + 0.000_1 * n as f64, 77.59));
    let mut profile = profile(rider(n));
    profile.tags = tags(words);
    town.apply(Command::UpdateProfile(profile));
}

fn needing(town: &Town, n: u128, words: &[&str]) -> OrderSpec {
    OrderSpec { needs_tags: tags(words), ..spec(order(n), town.now) }
}

fn why(town: &mut Town, order: OrderId) -> (Option<WaitReason>, Value) {
    let outcome = town.ask_now(|reply| Command::Explain { order, reply }).unwrap();
    let Outcome::Explained(explained) = outcome else { panic!("{outcome:?}") };
    (explained.order.waiting_for, explained.why.unwrap_or_default()["excluded"].clone())
}

#[test]
fn the_nearest_who_has_every_tag_is_asked() {
    let mut town = Town::new();
    on_duty_with(&mut town, 1, &[]);
    on_duty_with(&mut town, 2, &["alcohol"]);
    on_duty_with(&mut town, 3, &["alcohol", "cod", "v2"]);
    on_duty_with(&mut town, 4, &["alcohol", "cod"]);
    town.place_spec(needing(&town, 1, &["cod", "alcohol"]));
    town.wait(secs(1));
    assert!(town.offer_to(3).is_some());
    town.wait(secs(1));
    assert_eq!(why(&mut town, order(1)).1, json!({ "missing_tag": 2, "has_open_offer": 1 }));
    // Who needs no tag is served by whoever is nearest.
    town.place(2);
    town.wait(secs(1));
    assert!(town.offer_to(1).is_some());
}

#[test]
fn an_order_waits_for_its_tags_and_says_so() {
    let mut town = Town::new();
    on_duty_with(&mut town, 1, &["cod"]);
    town.place_spec(needing(&town, 1, &["thermal_bag"]));
    town.wait(secs(1));
    assert_eq!(why(&mut town, order(1)), (Some(WaitReason::NoRiderInReach), json!({ "missing_tag": 1 })));
    let mut equipped = profile(rider(1));
    equipped.tags = tags(&["cod", "thermal_bag"]);
    town.apply(Command::UpdateProfile(equipped));
    town.wait(secs(1));
    assert!(town.offer_to(1).is_some());
    // Without the bag again, the rider is not asked for the next one.
    let offer = town.offer_to(1).unwrap();
    let answer = dispatch_engine::engine::command::Answer::Decline { reason: "no bag".into() };
    town.respond(1, offer, answer);
    town.apply(Command::UpdateProfile(profile(rider(1))));
    town.place_spec(needing(&town, 2, &["thermal_bag"]));
    town.wait(secs(1));
    assert_eq!(town.status(order(2)), Some(OrderStatus::Queued));
    assert_eq!(why(&mut town, order(2)), (Some(WaitReason::NoRiderInReach), json!({ "missing_tag": 1 })));
}

#[test]
fn who_is_chosen_is_among_the_candidates_however_many_others_stand_nearer() {
    let mut town = Town::new();
    for n in 1..=262 {
        town.on_duty(n, at(12.97, 77.59));
    }
    // 556 m away.
    town.on_duty(300, at(12.975, 77.59));
    let mut equipped = profile(rider(300));
    equipped.tags = tags(&["thermal_bag"]);
    town.apply(Command::UpdateProfile(equipped));
    town.place_spec(needing(&town, 1, &["thermal_bag"]));
    town.wait(secs(1));
    assert!(town.offer_to(300).is_some());
    let offered = town.stored.iter().find_map(|write| match write {
        Write::Order(write) => write.events.iter().find(|event| event.kind == "offered"),
        _ => None,
    });
    let why = &offered.unwrap().data["why"];
    assert_eq!(why["chosen"], json!([rider(300).to_string()]));
    let candidate = &why["candidates"][0];
    assert_eq!((&candidate["rider"], &candidate["distance_m"]), (&why["chosen"][0], &json!(556.0)));
    // Of those who were passed over, as many as are looked at.
    assert_eq!((&why["excluded"], &why["more"]), (&json!({ "missing_tag": 256 }), &json!(0)));
}

#[test]
fn what_a_rider_will_never_have_is_told_before_what_keeps_the_rider_now() {
    let mut town = Town::new();
    // One who carries an order, one who is asked, one who was asked in the same tick, one on a break, and nobody has the tag.
    let held = town.assigned(1, 1);
    town.step(1, held, Step::PickedUp);
    on_duty_with(&mut town, 2, &[]);
    town.place(2);
    town.wait(secs(1));
    assert!(town.offer_to(2).is_some());
    on_duty_with(&mut town, 4, &[]);
    town.ask(|reply| Command::SetDuty { rider: rider(4), session: SessionId(4), duty: Duty::Break, reply });
    on_duty_with(&mut town, 3, &[]);
    town.place(3);
    town.place_spec(OrderSpec { promise_at: town.now + secs(7_200), ..needing(&town, 4, &["thermal_bag"]) });
    town.wait(secs(1));
    assert!(town.offer_to(3).is_some());
    let excluded = why(&mut town, order(4)).1;
    assert_eq!(excluded, json!({ "missing_tag": 4 }));
    // Nor will a vehicle or a box grow.
    let large = OrderSpec { size_units: 100, ..spec(order(5), town.now) };
    let fast = OrderSpec { vehicle_need: Some(Vehicle::Car), ..spec(order(6), town.now) };
    town.place_spec(large);
    town.place_spec(fast);
    assert_eq!(why(&mut town, order(5)).1, json!({ "no_room": 4 }));
    assert_eq!(why(&mut town, order(6)).1, json!({ "wrong_vehicle": 4 }));
    // What only the work in hand takes is told as the work in hand.
    town.place(7);
    assert_eq!(
        why(&mut town, order(7)).1,
        json!({ "busy": 1, "has_open_offer": 1, "off_duty": 1, "taken_by_more_urgent": 1 })
    );
}

#[test]
fn an_operator_passes_over_tags_with_force_only() {
    let mut town = Town::new();
    on_duty_with(&mut town, 1, &["cod"]);
    on_duty_with(&mut town, 2, &[]);
    town.place_spec(needing(&town, 1, &["alcohol"]));
    let refused = |town: &Town, answer| match town.answer(answer) {
        Some(Err(refusal)) => refusal.code(),
        other => panic!("{other:?}"),
    };
    let answer = operate(&mut town, order(1), assign(1));
    assert_eq!(refused(&town, answer), "rider_unfit");
    operate(&mut town, order(1), OperatorAction::Assign { rider: rider(1), force: true });
    assert_eq!(town.status(order(1)), Some(OrderStatus::Assigned));
    let answer = operate(&mut town, order(1), reassign(2));
    assert_eq!(refused(&town, answer), "rider_unfit");
}

#[test]
fn a_city_that_starts_again_knows_the_tags() {
    let town = Town::new();
    let stored = |n: u128, words: &[&str]| {
        let mut stored = stored_rider(n, Duty::On);
        stored.profile.tags = tags(words);
        stored
    };
    let riders: Vec<StoredRider> = vec![stored(1, &[]), stored(2, &["cod"])];
    let mut before = Town::new();
    before.place_spec(needing(&town, 1, &["cod"]));
    let placed = before.stored.iter().find_map(|write| match write {
        dispatch_engine::engine::effect::Write::Place(place) => Some((place.spec.clone(), place.state.clone())),
        _ => None,
    });
    let image = CityImage { riders: riders.clone(), orders: placed.into_iter().collect(), ..CityImage::default() };
    let (city, _) = City::restore(settings(), 1, town.now, image);
    let mut town = Town { city, ..town };
    for (n, stored) in (1..).zip(riders) {
        let session = SessionId(n);
        town.ask(|reply| Command::Connect { rider: stored.profile.clone(), session, reply });
        let fix = Fix { rider: stored.profile.id, session, position: at(12.97, 77.59), recorded_at: town.now };
        town.apply(Command::Fixes(vec![fix]));
    }
    town.wait(secs(1));
    assert_eq!((town.offer_to(1), town.offer_to(2).is_some()), (None, true));
}
