//! One behaviour at a time.

use dispatch_engine::{
    domain::{
        duty::Duty,
        ids::SessionId,
        order::{OrderStatus, Step},
    },
    engine::{
        City, CityImage,
        command::{Answer, Command, Outcome, Refusal, RejectReason, StepReport},
        effect::{Notice, Write},
        invariants,
        view::WaitReason,
    },
};

use super::harness::*;

const DECLINE: fn() -> Answer = || Answer::Decline { reason: "too far".into() };

fn wait_reason(town: &Town, order: dispatch_engine::domain::ids::OrderId) -> Option<WaitReason> {
    town.city.snapshot(town.now).orders.iter().find(|view| view.order == order).and_then(|view| view.waiting_for)
}

#[test]
fn an_order_travels_from_placed_to_delivered() {
    let mut town = Town::new();
    let order = town.assigned(1, 1);
    for step in [Step::AtPickup, Step::PickedUp, Step::AtDropoff, Step::Delivered] {
        town.wait(secs(60));
        let answer = town.step(1, order, step);
        assert!(matches!(town.answer(answer), Some(Ok(Outcome::Stepped { .. }))), "{step}");
    }
    assert_eq!(town.stored_status(order), Some(OrderStatus::Delivered));
    assert_eq!(town.city.counts(town.now).delivered, 1);
    let history = versions(&town.stored, order);
    assert!(history.iter().enumerate().all(|(n, (before, after, _))| *before == n as i32 && *after == n as i32 + 1));
    // The payout moves once, balanced.
    let paid: Vec<i64> = town
        .stored
        .iter()
        .filter_map(|write| if let Write::Order(write) = write { Some(&write.postings) } else { None })
        .flatten()
        .map(|posting| posting.amount_minor)
        .collect();
    assert_eq!(paid, [4_000, -4_000]);
    // A repeated report gets its first answer; the rider is free for the next order.
    let again = town.step(1, order, Step::Delivered);
    assert!(matches!(town.answer(again), Some(Ok(Outcome::Stepped { status: OrderStatus::Delivered, job: None, .. }))));
    town.ping(1, at(12.971, 77.591));
    assert_eq!(town.city.counts(town.now).riders_idle, 1);
}

#[test]
fn nobody_hears_of_what_is_not_stored() {
    let mut town = Town::new();
    town.on_duty(1, at(12.971, 77.591));
    town.auto_commit = false;
    let placed = town.place_spec(spec(order(1), town.now));
    assert_eq!(town.answer(placed), None);
    assert_eq!(town.status(order(1)), None);
    town.commit();
    assert!(town.answer(placed).is_some());
    town.wait(secs(1));
    assert_eq!(town.offer_to(1), None, "the offer row is not stored yet");
    town.commit();
    let offer = town.offer_to(1).expect("stored, so sent");
    let accepted = town.respond(1, offer, Answer::Accept);
    assert_eq!(town.answer(accepted), None);
    town.commit();
    assert!(matches!(town.answer(accepted), Some(Ok(Outcome::Accepted(_)))));
}

#[test]
fn a_rejected_acceptance_leaves_everything_as_it_was() {
    let mut town = Town::new();
    town.on_duty(1, at(12.971, 77.591));
    let order = town.place(1);
    town.wait(secs(1));
    let offer = town.offer_to(1).unwrap();
    town.auto_commit = false;
    let accepted = town.respond(1, offer, Answer::Accept);
    town.reject(RejectReason::Busy);
    assert_eq!(town.answer(accepted), Some(&Err(Refusal::StorageBusy)));
    assert_eq!(town.status(order), Some(OrderStatus::Offered));
    // The same answer may be given again, and wins.
    let again = town.respond(1, offer, Answer::Accept);
    town.commit();
    assert!(matches!(town.answer(again), Some(Ok(Outcome::Accepted(_)))));
    let twice = town.respond(1, offer, Answer::Accept);
    assert!(matches!(town.answer(twice), Some(Ok(Outcome::Accepted(_)))));
}

