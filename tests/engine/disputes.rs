//! What riders report against what is stored, one-time codes at the door, and what operators make of it.

use dispatch_engine::{
    domain::{
        dispute::{DisputeKind, DisputeStatus},
        duty::Duty,
        ids::{OrderId, SessionId},
        order::{Actor, Custody, OrderStatus, Step},
        otp::OtpDigest,
        time::Timestamp,
        wallet::EntryType,
    },
    engine::{
        City, CityImage, StoredClaim,
        command::{Answer, Command, OperatorRefusal, Outcome, Refusal, RejectReason, StepReport, Verdict},
        effect::{Alert, DisputeChange, DisputeRecord, Effect, Write},
    },
};
use serde_json::json;

use super::harness::*;

const RIGHT: OtpDigest = OtpDigest([1; 32]);
const WRONG: OtpDigest = OtpDigest([2; 32]);

fn report(order: OrderId, step: Step, at: Timestamp) -> StepReport {
    StepReport { order, step, at, position: None, reason: Some("so it was".into()), proof: None, otp: None }
}

fn tell(town: &mut Town, n: u64, report: StepReport) -> Result<Outcome, Refusal> {
    let (rider, session, report) = (rider(n.into()), SessionId(n), Box::new(report));
    town.ask_now(|reply| Command::Progress { rider, session, report, reply })
}

/// The disputes that were stored, in order.
fn disputes(town: &Town) -> Vec<DisputeRecord> {
    let opened = |write: &Write| match write {
        Write::Order(write) => match write.dispute.as_deref() {
            Some(DisputeChange::Open(record)) => Some(record.clone()),
            _ => None,
        },
        Write::Dispute(write) => Some(write.record.clone()),
        _ => None,
    };
    town.stored.iter().filter_map(opened).collect()
}

fn verdict(record: &DisputeRecord, upheld: bool) -> Verdict {
    let reason = "looked into".to_owned();
    let (dispute, rider, step, at) = (record.id, record.rider, record.step, record.at);
    Verdict { dispute, rider, step, at, upheld, reason, payout_minor: Some(4_500) }
}

fn decide(town: &mut Town, record: &DisputeRecord, upheld: bool) -> Result<Outcome, Refusal> {
    let (order, verdict) = (record.order, Box::new(verdict(record, upheld)));
    let actor = Actor::ENGINE;
    town.ask_now(|reply| Command::CloseDispute { order, verdict, actor, reply })
}

fn with_code(town: &mut Town, n: u128) -> OrderId {
    town.on_duty(n, at(12.971, 77.591));
    let id = order(n);
    town.place_spec(dispatch_engine::domain::order::OrderSpec { otp_digest: Some(RIGHT), ..spec(id, town.now) });
    town.wait(secs(1));
    let offer = town.offer_to(n).unwrap();
    town.respond(n, offer, Answer::Accept);
    town.step(n, id, Step::PickedUp);
    id
}

fn deliver(town: &Town, order: OrderId, otp: Option<OtpDigest>) -> StepReport {
    StepReport { otp, ..report(order, Step::Delivered, town.now) }
}

/// An order that was taken from its silent first rider; a second one has it now.
fn taken_back(town: &mut Town) -> OrderId {
    let id = town.assigned(1, 1);
    town.wait(secs(599));
    town.on_duty(2, at(12.972, 77.592));
    town.wait(secs(5));
    let offer = town.offer_to(2).unwrap();
    town.respond(2, offer, Answer::Accept);
    id
}

