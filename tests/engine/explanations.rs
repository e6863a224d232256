//! Why this rider, and why nobody: what an order's events say, how often, and what a look at the moment says.

use std::collections::BTreeMap;

use dispatch_engine::{
    domain::{
        city::City as Settings,
        duty::Duty,
        ids::{OrderId, SessionId},
        order::{OrderSpec, Step},
        policy::DispatchPolicy,
        rider::{RiderProfile, Vehicle},
    },
    engine::{
        command::{Answer, Command, Outcome, Refusal},
        effect::{OrderEvent, Write},
        view::WaitReason,
    },
};
use serde_json::{Value, json};

use super::harness::*;

/// The events of an order, as stored; their numbers have no gap.
fn history(town: &Town, order: OrderId) -> Vec<OrderEvent> {
    let events = |write: &Write| match write {
        Write::Place(write) if write.spec.id == order => write.events.clone(),
        Write::Order(write) if write.order == order => write.events.clone(),
        Write::Note(write) if write.order == order => vec![write.event.clone()],
        _ => vec![],
    };
    let events: Vec<OrderEvent> = town.stored.iter().flat_map(events).collect();
    assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq));
    for event in &events {
        let size = serde_json::to_string(&event.data).unwrap().len();
        assert!(size < 2_048, "{} takes {size} bytes", event.kind);
    }
    events
}

/// The explanations of one kind of event, with their reasons.
fn explained(town: &Town, order: OrderId, kind: &str) -> Vec<(Option<String>, Value)> {
    let events = history(town, order).into_iter().filter(|event| event.kind == kind);
    events.map(|event| (event.reason, event.data["why"].clone())).collect()
}

fn connect(town: &mut Town, n: u128, change: impl FnOnce(&mut RiderProfile)) -> SessionId {
    let session = SessionId(u64::try_from(n).unwrap());
    let mut profile = profile(rider(n));
    change(&mut profile);
    town.ask_now(|reply| Command::Connect { rider: profile, session, reply }).unwrap();
    session
}

fn now(town: &mut Town, order: OrderId) -> Result<(Option<WaitReason>, Value), Refusal> {
    let before = town.stored.len();
    let outcome = town.ask_now(|reply| Command::Explain { order, reply })?;
    assert_eq!(town.stored.len(), before, "a question stores nothing");
    let Outcome::Explained(explained) = outcome else { panic!("{outcome:?}") };
    Ok((explained.order.waiting_for, explained.why.unwrap_or_default()))
}

#[test]
fn an_offer_says_who_else_was_considered_and_who_was_not() {
    let mut town = Town::new();
    // Near by, in this order: one to be asked, eleven who could be, and one of each who could not.
    for n in 1..=12 {
        town.on_duty(n, at(12.97 + 0.0002 * n as f64, 77.59));
    }
    // About 2.2 km away: beyond the first radius.
    town.on_duty(20, at(12.99, 77.59));
    town.on_duty(21, at(12.9701, 77.59));
    town.apply(Command::Disconnect { rider: rider(21), session: SessionId(21) });
    town.on_duty(22, at(12.9701, 77.59));
    town.ask(|reply| Command::SetDuty { rider: rider(22), session: SessionId(22), duty: Duty::Break, reply });
    let small = connect(&mut town, 23, |profile| profile.capacity_units = 1);
    town.ask(|reply| Command::SetDuty { rider: rider(23), session: small, duty: Duty::On, reply });
    town.ping(23, at(12.9701, 77.59));
    let walker = connect(&mut town, 24, |profile| profile.vehicle = Vehicle::Walking);
    town.ask(|reply| Command::SetDuty { rider: rider(24), session: walker, duty: Duty::On, reply });
    town.ping(24, at(12.9701, 77.59));

    let wanted = OrderSpec { size_units: 2, vehicle_need: Some(Vehicle::Bicycle), ..spec(order(1), town.now) };
    town.place_spec(wanted);
    town.wait(secs(1));
    let offers = explained(&town, order(1), "offered");
    let (_, why) = &offers[0];
    assert_eq!(why["chosen"], json!([rider(1).to_string()]));
    let named = why["candidates"].as_array().unwrap();
    assert_eq!((named.len(), &why["more"]), (8, &json!(4)));
    assert_eq!(named[0]["rider"], json!(rider(1).to_string()));
    // 22 m x 1.4 / 6.1 m/s.
    assert_eq!((&named[0]["eta_s"], &named[0]["distance_m"]), (&json!(5), &json!(22.0)));
    let etas: Vec<u64> = named.iter().map(|candidate| candidate["eta_s"].as_u64().unwrap()).collect();
    assert!(etas.is_sorted());
    assert_eq!(
        why["excluded"],
        json!({ "out_of_radius": 1, "stale": 1, "off_duty": 1, "no_room": 1, "wrong_vehicle": 1 })
    );
    assert_eq!(why["radius_m"], json!(1_500.0));
}