#[test]
fn a_declined_order_goes_to_the_next_rider_and_comes_back_only_in_a_new_round() {
    let mut town = Town::new();
    town.on_duty(1, at(12.971, 77.591));
    let order = town.place(1);
    town.wait(secs(1));
    let first = town.offer_to(1).unwrap();
    town.respond(1, first, DECLINE());
    town.wait(secs(5));
    assert_eq!(wait_reason(&town, order), Some(WaitReason::AllRefused));
    town.on_duty(2, at(12.975, 77.595));
    town.wait(secs(1));
    let second = town.offer_to(2).expect("the next rider is asked");
    town.respond(2, second, DECLINE());
    for _ in 0..3 {
        town.wait(secs(30));
        town.ping(1, at(12.971, 77.591));
        town.ping(2, at(12.975, 77.595));
    }
    assert_eq!(town.offer_to(1), Some(first));
    for _ in 0..3 {
        town.wait(secs(30));
        town.ping(1, at(12.971, 77.591));
        town.ping(2, at(12.975, 77.595));
    }
    assert_ne!((town.offer_to(1), town.offer_to(2)), (Some(first), Some(second)), "a new round asks again");
}

#[test]
fn an_ignored_offer_expires_from_seen_and_an_unseen_one_at_the_hard_cap() {
    let mut town = Town::new();
    let id = town.on_duty(1, at(12.971, 77.591));
    let order = town.place(1);
    town.wait(secs(1));
    let offer = town.offer_to(1).unwrap();
    town.wait(secs(20));
    let seen = town.ask_now(|reply| Command::OfferSeen { rider: id, session: SessionId(1), offer, reply }).unwrap();
    assert_eq!(seen, Outcome::OfferSeen { expires_in_ms: 30_000 });
    town.wait(secs(29));
    assert_eq!(town.status(order), Some(OrderStatus::Offered));
    town.wait(secs(1));
    assert_eq!(town.status(order), Some(OrderStatus::Queued));
    assert!(matches!(town.notices.last(), Some((_, Notice::OfferClosed { why: "expired", .. }))));
    let late = town.respond(1, offer, Answer::Accept);
    assert!(matches!(town.answer(late), Some(Err(Refusal::OfferClosed(_)))));
}

#[test]
fn the_radius_widens_to_the_limit_and_no_further() {
    let mut town = Town::new();
    // About 5 km away, then about 22 km.
    town.on_duty(1, at(13.015, 77.59));
    town.place(1);
    town.wait(secs(15));
    assert_eq!(town.offer_to(1), None);
    assert_eq!(wait_reason(&town, order(1)), Some(WaitReason::NoRiderInReach));
    town.wait(secs(30));
    assert!(town.offer_to(1).is_some());

    let mut town = Town::new();
    town.on_duty(1, at(13.17, 77.59));
    town.place(1);
    for _ in 0..10 {
        town.wait(secs(30));
        town.ping(1, at(13.17, 77.59));
    }
    assert_eq!(town.offer_to(1), None);
}

#[test]
fn an_order_waits_until_a_rider_has_to_leave() {
    let mut town = Town::new();
    town.on_duty(1, at(12.971, 77.591));
    let mut late = spec(order(1), town.now);
    late.ready_at = town.now + secs(1_200);
    town.place_spec(late);
    town.wait(secs(5));
    assert_eq!(wait_reason(&town, order(1)), Some(WaitReason::NotDue));
    for _ in 0..40 {
        town.wait(secs(25));
        town.ping(1, at(12.971, 77.591));
    }
    assert_eq!(town.offer_to(1), None, "1,000 s gone, the way takes half a minute");
    for _ in 0..8 {
        town.wait(secs(25));
        town.ping(1, at(12.971, 77.591));
    }
    assert!(town.offer_to(1).is_some());
}

#[test]
fn a_scheduled_order_enters_the_queue_at_its_time() {
    let mut town = Town::new();
    let mut later = spec(order(1), town.now);
    later.dispatch_at = Some(town.now + secs(60));
    town.place_spec(later);
    town.wait(secs(59));
    assert_eq!(town.status(order(1)), Some(OrderStatus::Placed));
    town.wait(secs(2));
    assert_eq!(town.status(order(1)), Some(OrderStatus::Queued));
}

