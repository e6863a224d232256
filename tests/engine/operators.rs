//! What operators do with orders, one rule at a time.

use dispatch_engine::{
    domain::{
        duty::Duty,
        ids::{OrderId, SessionId},
        order::{Actor, ActorKind, OrderSpec, OrderStatus, Step},
        rider::{KycStatus, Vehicle},
        steering::Priority,
    },
    engine::{
        City, CityImage,
        command::{Answer, Command, Conditions, OperatorAction, OperatorRefusal, Outcome, Refusal},
        effect::{Notice, OrderWrite, Write},
        invariants,
        view::WaitReason,
    },
};

use super::harness::*;

pub const COUNTER: fn() -> dispatch_engine::domain::position::Position = || at(12.971, 77.591);

pub fn operator(name: &str) -> Actor {
    Actor { kind: ActorKind::Operator, id: Some(name.into()) }
}

/// An operator's action; the number of the answer.
pub fn operate(town: &mut Town, order: OrderId, action: OperatorAction) -> u64 {
    operate_as(town, "olga", order, action, None)
}

pub fn operate_as(town: &mut Town, name: &str, order: OrderId, action: OperatorAction, expected: Option<i32>) -> u64 {
    let (by, given) = (operator(name), Conditions { expected_version: expected, idempotency: None });
    town.ask(|reply| Command::Operate { order, action, by, reason: "a good one".into(), given, reply })
}

pub fn assign(n: u128) -> OperatorAction {
    OperatorAction::Assign { rider: rider(n), force: false }
}

pub fn reassign(n: u128) -> OperatorAction {
    OperatorAction::Reassign { rider: rider(n), force: false }
}

pub fn hold(town: &Town, s: u64) -> OperatorAction {
    OperatorAction::Hold { until: town.now + secs(s) }
}

/// The last write of an order.
pub fn last_write(town: &Town, order: OrderId) -> OrderWrite {
    let found = town.stored.iter().rev().find_map(|write| match write {
        Write::Order(write) if write.order == order => Some(write.clone()),
        _ => None,
    });
    found.expect("a write")
}

pub fn view(town: &Town, order: OrderId) -> dispatch_engine::engine::view::OrderView {
    town.city.snapshot(town.now).orders.into_iter().find(|view| view.order == order).expect("a live order")
}