#[test]
fn several_steps_taken_offline_are_accepted_with_their_own_times() {
    let mut town = Town::new();
    let id = town.assigned(1, 1);
    let (picked, delivered) = (town.now + secs(60), town.now + secs(200));
    town.now = town.now + secs(300);
    town.auto_commit = false;
    let asked: Vec<u64> = [(Step::PickedUp, picked), (Step::Delivered, delivered)]
        .into_iter()
        .map(|(step, at)| {
            let report = Box::new(report(id, step, at));
            town.ask(|reply| Command::Progress { rider: rider(1), session: SessionId(1), report, reply })
        })
        .collect();
    town.commit();
    assert!(asked.iter().all(|asked| town.answer(*asked).unwrap().is_ok()));
    let Some(Write::Order(last)) = town.stored.last() else { panic!("not stored") };
    assert_eq!((last.state.picked_up_at, last.state.delivered_at), (Some(picked), Some(delivered)));
}

#[test]
fn a_rider_who_comes_back_with_the_goods_is_heard_once() {
    let mut town = Town::new();
    let id = taken_back(&mut town);
    assert_eq!(tell(&mut town, 1, report(id, Step::AtPickup, START)), Err(Refusal::NotYourOrder));
    assert_eq!(tell(&mut town, 1, report(id, Step::PickedUp, START)), Err(Refusal::Disputed));
    let stored = town.stored.len();
    assert_eq!(tell(&mut town, 1, report(id, Step::PickedUp, START)), Err(Refusal::Disputed));
    assert_eq!(town.stored.len(), stored, "said again, it opens no second one");
    assert_eq!(tell(&mut town, 1, report(id, Step::Delivered, START)), Err(Refusal::Disputed));
    let all = disputes(&town);
    assert_eq!((all.len(), all[0].id, all[0].kind), (2, all[1].id, DisputeKind::GoodsClaimed));
    assert_eq!(town.effects.iter().filter(|e| matches!(e, Effect::Alert(Alert::Disputed { .. }))).count(), 2);
    // Upheld: the order is delivered, whoever has it now is free, and the rider is paid what he was promised.
    decide(&mut town, &all[1], true).unwrap();
    assert_eq!(town.stored_status(id), Some(OrderStatus::Delivered));
    let Some(Write::Order(last)) = town.stored.last() else { panic!("not stored") };
    let earned = last.postings.iter().find(|p| p.entry_type == EntryType::Earning).unwrap();
    assert_eq!((last.state.rider, earned.amount_minor), (Some(rider(1)), 4_500));
    let Some(DisputeChange::Close { status, .. }) = last.dispute.as_deref() else { panic!("not closed") };
    assert_eq!(*status, DisputeStatus::Upheld);
    assert!(town.city.snapshot(town.now).riders.iter().all(|view| view.orders.is_empty()));
}

#[test]
fn a_report_does_not_take_goods_out_of_another_riders_hands() {
    let mut town = Town::new();
    let id = taken_back(&mut town);
    assert_eq!(tell(&mut town, 1, report(id, Step::Delivered, START)), Err(Refusal::Disputed));
    town.step(2, id, Step::PickedUp);
    let record = disputes(&town).remove(0);
    decide(&mut town, &record, true).unwrap();
    assert_eq!(town.status(id), Some(OrderStatus::PickedUp));
    let Some(Write::Order(last)) = town.stored.last() else { panic!("not stored") };
    assert!(last.postings.is_empty() && last.state.rider == Some(rider(2)));
    town.step(2, id, Step::Delivered);
    assert_eq!(town.stored_status(id), Some(OrderStatus::Delivered));
}

#[test]
fn a_rider_who_has_the_goods_goes_on_with_them() {
    let mut town = Town::new();
    let id = taken_back(&mut town);
    assert_eq!(tell(&mut town, 1, report(id, Step::PickedUp, START)), Err(Refusal::Disputed));
    let record = disputes(&town).remove(0);
    decide(&mut town, &record, true).unwrap();
    assert_eq!(town.status(id), Some(OrderStatus::PickedUp));
    let Some(Write::Order(last)) = town.stored.last() else { panic!("not stored") };
    assert_eq!(last.state.custody, Custody::Rider(rider(1)));
    assert!(town.step(1, id, Step::Delivered) > 0 && town.stored_status(id) == Some(OrderStatus::Delivered));
}