#[test]
fn cancelling_withdraws_frees_or_turns_back() {
    let cancel = |town: &mut Town, id| town.ask(|reply| cancel(id, "changed mind", reply));
    // While queued.
    let mut town = Town::new();
    let id = town.place(1);
    cancel(&mut town, id);
    assert_eq!(town.stored_status(id), Some(OrderStatus::Cancelled));
    let again = cancel(&mut town, id);
    let receipt = Outcome::Order { order: id, status: OrderStatus::Cancelled, version: 2 };
    assert_eq!(town.answer(again), Some(&Ok(receipt)));
    // While offered.
    town.on_duty(1, at(12.971, 77.591));
    let id = town.place(2);
    town.wait(secs(1));
    let offer = town.offer_to(1).unwrap();
    cancel(&mut town, id);
    assert!(matches!(town.notices.last(), Some((_, Notice::OfferClosed { why: "order_cancelled", .. }))));
    let late = town.respond(1, offer, Answer::Accept);
    assert!(matches!(town.answer(late), Some(Err(Refusal::OfferClosed(_)))));
    // While assigned.
    let mut town = Town::new();
    let id = town.assigned(1, 3);
    cancel(&mut town, id);
    assert!(matches!(town.notices.last(), Some((_, Notice::OrderChanged { job: None, why: "cancelled", .. }))));
    assert_eq!(town.city.counts(town.now).riders_idle, 1);
    // While carried: the goods go back, and the way back is paid.
    let mut town = Town::new();
    let id = town.assigned(1, 4);
    town.step(1, id, Step::PickedUp);
    cancel(&mut town, id);
    assert_eq!(town.status(id), Some(OrderStatus::Returning));
    town.step(1, id, Step::Returned);
    assert_eq!(town.stored_status(id), Some(OrderStatus::Returned));
}

#[test]
fn a_cancel_that_crosses_an_acceptance_waits_for_it() {
    let mut town = Town::new();
    town.on_duty(1, at(12.971, 77.591));
    let id = town.place(1);
    town.wait(secs(1));
    let offer = town.offer_to(1).unwrap();
    town.auto_commit = false;
    let accepted = town.respond(1, offer, Answer::Accept);
    let cancelled = town.ask(|reply| cancel(id, "late", reply));
    assert_eq!(town.answer(cancelled), None);
    town.commit();
    assert!(matches!(town.answer(accepted), Some(Ok(Outcome::Accepted(_)))));
    assert!(matches!(town.answer(cancelled), Some(Ok(Outcome::Order { status: OrderStatus::Cancelled, .. }))));
}

#[test]
fn steps_out_of_order_or_of_others_are_refused() {
    let mut town = Town::new();
    let id = town.assigned(1, 1);
    town.on_duty(2, at(12.98, 77.6));
    let delivered = town.step(1, id, Step::Delivered);
    assert!(matches!(town.answer(delivered), Some(Err(Refusal::IllegalStep(_)))));
    let other = town.step(2, id, Step::PickedUp);
    assert_eq!(town.answer(other), Some(&Err(Refusal::NotYourOrder)));
    let unknown = town.step(2, order(99), Step::PickedUp);
    assert_eq!(town.answer(unknown), Some(&Err(Refusal::UnknownOrder)));
}

#[test]
fn a_failed_attempt_is_retried_or_returned() {
    let mut town = Town::new();
    let id = town.assigned(1, 1);
    for step in [Step::PickedUp, Step::AtDropoff, Step::AttemptFailed, Step::AtDropoff, Step::AttemptFailed] {
        town.step(1, id, step);
        assert_eq!(town.status(id).map(|s| s.as_str()), Some(step.as_str()));
    }
    town.step(1, id, Step::Returning);
    town.step(1, id, Step::Returned);
    assert_eq!(town.stored_status(id), Some(OrderStatus::Returned));
}

#[test]
fn after_a_breakdown_another_rider_takes_the_goods_over_where_they_are() {
    let mut town = Town::new();
    let id = town.assigned(1, 1);
    town.step(1, id, Step::PickedUp);
    town.step(1, id, Step::Handover);
    assert_eq!(town.status(id), Some(OrderStatus::Queued));
    let holder = town.city.snapshot(town.now).riders[0].duty;
    assert_eq!(holder, Duty::Off, "who broke down is offered nothing");
    town.on_duty(2, at(12.981, 77.601));
    town.wait(secs(1));
    let offer = town.offer_to(2).expect("another rider is asked");
    let accepted = town.respond(2, offer, Answer::Accept);
    let Some(Ok(Outcome::Accepted(job))) = town.answer(accepted) else { panic!("not accepted") };
    assert_eq!(job.stops[0].place.position, at(12.98, 77.6), "the pickup is the spot of the breakdown");
    town.step(2, id, Step::PickedUp);
    town.step(2, id, Step::Delivered);
    assert_eq!(town.stored_status(id), Some(OrderStatus::Delivered));
}

#[test]
fn what_lies_outside_or_comes_to_a_paused_or_full_city_is_refused() {
    let mut town = Town::new();
    let mut far = spec(order(1), town.now);
    far.drop.position = at(19.0, 72.8);
    let answer = town.place_spec(far);
    assert_eq!(town.answer(answer), Some(&Err(Refusal::OutsideCity("drop"))));
    let mut small = settings();
    small.policy.max_waiting_orders = 1;
    town.apply(Command::SetCity(Box::new(small)));
    town.place(2);
    let full = town.place_spec(spec(order(3), town.now));
    assert_eq!(town.answer(full), Some(&Err(Refusal::CityFull("orders"))));
}