#[test]
fn rivals_of_the_same_moment_and_busy_riders_are_told_apart() {
    let mut town = Town::new();
    let held = town.assigned(1, 1);
    town.step(1, held, Step::PickedUp);
    town.on_duty(2, at(12.9701, 77.59));
    town.on_duty(3, at(12.9702, 77.59));
    town.on_duty(4, at(12.9703, 77.59));
    town.place(2);
    town.wait(secs(1));
    // Both at once: the more urgent one has the nearer rider.
    let urgent = OrderSpec { promise_at: town.now + secs(60), ..spec(order(3), town.now) };
    town.place_spec(urgent);
    town.place(4);
    town.wait(secs(1));
    let (_, why) = &explained(&town, order(4), "offered")[0];
    assert_eq!(why["chosen"], json!([rider(4).to_string()]));
    assert_eq!(why["excluded"], json!({ "busy": 1, "has_open_offer": 1, "taken_by_more_urgent": 1 }));
}

#[test]
fn every_change_of_the_reason_is_told_and_no_more() {
    let mut town = Town::new();
    let order = town.place(1);
    town.wait(secs(50));
    let told = explained(&town, order, "not_assigned");
    assert_eq!(told.len(), 1, "the reason stays the same");
    assert_eq!(told[0].0.as_deref(), Some("no_rider_in_reach"));
    assert_eq!(told[0].1["candidates"], json!([]));
    town.on_duty(1, at(12.971, 77.591));
    town.wait(secs(1));
    let offer = town.offer_to(1).unwrap();
    town.respond(1, offer, Answer::Decline { reason: "too far".into() });
    town.wait(secs(2));
    assert_eq!(explained(&town, order, "not_assigned").len(), 1, "at most once a minute");
    town.wait(secs(10));
    let told = explained(&town, order, "not_assigned");
    assert_eq!(told.len(), 2);
    assert_eq!(told[1].0.as_deref(), Some("all_refused"));
    assert_eq!(told[1].1["excluded"], json!({ "refused": 1 }));
    // Not asked again in this round, however long that is.
    assert_eq!(told[1].1["cooling"], json!([{ "rider": rider(1).to_string(), "until": null }]));
    // The version is that of the decline: an explanation has none of its own.
    let events = history(&town, order);
    let last = events.last().unwrap();
    assert_eq!((last.kind, last.version), ("not_assigned", events[events.len() - 2].version));
    // What follows goes on from there.
    town.on_duty(2, at(12.972, 77.592));
    town.wait(secs(1));
    assert!(town.offer_to(2).is_some());
    history(&town, order);
}

#[test]
fn a_pickup_that_takes_too_long_is_refused_and_explained() {
    let policy = DispatchPolicy { max_pickup_eta_s: 600, ..DispatchPolicy::default() };
    let mut town = Town::with(Settings { policy, ..settings() });
    let walker = connect(&mut town, 1, |profile| profile.vehicle = Vehicle::Walking);
    town.ask(|reply| Command::SetDuty { rider: rider(1), session: walker, duty: Duty::On, reply });
    // 1.1 km: 18 minutes on foot.
    town.ping(1, at(12.98, 77.59));
    let order = town.place(1);
    town.wait(secs(2));
    assert_eq!(town.offer_to(1), None);
    let told = explained(&town, order, "not_assigned");
    assert_eq!(told[0].0.as_deref(), Some("pickup_too_long"));
    assert_eq!((&told[0].1["excluded"], &told[0].1["soonest_s"]), (&json!({ "pickup_too_long": 1 }), &json!(1_111)));
    assert_eq!(now(&mut town, order).unwrap().0, Some(WaitReason::PickupTooLong));
    // A motorcycle of the same place is in time.
    town.on_duty(2, at(12.98, 77.59));
    town.wait(secs(1));
    assert!(town.offer_to(2).is_some());
}

#[test]
fn a_question_is_answered_with_the_moment() {
    let mut town = Town::new();
    let order = town.place(1);
    town.wait(secs(1));
    let (waits, why) = now(&mut town, order).unwrap();
    assert_eq!((waits, &why["excluded"]), (Some(WaitReason::NoRiderInReach), &json!({})));
    town.on_duty(1, at(12.971, 77.591));
    assert_eq!(now(&mut town, order).unwrap().1["candidates"][0]["rider"], json!(rider(1).to_string()));
    town.wait(secs(1));
    town.now = town.now + secs(1);
    let (waits, why) = now(&mut town, order).unwrap();
    assert_eq!((waits, &why["excluded"]), (Some(WaitReason::Offered), &json!({ "has_open_offer": 1 })));
    let offer = town.offer_to(1).unwrap();
    town.respond(1, offer, Answer::Accept);
    assert_eq!(now(&mut town, order).unwrap(), (None, Value::Null));
    town.step(1, order, Step::PickedUp);
    town.step(1, order, Step::Delivered);
    assert!(matches!(now(&mut town, order), Err(Refusal::OrderEnded(_))));
    assert_eq!(now(&mut town, super::harness::order(9)), Err(Refusal::UnknownOrder));
}