#[test]
fn dismissed_changes_nothing_but_the_record() {
    let mut town = Town::new();
    let id = taken_back(&mut town);
    assert_eq!(tell(&mut town, 1, report(id, Step::PickedUp, START)), Err(Refusal::Disputed));
    let record = disputes(&town).remove(0);
    decide(&mut town, &record, false).unwrap();
    assert_eq!(town.status(id), Some(OrderStatus::Assigned));
    let Some(Write::Order(last)) = town.stored.last() else { panic!("not stored") };
    assert_eq!((last.state.rider, last.events[0].kind), (Some(rider(2)), "dispute_closed"));
}

#[test]
fn of_two_verdicts_at_once_the_first_one_counts() {
    let mut town = Town::new();
    let id = taken_back(&mut town);
    assert_eq!(tell(&mut town, 1, report(id, Step::Delivered, START)), Err(Refusal::Disputed));
    let record = disputes(&town).remove(0);
    town.auto_commit = false;
    let asked = [false, true].map(|upheld| {
        let (order, verdict, actor) = (id, Box::new(verdict(&record, upheld)), Actor::ENGINE);
        town.ask(|reply| Command::CloseDispute { order, verdict, actor, reply })
    });
    town.commit();
    assert!(town.answer(asked[0]).unwrap().is_ok());
    assert_eq!(town.answer(asked[1]), Some(&Err(Refusal::DisputeClosed)));
    assert_eq!(town.status(id), Some(OrderStatus::Assigned));
    let Some(Write::Order(last)) = town.stored.last() else { panic!("not stored") };
    assert!(last.postings.is_empty() && last.state.rider == Some(rider(2)));
    // What is reported after a verdict is another dispute, with a verdict of its own.
    town.auto_commit = true;
    assert_eq!(tell(&mut town, 1, report(id, Step::Delivered, START)), Err(Refusal::Disputed));
    let second = disputes(&town).remove(1);
    assert_ne!(second.id, record.id);
    assert_eq!(decide(&mut town, &record, true), Err(Refusal::DisputeClosed));
    decide(&mut town, &second, true).unwrap();
    assert_eq!(town.stored_status(id), Some(OrderStatus::Delivered));
}

#[test]
fn goods_are_not_given_to_a_rider_who_has_no_hand_free() {
    let mut town = Town::new();
    let id = taken_back(&mut town);
    assert_eq!(tell(&mut town, 1, report(id, Step::PickedUp, START)), Err(Refusal::Disputed));
    let record = disputes(&town).remove(0);
    town.on_duty(1, at(12.971, 77.591));
    town.place(2);
    town.wait(secs(1));
    let stored = town.stored.len();
    let refused = decide(&mut town, &record, true);
    assert!(matches!(refused, Err(Refusal::Operator(OperatorRefusal::RiderBusy(_)))), "{refused:?}");
    assert_eq!(town.stored.len(), stored, "the dispute stays open");
    let offer = town.offer_to(1).unwrap();
    town.respond(1, offer, Answer::Decline { reason: "my hands are full".into() });
    decide(&mut town, &record, true).unwrap();
    let Some(Write::Order(last)) = town.stored.last() else { panic!("not stored") };
    assert_eq!((last.order, last.state.custody), (id, Custody::Rider(rider(1))));
}

#[test]
fn goods_are_not_given_to_a_rider_who_is_not_here() {
    let mut town = Town::new();
    let id = taken_back(&mut town);
    assert_eq!(tell(&mut town, 1, report(id, Step::PickedUp, START)), Err(Refusal::Disputed));
    let record = disputes(&town).remove(0);
    town.ask(|reply| Command::SetDuty { rider: rider(1), session: SessionId(1), duty: Duty::Off, reply });
    town.apply(Command::Disconnect { rider: rider(1), session: SessionId(1) });
    let refused = decide(&mut town, &record, true);
    assert!(matches!(refused, Err(Refusal::Operator(OperatorRefusal::RiderUnavailable(_)))), "{refused:?}");
    // Nothing needs him for a report that does not hold.
    decide(&mut town, &record, false).unwrap();
    assert_eq!(town.status(id), Some(OrderStatus::Assigned));
}

