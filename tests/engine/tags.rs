//! Tags: who lacks what an order needs is not asked for it, and is named as left out.

use dispatch_engine::{
    domain::{
        duty::Duty,
        ids::{OrderId, SessionId},
        order::{OrderSpec, OrderStatus},
        tags::Tags,
    },
    engine::{
        City, CityImage, StoredRider,
        command::{Command, Fix, OperatorAction, Outcome},
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
