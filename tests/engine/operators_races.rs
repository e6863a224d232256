//! Operators against riders, merchants, the journal and themselves: whoever the journal has first wins, and the other one
//! is judged by what then stands.

use dispatch_engine::{
    domain::{
        duty::Duty,
        ids::SessionId,
        order::{OrderStatus, Step},
        time::Timestamp,
    },
    engine::{
        command::{Answer, Command, Conditions, IdempotencyRecord, OperatorAction, Outcome, Refusal, RejectReason},
        effect::{Notice, Write},
        invariants,
    },
};
use serde_json::{Value, json};

use super::{
    harness::*,
    operators::{COUNTER, assign, hold, last_write, operate, operate_as, operator, reassign, receipt, refused, view},
};

#[test]
fn an_action_on_an_old_picture_is_refused_with_the_new_one() {
    let mut town = Town::new();
    let order = town.assigned(1, 1);
    for action in [OperatorAction::Unassign, OperatorAction::Cancel, OperatorAction::Release, assign(1)] {
        let answer = operate_as(&mut town, "olga", order, action, Some(2));
        let moved = Refusal::Moved { status: OrderStatus::Assigned, version: 3 };
        assert_eq!(town.answer(answer), Some(&Err(moved)), "{action:?}");
    }
    let given = Conditions { expected_version: Some(1), idempotency: None };
    let by = operator("olga");
    let cancel = |reply| Command::Cancel { order, actor: by, reason: "late".into(), reply, given };
    let answer = town.ask(cancel);
    assert_eq!(refused(&town, answer), "version_conflict");
    let answer = operate_as(&mut town, "olga", order, OperatorAction::Unassign, Some(3));
    assert_eq!(receipt(&town, answer).0, OrderStatus::Queued);
}

#[test]
fn an_assignment_that_crosses_an_acceptance_comes_too_late() {
    let mut town = Town::new();
    town.on_duty(1, COUNTER());
    town.on_duty(2, at(13.0, 77.6));
    let order = town.place(1);
    town.wait(secs(1));
    let offer = town.offer_to(1).unwrap();
    town.auto_commit = false;
    let accepted = town.respond(1, offer, Answer::Accept);
    let assigned = operate(&mut town, order, assign(2));
    assert_eq!(town.answer(assigned), None);
    town.commit();
    assert!(matches!(town.answer(accepted), Some(Ok(Outcome::Accepted(_)))));
    assert_eq!(refused(&town, assigned), "wrong_status");
    assert_eq!(view(&town, order).rider, Some(rider(1)));
}

#[test]
fn an_acceptance_that_crosses_an_assignment_comes_too_late() {
    let mut town = Town::new();
    town.on_duty(1, COUNTER());
    town.on_duty(2, at(13.0, 77.6));
    let order = town.place(1);
    town.wait(secs(1));
    let offer = town.offer_to(1).unwrap();
    town.auto_commit = false;
    let assigned = operate(&mut town, order, assign(2));
    let accepted = town.respond(1, offer, Answer::Accept);
    town.commit();
    assert_eq!(receipt(&town, assigned).0, OrderStatus::Assigned);
    assert_eq!(refused(&town, accepted), "offer_closed");
    assert_eq!(view(&town, order).rider, Some(rider(2)));
}

#[test]
fn a_reassignment_that_crosses_the_pickup_is_refused_and_the_other_way_round() {
    for pickup_first in [true, false] {
        let mut town = Town::new();
        let order = town.assigned(1, 1);
        town.on_duty(2, COUNTER());
        town.auto_commit = false;
        let (picked, given) = if pickup_first {
            let picked = town.step(1, order, Step::PickedUp);
            (picked, operate(&mut town, order, reassign(2)))
        } else {
            let given = operate(&mut town, order, reassign(2));
            (town.step(1, order, Step::PickedUp), given)
        };
        town.commit();
        if pickup_first {
            assert!(matches!(town.answer(picked), Some(Ok(Outcome::Stepped { .. }))));
            assert_eq!(refused(&town, given), "picked_up");
        } else {
            assert_eq!(receipt(&town, given).0, OrderStatus::Assigned);
            // Who says that the goods are in hand is not brushed aside: people decide.
            assert_eq!(refused(&town, picked), "disputed");
        }
    }
}