#[track_caller]
pub fn refused(town: &Town, answer: u64) -> &'static str {
    match town.answer(answer) {
        Some(Err(refusal)) => refusal.code(),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub fn receipt(town: &Town, answer: u64) -> (OrderStatus, i32) {
    match town.answer(answer) {
        Some(Ok(Outcome::Order { status, version, .. })) => (*status, *version),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_order_is_given_to_a_rider_and_everything_is_written_down_at_once() {
    let mut town = Town::new();
    town.on_duty(1, COUNTER());
    town.on_duty(2, at(13.1, 77.7));
    let order = town.place(1);
    town.wait(secs(1));
    let offer = town.offer_to(1).unwrap();
    let answer = operate(&mut town, order, assign(2));
    assert_eq!(receipt(&town, answer), (OrderStatus::Assigned, 3));
    let write = last_write(&town, order);
    let event = &write.events[0];
    assert_eq!(
        (event.kind, &event.actor, event.reason.as_deref()),
        ("assigned", &operator("olga"), Some("a good one"))
    );
    let audit = write.audit.expect("an operator's act is audited");
    assert_eq!((audit.action, audit.rider, audit.reason.as_deref()), ("assign", Some(rider(2)), Some("a good one")));
    assert_eq!(write.offers.len(), 1, "the open offer is taken back in the same write");
    // The one who was asked hears that it is over, the other one that there is work.
    let told = |n, why| {
        town.notices.iter().any(|(to, notice)| match notice {
            Notice::OfferClosed { offer: of, why: word, .. } => *to == rider(n) && *of == offer && *word == why,
            Notice::OrderChanged { job: Some(_), why: word, .. } => *to == rider(n) && *word == why,
            _ => false,
        })
    };
    assert!(told(1, "taken") && told(2, "assigned_by_operator"));
    let late = town.respond(1, offer, Answer::Accept);
    assert_eq!(refused(&town, late), "offer_closed");
    for step in [Step::AtPickup, Step::PickedUp, Step::Delivered] {
        town.step(2, order, step);
    }
    assert_eq!(town.stored_status(order), Some(OrderStatus::Delivered));
    assert_eq!(last_write(&town, order).postings.iter().map(|posting| posting.amount_minor).max(), Some(4_000));
}

#[test]
fn a_rider_who_is_away_learns_of_the_order_in_the_welcome() {
    let mut town = Town::new();
    town.on_duty(1, COUNTER());
    town.apply(Command::Disconnect { rider: rider(1), session: SessionId(1) });
    let order = town.place(1);
    let answer = operate(&mut town, order, assign(1));
    assert_eq!(receipt(&town, answer).0, OrderStatus::Assigned);
    let connect = |reply| Command::Connect { rider: profile(rider(1)), session: SessionId(9), reply };
    let Ok(Outcome::Connected(sync)) = town.ask_now(connect) else { panic!("not connected") };
    assert_eq!(sync.jobs[0].orders[0].order, order);
}

#[test]
fn nobody_is_given_what_they_cannot_take() {
    let mut town = Town::new();
    let order = town.place(1);
    let code = |town: &mut Town, n| {
        let answer = operate(town, order, assign(n));
        refused(town, answer)
    };
    assert_eq!(code(&mut town, 1), "rider_unavailable", "not here");
    town.on_duty(1, COUNTER());
    let action = hold(&town, 600);
    operate(&mut town, order, action);
    let session = SessionId(1);
    town.ask(|reply| Command::SetDuty { rider: rider(1), session, duty: Duty::Break, reply });
    assert_eq!(code(&mut town, 1), "rider_unavailable", "on a break");
    town.ask(|reply| Command::SetDuty { rider: rider(1), session, duty: Duty::On, reply });
    // Papers, and the room that a bag has, are nobody's to pass over.
    for (kyc, units, expected) in
        [(KycStatus::Approved, 0, "rider_unfit"), (KycStatus::Expired, 10, "rider_unavailable")]
    {
        let mut changed = profile(rider(1));
        (changed.kyc, changed.capacity_units) = (kyc, units);
        town.apply(Command::UpdateProfile(changed));
        let force = OperatorAction::Assign { rider: rider(1), force: true };
        let answer = operate(&mut town, order, force);
        assert_eq!(refused(&town, answer), expected);
    }
    // One order in hand is all that the policy allows.
    let mut town = Town::new();
    town.assigned(1, 1);
    let second = town.place(2);
    let answer = operate(&mut town, second, assign(1));
    assert_eq!(refused(&town, answer), "rider_busy");
}

#[test]
fn force_passes_over_the_vehicle_only() {
    let mut town = Town::new();
    town.on_duty(1, COUNTER());
    let mut needs_car = spec(order(1), town.now);
    needs_car.vehicle_need = Some(Vehicle::Car);
    town.place_spec(needs_car);
    let answer = operate(&mut town, order(1), assign(1));
    assert_eq!(refused(&town, answer), "rider_unfit");
    let answer = operate(&mut town, order(1), OperatorAction::Assign { rider: rider(1), force: true });
    assert_eq!(receipt(&town, answer).0, OrderStatus::Assigned);
}

#[test]
fn whoever_asked_to_be_relieved_does_not_get_the_goods_back() {
    let mut town = Town::new();
    let order = town.assigned(1, 1);
    town.step(1, order, Step::PickedUp);
    town.step(1, order, Step::Handover);
    let session = SessionId(1);
    town.ask(|reply| Command::SetDuty { rider: rider(1), session, duty: Duty::On, reply });
    let answer = operate(&mut town, order, assign(1));
    assert_eq!(refused(&town, answer), "rider_unfit");
    town.on_duty(2, at(12.98, 77.6));
    let answer = operate(&mut town, order, assign(2));
    assert_eq!(receipt(&town, answer).0, OrderStatus::Assigned);
}

#[test]
fn an_order_changes_hands_before_its_goods_do_and_never_after() {
    let mut town = Town::new();
    let order = town.assigned(1, 1);
    town.step(1, order, Step::AtPickup);
    town.on_duty(2, COUNTER());
    let answer = operate(&mut town, order, assign(2));
    assert_eq!(refused(&town, answer), "wrong_status");
    let answer = operate(&mut town, order, reassign(2));
    assert_eq!(receipt(&town, answer), (OrderStatus::Assigned, 5));
    let kinds: Vec<_> = last_write(&town, order).events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["unassigned", "assigned"], "in one write");
    let lost = |(to, notice): &(_, Notice)| {
        *to == rider(1) && matches!(notice, Notice::OrderChanged { job: None, why: "reassigned", .. })
    };
    assert!(town.notices.iter().any(lost));
    let stranger = town.step(1, order, Step::PickedUp);
    // Who says that the goods are in hand is not brushed aside: people decide.
    assert_eq!(town.answer(stranger), Some(&Err(Refusal::Disputed)));
    // The same again is done already; the dispute has its own version.
    let again = operate(&mut town, order, reassign(2));
    assert_eq!(receipt(&town, again), (OrderStatus::Assigned, 6));
    town.step(2, order, Step::PickedUp);
    for action in [reassign(1), OperatorAction::Unassign] {
        let answer = operate(&mut town, order, action);
        assert_eq!(refused(&town, answer), "picked_up");
    }
}

#[test]
fn who_lost_an_order_is_not_asked_again_at_once() {
    let mut town = Town::new();
    let order = town.assigned(1, 1);
    let answer = operate(&mut town, order, OperatorAction::Unassign);
    assert_eq!(receipt(&town, answer), (OrderStatus::Queued, 4));
    let offers = town.notices.len();
    town.wait(secs(5));
    assert!(!town.notices[offers..].iter().any(|(_, notice)| matches!(notice, Notice::Offer(_))));
    town.on_duty(2, at(12.975, 77.595));
    town.wait(secs(1));
    assert!(town.offer_to(2).is_some());
    // Nobody has it: it is unassigned already.
    let version = view(&town, order).version;
    let again = operate(&mut town, order, OperatorAction::Unassign);
    assert_eq!(receipt(&town, again).1, version);
}

#[test]
fn a_held_order_is_offered_to_nobody_and_its_hold_ends_by_itself() {
    let mut town = Town::new();
    town.on_duty(1, COUNTER());
    let order = town.place(1);
    town.wait(secs(1));
    let offer = town.offer_to(1).unwrap();
    let action = hold(&town, 100);
    let answer = operate(&mut town, order, action);
    assert_eq!(receipt(&town, answer).0, OrderStatus::Queued);
    assert!(
        matches!(town.notices.last(), Some((_, Notice::OfferClosed { offer: of, why: "held", .. })) if *of == offer)
    );
    let held = view(&town, order);
    assert_eq!((held.waiting_for, held.due_at), (Some(WaitReason::Held), None));
    assert_eq!(held.hold.map(|hold| (hold.by, hold.reason)), Some(("olga".into(), "a good one".into())));
    for _ in 0..3 {
        town.ping(1, COUNTER());
        town.wait(secs(30));
    }
    assert_eq!(town.offer_to(1), Some(offer), "nothing new");
    town.ping(1, COUNTER());
    town.wait(secs(12));
    let ended = town.stored.iter().any(|write| match write {
        Write::Order(write) => write.events.iter().any(|e| e.kind == "hold_expired") && write.audit.is_none(),
        _ => false,
    });
    assert!(ended);
    assert_ne!(town.offer_to(1), Some(offer), "the order is offered again");
}

#[test]
fn a_hold_has_one_owner_who_may_make_it_longer() {
    let mut town = Town::new();
    let order = town.place(1);
    for s in [0, 3_601] {
        let action = hold(&town, s);
        let answer = operate(&mut town, order, action);
        assert_eq!(town.answer(answer), Some(&Err(Refusal::Operator(OperatorRefusal::BadHold { max_s: 3_600 }))));
    }
    let action = hold(&town, 60);
    operate(&mut town, order, action);
    let again = operate(&mut town, order, action);
    assert_eq!(receipt(&town, again).1, 2, "nothing new");
    let longer = hold(&town, 90);
    let theirs = operate_as(&mut town, "pavel", order, longer, None);
    assert_eq!(refused(&town, theirs), "held_by_other");
    operate(&mut town, order, longer);
    town.wait(secs(70));
    assert_eq!(view(&town, order).waiting_for, Some(WaitReason::Held), "the first end has passed");
    let released = operate_as(&mut town, "pavel", order, OperatorAction::Release, None);
    assert_eq!(receipt(&town, released).1, 4);
    let write = last_write(&town, order);
    assert_eq!((write.events[0].kind, write.audit.unwrap().actor), ("released", operator("pavel")));
    let free = operate(&mut town, order, OperatorAction::Release);
    assert_eq!(receipt(&town, free).1, 4, "free already");
    let mut town = Town::new();
    let order = town.assigned(1, 2);
    let action = hold(&town, 60);
    let answer = operate(&mut town, order, action);
    assert_eq!(refused(&town, answer), "wrong_status");
}

#[test]
fn a_scheduled_order_can_be_held_beyond_its_time_and_given_before_it() {
    let mut town = Town::new();
    town.on_duty(1, COUNTER());
    for n in [1, 2] {
        let mut later = spec(order(n), town.now);
        later.dispatch_at = Some(town.now + secs(60));
        town.place_spec(later);
    }
    let action = hold(&town, 100);
    operate(&mut town, order(1), action);
    let given = operate(&mut town, order(2), assign(1));
    assert_eq!(receipt(&town, given).0, OrderStatus::Assigned);
    town.wait(secs(62));
    assert_eq!(
        (town.status(order(1)), town.status(order(2))),
        (Some(OrderStatus::Queued), Some(OrderStatus::Assigned))
    );
    assert_eq!(view(&town, order(1)).waiting_for, Some(WaitReason::Held));
    town.wait(secs(40));
    assert_ne!(view(&town, order(1)).waiting_for, Some(WaitReason::Held));
}

#[test]
fn a_hold_outlives_the_engine() {
    let mut town = Town::new();
    let order = town.place(1);
    let action = hold(&town, 60);
    operate(&mut town, order, action);
    operate(&mut town, order, OperatorAction::SetPriority { level: Priority::new(2).unwrap() });
    let state = last_write(&town, order).state;
    let image = CityImage {
        orders: vec![(spec(order, START), state)],
        riders: vec![stored_rider(1, Duty::On)],
        ..CityImage::default()
    };
    let (city, _) = City::restore(settings(), 2, town.now, image);
    invariants::check(&city, town.now).unwrap();
    let mut town = Town { city, now: town.now, ..Town::new() };
    town.on_duty(1, COUNTER());
    town.wait(secs(30));
    let held = view(&town, order);
    assert_eq!((held.waiting_for, held.priority.level()), (Some(WaitReason::Held), 2));
    town.ping(1, COUNTER());
    town.wait(secs(32));
    assert!(town.offer_to(1).is_some());
}

#[test]
fn of_the_due_orders_the_higher_priority_goes_first() {
    let mut town = Town::new();
    let (first, second, third) = (town.place(1), town.place(2), town.place(3));
    town.wait(secs(2));
    let level = |n| OperatorAction::SetPriority { level: Priority::new(n).unwrap() };
    let answer = operate(&mut town, third, level(1));
    assert_eq!(receipt(&town, answer), (OrderStatus::Queued, 2));
    operate(&mut town, first, level(-1));
    assert_eq!(town.city.queue().collect::<Vec<_>>(), [third, second, first]);
    let again = operate(&mut town, third, level(1));
    assert_eq!(receipt(&town, again).1, 2, "nothing new");
    for (n, expected) in [(1, third), (2, second), (3, first)] {
        town.on_duty(n, COUNTER());
        town.wait(secs(1));
        let order = town.offer_to(n).map(|_| view(&town, expected).rider);
        assert_eq!(order, Some(Some(rider(n))), "{expected}");
    }
}

#[test]
fn an_operator_calls_off_like_a_merchant_but_audited() {
    let mut town = Town::new();
    let order = town.place(1);
    let action = hold(&town, 60);
    operate(&mut town, order, action);
    let answer = operate(&mut town, order, OperatorAction::Cancel);
    assert_eq!(receipt(&town, answer).0, OrderStatus::Cancelled);
    let write = last_write(&town, order);
    assert_eq!((write.audit.unwrap().action, write.state.hold), ("cancel", None));
    let order = town.assigned(1, 2);
    town.step(1, order, Step::PickedUp);
    let answer = operate(&mut town, order, OperatorAction::Cancel);
    let (status, version) = receipt(&town, answer);
    assert_eq!(status, OrderStatus::Returning);
    let again = operate(&mut town, order, OperatorAction::Cancel);
    assert_eq!(receipt(&town, again), (OrderStatus::Returning, version), "on its way back already");
    let gone = operate(&mut town, super::harness::order(77), OperatorAction::Cancel);
    assert_eq!(refused(&town, gone), "unknown_order");
}

#[test]
fn an_order_for_later_that_is_given_back_waits_for_its_time() {
    let mut town = Town::new();
    town.on_duty(1, COUNTER());
    let dispatch_at = town.now + secs(1_200);
    let later = OrderSpec { dispatch_at: Some(dispatch_at), ..spec(order(1), town.now) };
    town.place_spec(later);
    operate(&mut town, order(1), assign(1));
    let answer = operate(&mut town, order(1), OperatorAction::Unassign);
    assert_eq!(receipt(&town, answer).0, OrderStatus::Placed);
    town.on_duty(2, COUNTER());
    for _ in 0..20 {
        town.wait(secs(30));
        town.ping(2, COUNTER());
    }
    assert_eq!(town.offer_to(2), None);
    for _ in 0..21 {
        town.wait(secs(30));
        town.ping(2, COUNTER());
    }
    assert!(town.offer_to(2).is_some());
}