#[test]
fn an_explanation_that_is_not_stored_is_tried_again() {
    let mut town = Town::new();
    let order = town.place(1);
    town.auto_commit = false;
    town.wait(secs(1));
    town.reject(dispatch_engine::engine::command::RejectReason::Busy);
    town.auto_commit = true;
    town.wait(secs(30));
    assert_eq!(explained(&town, order, "not_assigned").len(), 0, "not at once");
    town.wait(secs(60));
    assert_eq!(explained(&town, order, "not_assigned").len(), 1);
}

#[test]
fn no_policy_and_no_crisis_makes_a_flood() {
    let mut town = Town::with(Settings {
        policy: DispatchPolicy { explain_every_s: 0, ..DispatchPolicy::default() },
        ..settings()
    });
    let silent = town.place(1);
    town.wait(secs(120));
    assert_eq!(explained(&town, silent, "not_assigned").len(), 0);
    // A hundred orders and nobody to take them: each is explained, little by little.
    let mut town = Town::new();
    for n in 1..=100 {
        town.place(n);
    }
    let notes = |town: &Town| town.stored.iter().filter(|write| matches!(write, Write::Note(_))).count();
    let mut before = 0;
    for _ in 0..4 {
        town.wait(secs(1));
        assert!(notes(&town) - before <= 32);
        before = notes(&town);
    }
    assert_eq!(before, 100);
}

/// The bound on the work is the engine's own; here the whole city goes on although all of its riders are in one place.
#[test]
fn ten_thousand_riders_on_one_coordinate_are_dispatched() {
    const RIDERS: u128 = 10_000;
    let mut town = Crowd::new();
    for n in 1..=RIDERS {
        town.on_duty(n);
    }
    let mut asked: BTreeMap<_, OrderId> = BTreeMap::new();
    for n in 1..=40 {
        town.place(n);
    }
    for (rider, order) in town.tick() {
        assert_eq!(asked.insert(rider, order), None, "one rider, one offer");
    }
    assert_eq!(asked.len(), 40, "every order is offered at once, each to another rider");
    let why = town.why.last().unwrap();
    assert_eq!(why["candidates"].as_array().unwrap().len(), 8);
    assert!(serde_json::to_string(why).unwrap().len() < 2_048);
    // Their neighbours have open offers, and were taken in the same tick.
    assert_eq!(why["excluded"], json!({ "taken_by_more_urgent": 39 }));
}

/// A city without checks after every step, which look at every rider.
struct Crowd {
    city: dispatch_engine::engine::City,
    why: Vec<Value>,
}

impl Crowd {
    fn new() -> Self {
        let image = dispatch_engine::engine::CityImage::default();
        let (city, _) = dispatch_engine::engine::City::restore(settings(), 1, START, image);
        Self { city, why: vec![] }
    }

    /// Applies a command and commits what it writes; the offers among it.
    fn apply(&mut self, command: Command) -> Vec<(dispatch_engine::domain::ids::RiderId, OrderId)> {
        let mut offers = vec![];
        let mut effects: std::collections::VecDeque<_> = self.city.apply(START, command).into();
        while let Some(effect) = effects.pop_front() {
            let dispatch_engine::engine::effect::Effect::Persist(write) = effect else { continue };
            if let Write::Order(write) = &*write {
                offers.extend(write.offers.iter().map(|offer| (offer.rider, write.order)));
                self.why.extend(write.events.iter().map(|event| event.data["why"].clone()));
            }
            effects.extend(self.city.apply(START, Command::Committed { transition: write.transition() }));
        }
        offers
    }

    fn on_duty(&mut self, n: u128) {
        use dispatch_engine::{domain::ids::ReplyTo, engine::command::Fix};
        let (session, reply) = (SessionId(u64::try_from(n).unwrap()), ReplyTo(0));
        self.apply(Command::Connect { rider: profile(rider(n)), session, reply });
        self.apply(Command::SetDuty { rider: rider(n), session, duty: Duty::On, reply });
        let fix = Fix { rider: rider(n), session, position: at(12.971, 77.591), recorded_at: START };
        self.apply(Command::Fixes(vec![fix]));
    }

    fn place(&mut self, n: u128) {
        self.apply(Command::Place {
            spec: Box::new(spec(order(1_000_000 + n), START)),
            extras: Box::default(),
            actor: dispatch_engine::domain::order::Actor::ENGINE,
            reply: dispatch_engine::domain::ids::ReplyTo(0),
        });
    }

    fn tick(&mut self) -> Vec<(dispatch_engine::domain::ids::RiderId, OrderId)> {
        let offers = self.apply(Command::Tick);
        dispatch_engine::engine::invariants::check(&self.city, START).unwrap();
        offers
    }
}