#[test]
fn a_rider_is_kept_free_for_the_goods_of_a_verdict_until_it_is_stored() {
    for stored in [true, false] {
        let mut town = Town::new();
        let id = taken_back(&mut town);
        assert_eq!(tell(&mut town, 1, report(id, Step::PickedUp, START)), Err(Refusal::Disputed));
        let record = disputes(&town).remove(0);
        town.on_duty(1, at(12.971, 77.591));
        let before = town.offer_to(1);
        town.auto_commit = false;
        let (verdict, actor) = (Box::new(verdict(&record, true)), Actor::ENGINE);
        let asked = town.ask(|reply| Command::CloseDispute { order: id, verdict, actor, reply });
        let verdict = town.writes.remove(0);
        town.auto_commit = true;
        town.place(2);
        town.wait(secs(5));
        assert_eq!(town.offer_to(1), before, "he is asked for nothing else");
        town.writes.insert(0, verdict);
        if stored {
            town.commit();
            assert!(town.answer(asked).unwrap().is_ok() && town.status(id) == Some(OrderStatus::PickedUp));
        } else {
            town.reject(RejectReason::Busy);
            assert_eq!(town.answer(asked), Some(&Err(Refusal::StorageBusy)));
            town.wait(secs(5));
            assert_ne!(town.offer_to(1), before, "he is free again");
            assert_eq!(town.status(id), Some(OrderStatus::Assigned));
        }
    }
}

#[test]
fn a_report_after_a_verdict_on_an_ended_order_is_another_dispute() {
    let mut town = Town::new();
    let id = town.assigned(1, 1);
    town.ask(|reply| cancel(id, "late", reply));
    assert_eq!(tell(&mut town, 1, report(id, Step::PickedUp, START)), Err(Refusal::Disputed));
    let first = disputes(&town).remove(0);
    let closed = |dispute| Command::DisputeClosed { order: id, rider: rider(1), dispute };
    town.apply(closed(first.id));
    assert_eq!(tell(&mut town, 1, report(id, Step::PickedUp, START)), Err(Refusal::Disputed));
    // What comes late about the first one does not close the second.
    town.apply(closed(first.id));
    assert_eq!(tell(&mut town, 1, report(id, Step::Delivered, START)), Err(Refusal::Disputed));
    let all: Vec<_> = disputes(&town).into_iter().map(|record| record.id).collect();
    assert!(all.len() == 3 && all[1] != first.id && all[1] == all[2], "{all:?}");
}

#[test]
fn goods_of_an_order_that_was_called_off_meanwhile_are_disputed() {
    let mut town = Town::new();
    let id = town.assigned(1, 1);
    town.ask(|reply| Command::Cancel {
        order: id,
        actor: Actor::ENGINE,
        reason: "late".into(),
        reply,
        given: Default::default(),
    });
    // Long after the order's end is forgotten otherwise.
    town.wait(secs(20 * 60));
    town.ping(1, at(12.97, 77.59));
    assert_eq!(tell(&mut town, 1, report(id, Step::AtPickup, START)), Err(Refusal::UnknownOrder));
    assert_eq!(tell(&mut town, 1, report(id, Step::Delivered, START)), Err(Refusal::Disputed));
    let Some(Write::Dispute(write)) = town.stored.last() else { panic!("not stored") };
    assert_eq!((write.record.kind, write.event.kind), (DisputeKind::AfterEnd, "disputed"));
    let stored = town.stored.len();
    assert_eq!(tell(&mut town, 1, report(id, Step::Delivered, START)), Err(Refusal::Disputed));
    assert_eq!(town.stored.len(), stored);
    town.wait(settings().policy.max_report_age());
    assert_eq!(tell(&mut town, 1, report(id, Step::Delivered, START)), Err(Refusal::UnknownOrder));
}