#[test]
fn a_hold_waits_for_the_offer_that_is_on_its_way_and_takes_it_back() {
    let mut town = Town::new();
    town.on_duty(1, COUNTER());
    let order = town.place(1);
    town.auto_commit = false;
    town.wait(secs(1));
    let action = hold(&town, 60);
    let held = operate(&mut town, order, action);
    town.commit();
    assert_eq!(receipt(&town, held).0, OrderStatus::Queued);
    let offer = town.offer_to(1).expect("shown, and taken back");
    assert!(matches!(town.notices.last(), Some((_, Notice::OfferClosed { offer: of, .. })) if *of == offer));
    // A hold that the journal refuses never was.
    let other = town.place(2);
    town.commit();
    let action = hold(&town, 60);
    let held = operate(&mut town, other, action);
    town.reject(RejectReason::Busy);
    assert_eq!(refused(&town, held), "storage_busy");
    assert_eq!(view(&town, other).hold, None);
}

#[test]
fn a_cancel_that_crosses_an_acceptance_sees_its_result() {
    let mut town = Town::new();
    town.on_duty(1, COUNTER());
    let order = town.place(1);
    town.wait(secs(1));
    let offer = town.offer_to(1).unwrap();
    town.auto_commit = false;
    let accepted = town.respond(1, offer, Answer::Accept);
    // One operator saw the offer, the other one does not care.
    let careful = operate_as(&mut town, "olga", order, OperatorAction::Cancel, Some(2));
    let sure = operate_as(&mut town, "pavel", order, OperatorAction::Cancel, None);
    town.commit();
    assert!(matches!(town.answer(accepted), Some(Ok(Outcome::Accepted(_)))));
    assert_eq!(town.answer(careful), Some(&Err(Refusal::Moved { status: OrderStatus::Assigned, version: 3 })));
    assert_eq!(receipt(&town, sure).0, OrderStatus::Cancelled);
    assert!(matches!(town.notices.last(), Some((_, Notice::OrderChanged { job: None, why: "cancelled", .. }))));
}

#[test]
fn a_rider_to_whom_an_order_is_being_given_is_offered_no_other() {
    let mut town = Town::new();
    town.on_duty(1, COUNTER());
    let first = town.place(1);
    let action = hold(&town, 600);
    operate(&mut town, first, action);
    town.auto_commit = false;
    let given = operate(&mut town, first, assign(1));
    let second = town.place(2);
    // Everything but the assignment is answered.
    let held_back = town.writes.remove(0);
    town.commit();
    town.wait(secs(3));
    town.commit();
    assert_eq!(town.offer_to(1), None);
    // Nor given to twice, nor let go.
    let twice = operate(&mut town, second, assign(1));
    assert_eq!(refused(&town, twice), "rider_busy");
    let off = town.ask(|reply| Command::SetDuty { rider: rider(1), session: SessionId(1), duty: Duty::Off, reply });
    town.writes.insert(0, held_back);
    town.commit();
    assert_eq!(town.answer(off), Some(&Ok(Outcome::Duty { duty: Duty::On, next: Some(Duty::Off) })));
    assert_eq!(receipt(&town, given).0, OrderStatus::Assigned);
    assert_eq!(town.city.counts(town.now).riders_busy, 1);
}

#[test]
fn an_assignment_that_is_refused_leaves_the_rider_free() {
    let mut town = Town::new();
    town.on_duty(1, COUNTER());
    let order = town.place(1);
    town.auto_commit = false;
    let given = operate(&mut town, order, assign(1));
    town.ask(|reply| Command::SetDuty { rider: rider(1), session: SessionId(1), duty: Duty::Break, reply });
    town.reject(RejectReason::Invalid("a simulated refusal".into()));
    assert_eq!(refused(&town, given), "storage_refused");
    town.commit();
    assert_eq!(town.city.snapshot(town.now).riders[0].duty, Duty::Break, "what was asked meanwhile takes effect");
    assert_eq!(town.status(order), Some(OrderStatus::Queued));
}

#[test]
fn an_offer_of_another_order_is_taken_out_of_the_riders_hands_first() {
    for stored in [true, false] {
        let mut town = Town::new();
        town.on_duty(1, COUNTER());
        let offered = town.place(1);
        if stored {
            town.wait(secs(1));
        }
        town.auto_commit = false;
        if !stored {
            town.wait(secs(1));
        }
        let mut urgent = spec(order(2), town.now);
        urgent.ready_at = town.now + secs(3_000);
        town.place_spec(urgent);
        town.writes.rotate_right(1);
        let placed = town.writes.remove(0);
        town.apply(Command::Committed { transition: placed.transition() });
        let given = operate(&mut town, order(2), assign(1));
        assert_eq!(town.answer(given), None);
        town.commit();
        assert_eq!(receipt(&town, given).0, OrderStatus::Assigned);
        let offer = town.offer_to(1).unwrap();
        let closed = |(_, notice): &(_, Notice)| matches!(notice, Notice::OfferClosed { offer: of, why: "assigned_elsewhere", .. } if *of == offer);
        assert!(town.notices.iter().any(closed));
        assert_eq!(view(&town, offered).waiting_for.map(|reason| reason.as_str()), Some("not_due"));
    }
}