#[test]
fn an_order_that_finds_nobody_expires_with_its_reason() {
    let mut town = Town::new();
    let id = town.place(1);
    town.wait(secs(3_605));
    assert_eq!(town.stored_status(id), Some(OrderStatus::Expired));
    assert_eq!(town.city.counts(town.now).ended_otherwise, 1);
}

#[test]
fn a_restart_finds_queue_offer_and_work_in_hand() {
    let mut town = Town::new();
    let carried = town.assigned(1, 1);
    town.step(1, carried, Step::PickedUp);
    town.on_duty(2, at(12.972, 77.592));
    let offered = town.place(2);
    town.wait(secs(1));
    let waiting = town.place(3);
    let offer = town.offer_to(2).unwrap();

    let mut image = CityImage::default();
    for id in [carried, offered, waiting] {
        let placed = town.stored.iter().find_map(|w| match w {
            Write::Place(w) if w.spec.id == id => Some((w.spec.clone(), w.state.clone())),
            _ => None,
        });
        let last = town.stored.iter().rev().find_map(|w| match w {
            Write::Order(w) if w.order == id => Some(w.state.clone()),
            _ => None,
        });
        let (spec, state) = placed.unwrap();
        image.orders.push((spec, last.unwrap_or(state)));
    }
    let record = town.stored.iter().rev().find_map(|w| match w {
        Write::Order(w) if w.order == offered => w.offers.first().cloned(),
        _ => None,
    });
    image.offers.push(record.unwrap());
    image.riders = [1, 2].map(|n| stored_rider(n, Duty::On)).into();

    let (city, effects) = City::restore(settings(), 2, town.now, image);
    assert!(effects.is_empty());
    invariants::check(&city, town.now).unwrap();
    let before = town.city.counts(town.now);
    let mut town = Town { city, ..Town::new() };
    town.now = START + secs(10);
    let after = town.city.counts(town.now);
    assert_eq!((before.orders_waiting, before.orders_active), (after.orders_waiting, after.orders_active));
    town.wait(secs(3));
    assert_eq!(town.offer_to(1).or(town.offer_to(2)), None, "nobody is asked before reconnecting and pinging");
    let Ok(Outcome::Connected(sync)) =
        town.ask_now(|reply| Command::Connect { rider: profile(rider(2)), session: SessionId(2), reply })
    else {
        panic!("not connected")
    };
    assert_eq!(sync.open_offer.map(|view| view.offer), Some(offer));
    town.respond(2, offer, Answer::Accept);
    assert_eq!(town.status(offered), Some(OrderStatus::Assigned));
}

#[test]
fn a_proven_delivery_wins_over_a_cancellation_that_crossed_it() {
    let mut town = Town::new();
    let id = town.assigned(1, 1);
    town.step(1, id, Step::PickedUp);
    town.ask(|reply| cancel(id, "late", reply));
    assert_eq!(town.status(id), Some(OrderStatus::Returning));
    let bare = town.step(1, id, Step::Delivered);
    assert_eq!(town.answer(bare), Some(&Err(Refusal::Disputed)), "his word alone is for operators to judge");
    let (step, at, proof) = (Step::Delivered, town.now, Some(serde_json::json!({"photo": "k"})));
    let report = StepReport { order: id, step, at, position: None, reason: None, proof, otp: None };
    let proven =
        town.ask(|reply| Command::Progress { rider: rider(1), session: SessionId(1), report: Box::new(report), reply });
    assert!(matches!(town.answer(proven), Some(Ok(Outcome::Stepped { status: OrderStatus::Delivered, .. }))));
}

#[test]
fn goods_that_become_ready_later_while_a_rider_is_asked_are_not_due_any_more() {
    let mut town = Town::new();
    let id = town.place(1);
    town.wait(secs(1));
    assert_eq!(wait_reason(&town, id), Some(WaitReason::NoRiderInReach));
    town.on_duty(1, at(12.971, 77.591));
    town.wait(secs(1));
    let offer = town.offer_to(1).unwrap();
    let ready_at = town.now + secs(3_000);
    town.ask_now(|reply| change_ready(id, ready_at, reply)).unwrap();
    town.respond(1, offer, Answer::Decline { reason: "too long".into() });
    town.wait(secs(1));
    let view = town.city.snapshot(town.now).orders.remove(0);
    assert_eq!((view.waiting_for, view.due_at), (Some(WaitReason::NotDue), None));
}