#[test]
fn who_lost_an_order_is_known_after_a_restart() {
    let claim = StoredClaim { order: order(9), end: Some((OrderStatus::Expired, START)), riders: vec![rider(1)] };
    let image = CityImage { riders: vec![stored_rider(1, Duty::On)], claims: vec![claim], ..CityImage::default() };
    let mut town = Town { city: City::restore(settings(), 2, START, image).0, ..Town::new() };
    for n in [1, 2] {
        let session = SessionId(n);
        let rider = profile(rider(n.into()));
        town.ask_now(|reply| Command::Connect { rider, session, reply }).unwrap();
    }
    assert_eq!(tell(&mut town, 2, report(order(9), Step::PickedUp, START)), Err(Refusal::UnknownOrder));
    assert_eq!(tell(&mut town, 1, report(order(9), Step::PickedUp, START)), Err(Refusal::Disputed));
}

#[test]
fn the_right_code_delivers_and_is_not_stored() {
    let mut town = Town::new();
    let id = with_code(&mut town, 1);
    let bare = deliver(&town, id, None);
    assert_eq!(tell(&mut town, 1, bare), Err(Refusal::StepNeeds("the recipient's one-time code")));
    let proven = StepReport { proof: Some(json!({"photo": "k"})), ..deliver(&town, id, Some(RIGHT)) };
    let Ok(Outcome::Stepped { status, .. }) = tell(&mut town, 1, proven) else { panic!("refused") };
    assert_eq!(status, OrderStatus::Delivered);
    let Some(Write::Order(last)) = town.stored.last() else { panic!("not stored") };
    assert_eq!(last.events[0].data["proof"], json!({"photo": "k", "otp": "verified"}));
}

#[test]
fn wrong_codes_are_counted_until_operators_decide() {
    let mut town = Town::new();
    let id = with_code(&mut town, 1);
    for _ in 1..settings().policy.max_otp_tries {
        let guess = deliver(&town, id, Some(WRONG));
        assert_eq!(tell(&mut town, 1, guess), Err(Refusal::WrongOtp));
    }
    let guess = deliver(&town, id, Some(WRONG));
    assert_eq!(tell(&mut town, 1, guess), Err(Refusal::OtpLocked));
    let late = deliver(&town, id, Some(RIGHT));
    assert_eq!(tell(&mut town, 1, late), Err(Refusal::OtpLocked), "no more guesses, not even a good one");
    let all = disputes(&town);
    assert_eq!((all.len(), all[0].kind), (1, DisputeKind::OtpLocked));
    decide(&mut town, &all[0], true).unwrap();
    assert_eq!(town.stored_status(id), Some(OrderStatus::Delivered));
    let Some(Write::Order(last)) = town.stored.last() else { panic!("not stored") };
    let earned = last.postings.iter().find(|p| p.entry_type == EntryType::Earning).unwrap();
    assert_eq!(earned.amount_minor, 4_000, "what the order in hand promised, whatever the verdict has read");
}

#[test]
fn a_wrong_code_taken_offline_is_for_operators() {
    let mut town = Town::new();
    let id = with_code(&mut town, 1);
    let left = town.now;
    town.now = town.now + secs(61);
    let guess = StepReport { at: left, ..deliver(&town, id, Some(WRONG)) };
    assert_eq!(tell(&mut town, 1, guess), Err(Refusal::Disputed));
    assert_eq!(disputes(&town)[0].kind, DisputeKind::OtpOffline);
    let second = deliver(&town, id, Some(RIGHT));
    assert_eq!(tell(&mut town, 1, second), Err(Refusal::Disputed), "nobody finds a code by trying offline");
    town.step(1, id, Step::Returning);
    assert_eq!(town.status(id), Some(OrderStatus::Returning), "the goods may still go back");
}