#[test]
fn an_offer_that_the_journal_does_not_take_back_stays_and_the_operator_is_told() {
    let mut town = Town::new();
    town.on_duty(1, COUNTER());
    town.place(1);
    town.wait(secs(1));
    let second = town.place(2);
    town.auto_commit = false;
    let given = operate(&mut town, second, assign(1));
    town.reject(RejectReason::Busy);
    assert_eq!(refused(&town, given), "storage_busy");
    // It may be asked again.
    let again = operate(&mut town, second, assign(1));
    town.commit();
    assert_eq!(receipt(&town, again).0, OrderStatus::Assigned);
}

#[test]
fn a_rider_who_is_just_accepting_is_busy() {
    let mut town = Town::new();
    town.on_duty(1, COUNTER());
    town.place(1);
    town.wait(secs(1));
    let second = town.place(2);
    let offer = town.offer_to(1).unwrap();
    town.auto_commit = false;
    town.respond(1, offer, Answer::Accept);
    let given = operate(&mut town, second, assign(1));
    assert_eq!(refused(&town, given), "rider_busy");
}

#[test]
fn a_hold_that_ends_while_it_is_released_ends_once() {
    let mut town = Town::new();
    let order = town.place(1);
    let action = hold(&town, 5);
    operate(&mut town, order, action);
    town.auto_commit = false;
    let released = operate(&mut town, order, OperatorAction::Release);
    for _ in 0..10 {
        town.now = town.now + secs(1);
        town.apply(Command::Tick);
    }
    assert_eq!(town.writes.len(), 1, "one write at a time");
    // The journal refuses; the end of the hold comes by itself.
    town.reject(RejectReason::Busy);
    assert_eq!(refused(&town, released), "storage_busy");
    town.auto_commit = true;
    town.wait(secs(2));
    assert_eq!((view(&town, order).hold, last_write(&town, order).events[0].kind), (None, "hold_expired"));
}

fn key(now: Timestamp) -> IdempotencyRecord {
    IdempotencyRecord {
        caller: "operator:olga".into(),
        key: "k-1".into(),
        digest: vec![1],
        answer: Value::Null,
        expires_at: now + secs(86_400),
    }
}

#[test]
fn a_key_travels_with_the_change_and_a_replay_gets_the_first_answer() {
    let mut town = Town::new();
    let order = town.place(1);
    let ask = |town: &mut Town, action| {
        let (by, idempotency) = (operator("olga"), Some(Box::new(key(town.now))));
        let given = Conditions { expected_version: None, idempotency };
        town.ask(|reply| Command::Operate { order, action, by, reason: "why not".into(), given, reply })
    };
    town.auto_commit = false;
    let action = hold(&town, 60);
    let first = ask(&mut town, action);
    let written = match &town.writes[0] {
        Write::Order(write) => write.idempotency.clone(),
        other => panic!("{other:?}"),
    };
    let answer = json!({ "id": order.to_string(), "status": "queued", "version": 2 });
    assert_eq!(written.map(|record| record.answer), Some(answer.clone()));
    town.commit();
    assert_eq!(receipt(&town, first).1, 2);
    // The same key on a change that the journal knows: nothing changes here.
    let action = hold(&town, 90);
    let again = ask(&mut town, action);
    town.reject(RejectReason::Replay(answer.clone()));
    assert_eq!(town.answer(again), Some(&Ok(Outcome::Replayed(answer.clone()))));
    assert_eq!(view(&town, order).version, 2);
    // Merchants' changes have keys too.
    let given = Conditions { expected_version: None, idempotency: Some(Box::new(key(town.now))) };
    let (ready_at, actor) = (town.now + secs(900), operator("olga"));
    let ready = town.ask(|reply| Command::ChangeReady { order, ready_at, actor, reply, given });
    town.reject(RejectReason::Replay(answer.clone()));
    assert_eq!(town.answer(ready), Some(&Ok(Outcome::Replayed(answer))));
    invariants::check(&town.city, town.now).unwrap();
}
