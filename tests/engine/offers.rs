//! Batches of offers, holds, bonuses and refusals: who is asked, when again, and for how much.

use dispatch_engine::{
    domain::{
        duty::{Duty, DutyReason},
        ids::{OrderId, SessionId},
        order::{Actor, OfferState, OrderStatus, Step},
        policy::DispatchPolicy,
    },
    engine::{
        command::{Answer, Command, Outcome, Refusal, RejectReason},
        effect::{Notice, OfferRecord, Write},
        view::{OrderView, WaitReason},
    },
};

use super::harness::*;

pub const DECLINE: fn() -> Answer = || Answer::Decline { reason: "too far".into() };

pub fn under(policy: DispatchPolicy) -> Town {
    assert_eq!(policy.validate(), Ok(()));
    Town::with(dispatch_engine::domain::city::City { policy, ..settings() })
}

pub fn set_policy(town: &mut Town, policy: DispatchPolicy) {
    assert_eq!(policy.validate(), Ok(()));
    town.apply(Command::SetCity(Box::new(dispatch_engine::domain::city::City { policy, ..settings() })));
}

pub fn batch_of(offer_batch: u32) -> DispatchPolicy {
    DispatchPolicy { offer_batch, ..DispatchPolicy::default() }
}

pub fn view(town: &Town, order: OrderId) -> OrderView {
    town.city.snapshot(town.now).orders.into_iter().find(|view| view.order == order).expect("a live order")
}

/// Riders 1 to `n`, the first one nearest to the pickup.
pub fn fleet(town: &mut Town, n: u128) {
    for n in 1..=n {
        town.on_duty(n, beside(n));
    }
}

pub fn beside(n: u128) -> dispatch_engine::domain::position::Position {
    at(12.97 + n as f64 * 0.001, 77.591)
}

/// Seconds pass, and riders 1 to `n` ping.
pub fn wait_awake(town: &mut Town, n: u128, seconds: u64) {
    for _ in 0..seconds.div_ceil(30) {
        town.wait(secs(30.min(seconds)));
        (1..=n).for_each(|n| town.ping(n, beside(n)));
    }
}

pub fn see(town: &mut Town, n: u128) {
    let (offer, session) = (town.offer_to(n).unwrap(), SessionId(u64::try_from(n).unwrap()));
    town.ask(|reply| Command::OfferSeen { rider: rider(n), session, offer, reply });
}

pub fn closed_as(town: &Town, n: u128) -> Option<&'static str> {
    town.notices.iter().rev().find_map(|(to, notice)| match notice {
        Notice::OfferClosed { why, .. } if *to == rider(n) => Some(*why),
        _ => None,
    })
}

/// Every stored record of offers, in order.
pub fn records(town: &Town) -> Vec<OfferRecord> {
    let of = |write: &Write| match write {
        Write::Order(write) => write.offers.clone(),
        _ => vec![],
    };
    town.stored.iter().flat_map(of).collect()
}

#[test]
fn the_first_of_a_batch_to_accept_wins_and_the_others_hear_at_once() {
    let mut town = under(batch_of(3));
    fleet(&mut town, 4);
    let order = town.place(1);
    town.wait(secs(1));
    let offers = [1, 2, 3].map(|n| town.offer_to(n).expect("one of the nearest three"));
    assert_eq!(town.offer_to(4), None);
    assert_eq!(view(&town, order).asked, [rider(1), rider(2), rider(3)]);
    assert_eq!((view(&town, order).offers_tried, view(&town, order).waiting_for), (3, Some(WaitReason::Offered)));
    let writes = town.stored.iter().filter(|w| matches!(w, Write::Order(w) if w.offers.len() == 3)).count();
    assert_eq!(writes, 1, "they are stored together");

    // Two accept before the journal has answered.
    town.auto_commit = false;
    let (first, second) = (town.respond(2, offers[1], Answer::Accept), town.respond(1, offers[0], Answer::Accept));
    assert_eq!((town.answer(first), town.answer(second)), (None, None));
    town.commit();
    assert!(matches!(town.answer(first), Some(Ok(Outcome::Accepted(_)))));
    assert_eq!(town.answer(second), Some(&Err(Refusal::OfferTaken)));
    assert_eq!((closed_as(&town, 1), closed_as(&town, 3), closed_as(&town, 2)), (Some("taken"), Some("taken"), None));
    // One who accepts later still, and one who only looks, hear the same.
    let late = town.respond(3, offers[2], Answer::Accept);
    assert_eq!(town.answer(late), Some(&Err(Refusal::OfferTaken)));
    let (offer, session) = (offers[2], SessionId(3));
    let seen = town.ask_now(|reply| Command::OfferSeen { rider: rider(3), session, offer, reply });
    assert_eq!(seen, Err(Refusal::OfferTaken));
    assert_eq!((town.status(order), view(&town, order).rider), (Some(OrderStatus::Assigned), Some(rider(2))));
    assert_eq!((town.city.counts(town.now).offers_open, town.city.counts(town.now).riders_idle), (0, 3));
}

#[test]
fn an_acceptance_that_is_not_stored_leaves_the_batch_to_the_next() {
    let mut town = under(batch_of(2));
    fleet(&mut town, 2);
    let order = town.place(1);
    town.wait(secs(1));
    let offers = [1, 2].map(|n| town.offer_to(n).unwrap());
    town.auto_commit = false;
    let (first, second) = (town.respond(1, offers[0], Answer::Accept), town.respond(2, offers[1], Answer::Accept));
    town.reject(RejectReason::Busy);
    assert_eq!(town.answer(first), Some(&Err(Refusal::StorageBusy)));
    town.commit();
    assert!(matches!(town.answer(second), Some(Ok(Outcome::Accepted(_)))));
    assert_eq!((view(&town, order).rider, closed_as(&town, 1)), (Some(rider(2)), Some("taken")));
}

#[test]
fn every_order_is_served_once_before_any_gets_a_second_rider() {
    let mut town = under(batch_of(3));
    for n in 1..=3 {
        town.place(n);
    }
    fleet(&mut town, 5);
    town.wait(secs(1));
    let asked = [1, 2, 3].map(|n| view(&town, order(n)).asked.len());
    assert_eq!(asked, [2, 2, 1]);
    // Nobody is asked twice, and an order that has riders is topped up only after one that has fewer.
    fleet(&mut town, 7);
    town.wait(secs(1));
    assert_eq!([1, 2, 3].map(|n| view(&town, order(n)).asked.len()), [3, 2, 2]);
}

#[test]
fn who_declines_of_a_batch_is_replaced_after_the_hold_time_and_the_others_go_on() {
    let mut town = under(DispatchPolicy { offer_hold_s: 20, ..batch_of(2) });
    fleet(&mut town, 3);
    let order = town.place(1);
    town.wait(secs(1));
    let offer = town.offer_to(1).unwrap();
    town.respond(1, offer, DECLINE());
    assert_eq!((town.status(order), view(&town, order).asked), (Some(OrderStatus::Offered), vec![rider(2)]));
    town.wait(secs(19));
    assert_eq!(town.offer_to(3), None, "within the hold time");
    town.wait(secs(1));
    assert_eq!(view(&town, order).asked, [rider(2), rider(3)]);
    // The last ones to decline leave it waiting, again for the hold time.
    for n in [2, 3] {
        let offer = town.offer_to(n).unwrap();
        town.respond(n, offer, DECLINE());
    }
    assert_eq!(view(&town, order).waiting_for, Some(WaitReason::Holding));
    town.on_duty(4, beside(4));
    town.wait(secs(19));
    assert_eq!(town.offer_to(4), None);
    town.wait(secs(1));
    assert!(town.offer_to(4).is_some());
}

#[test]
fn a_batch_that_nobody_answers_ends_in_one_write() {
    let mut town = under(batch_of(4));
    fleet(&mut town, 4);
    let order = town.place(1);
    town.wait(secs(1));
    town.wait(secs(60));
    assert_eq!(town.status(order), Some(OrderStatus::Queued));
    let ends = |w: &&Write| matches!(w, Write::Order(w) if w.offers.iter().any(|o| o.state == OfferState::Expired));
    let Some(Write::Order(end)) = town.stored.iter().find(ends) else { panic!("no end") };
    assert_eq!((end.offers.len(), end.events.len(), end.state.status), (4, 4, OrderStatus::Queued));
}

#[test]
fn an_offer_whose_time_ended_twice_over_takes_no_other_with_it() {
    let mut town = under(DispatchPolicy { offer_ttl_s: 60, offer_hold_s: 20, ..batch_of(2) });
    town.on_duty(1, beside(1));
    let order = town.place(1);
    town.wait(secs(1));
    // Seen at once: it ends by both of its deadlines in the same tick.
    see(&mut town, 1);
    town.wait(secs(15));
    town.on_duty(2, beside(2));
    town.wait(secs(45));
    assert_eq!((town.status(order), view(&town, order).asked), (Some(OrderStatus::Offered), vec![rider(2)]));
}

#[test]
fn what_an_offer_promised_is_what_is_paid() {
    let mut town = under(DispatchPolicy {
        round_bonus_minor: 700,
        max_bonus_minor: 1_000,
        round_every_s: 60,
        ..DispatchPolicy::default()
    });
    town.on_duty(1, beside(1));
    let order = town.place(1);
    for wanted in [4_000, 4_700, 5_000, 5_000] {
        town.wait(secs(1));
        let offer = town.offer_to(1).unwrap();
        let shown = town.notices.iter().rev().find_map(|(_, notice)| match notice {
            Notice::Offer(view) => Some(view.payout.minor),
            _ => None,
        });
        assert_eq!(shown, Some(wanted));
        assert_eq!(records(&town).last().map(|o| (o.payout_minor, o.pay_policy_version)), Some((wanted, 1)));
        town.respond(1, offer, DECLINE());
        wait_awake(&mut town, 1, 61);
    }
    // The policy changes between the promise and the work.
    let offer = town.offer_to(1).unwrap();
    town.respond(1, offer, Answer::Accept);
    set_policy(&mut town, DispatchPolicy::default());
    for step in [Step::PickedUp, Step::Delivered] {
        town.step(1, order, step);
    }
    let Some(Write::Order(last)) = town.stored.last() else { panic!("no delivery") };
    let paid: Vec<i64> = last.postings.iter().map(|posting| posting.amount_minor).collect();
    assert_eq!((paid, last.state.payout_minor), (vec![5_000, -5_000], Some(5_000)));
}

#[test]
fn who_declined_is_asked_again_in_the_same_round_for_more() {
    let poor =
        DispatchPolicy { round_bonus_minor: 100, max_bonus_minor: 100, round_every_s: 60, ..DispatchPolicy::default() };
    let mut town = under(poor.clone());
    town.on_duty(1, beside(1));
    town.place(1);
    for _ in 0..2 {
        town.wait(secs(1));
        let offer = town.offer_to(1).unwrap();
        town.respond(1, offer, DECLINE());
        wait_awake(&mut town, 1, 61);
    }
    // Round 2 begins just now; it is declined as well, and the city pays more at once.
    town.wait(secs(1));
    let declined = town.offer_to(1).unwrap();
    town.respond(1, declined, DECLINE());
    town.wait(secs(5));
    assert_eq!(town.offer_to(1), Some(declined), "not for the same");
    set_policy(&mut town, DispatchPolicy { max_bonus_minor: 100, round_bonus_minor: 50, ..poor.clone() });
    town.wait(secs(5));
    assert_eq!(town.offer_to(1), Some(declined), "2 x 50 is the same");
    set_policy(&mut town, DispatchPolicy { max_bonus_minor: 101, ..poor });
    town.wait(secs(1));
    let again = town.offer_to(1).unwrap();
    assert_ne!(again, declined);
    assert_eq!(records(&town).last().map(|o| (o.payout_minor, o.round)), Some((4_101, 2)));
    assert_eq!(town.city.snapshot(town.now).riders[0].duty, Duty::On, "to decline carries no penalty");
}

#[test]
fn three_offers_seen_and_ignored_in_a_row_end_the_duty() {
    let policy = DispatchPolicy { ignored_cooldown_s: 5, unseen_cooldown_s: 5, ..DispatchPolicy::default() };
    let mut town = under(policy);
    town.on_duty(1, beside(1));
    town.place(1);
    let ignore = |town: &mut Town, seen: bool| {
        town.wait(secs(6));
        if seen {
            see(town, 1);
        }
        wait_awake(town, 1, 60);
    };
    let decline = |town: &mut Town| {
        town.wait(secs(6));
        let offer = town.offer_to(1).unwrap();
        town.respond(1, offer, DECLINE());
        wait_awake(town, 1, 120);
    };
    let off = |town: &Town| {
        let is_off = |(_, notice): &_| matches!(notice, Notice::DutyChanged { duty: Duty::AutoOff, .. });
        town.notices.iter().filter(|told| is_off(told)).count()
    };
    // An answer in between begins the count anew, and never seen is not ignored.
    ignore(&mut town, true);
    ignore(&mut town, true);
    decline(&mut town);
    ignore(&mut town, true);
    ignore(&mut town, false);
    ignore(&mut town, false);
    ignore(&mut town, true);
    assert_eq!(off(&town), 0);
    ignore(&mut town, true);
    assert_eq!(off(&town), 1);
    let reason = Notice::DutyChanged { duty: Duty::AutoOff, reason: DutyReason::IgnoredOffers };
    assert!(town.notices.iter().any(|(_, notice)| *notice == reason));
    // Who comes back begins anew, and a policy may leave it out.
    town.ask(|reply| Command::SetDuty { rider: rider(1), session: SessionId(1), duty: Duty::On, reply });
    ignore(&mut town, true);
    ignore(&mut town, true);
    assert_eq!(off(&town), 1);
    set_policy(&mut town, DispatchPolicy { auto_off_after_ignored: 0, ..DispatchPolicy::default() });
    for _ in 0..4 {
        ignore(&mut town, true);
        wait_awake(&mut town, 1, 120);
    }
    assert_eq!(off(&town), 1);
}

#[test]
fn the_last_refusal_that_arrives_with_the_timeout_is_one_end_of_the_offer() {
    for late in [false, true] {
        let mut town = under(batch_of(2));
        fleet(&mut town, 2);
        let order = town.place(1);
        town.wait(secs(1));
        let offers = [1, 2].map(|n| town.offer_to(n).unwrap());
        town.wait(secs(59));
        // The timeout of both and the refusal of one meet, in either order.
        town.auto_commit = false;
        town.now = town.now + secs(1);
        let mut declined = 0;
        if !late {
            declined = town.respond(1, offers[0], DECLINE());
        }
        town.apply(Command::Tick);
        if late {
            declined = town.respond(1, offers[0], DECLINE());
        }
        town.commit();
        town.auto_commit = true;
        town.wait(secs(2));
        let state = |n: usize| records(&town).into_iter().rev().find(|o| o.id == offers[n]).map(|o| o.state);
        let (first, answer) = (state(0), town.answer(declined).cloned());
        if late {
            assert_eq!(first, Some(OfferState::Expired));
            assert_eq!(answer, Some(Err(Refusal::OfferClosed(OfferState::Expired))));
        } else {
            assert_eq!((first, answer), (Some(OfferState::Declined), Some(Ok(Outcome::Declined))));
        }
        assert_eq!(state(1), Some(OfferState::Expired));
        assert_eq!(town.status(order), Some(OrderStatus::Queued));
        assert_eq!(town.city.counts(town.now).offers_open, 0);
    }
}

#[test]
fn an_assigned_rider_is_offered_no_other_order() {
    let mut town = under(batch_of(2));
    fleet(&mut town, 2);
    town.place(1);
    town.wait(secs(1));
    let offer = town.offer_to(1).unwrap();
    town.auto_commit = false;
    town.respond(1, offer, Answer::Accept);
    town.place(2);
    // Neither while the acceptance is on its way, nor after it.
    town.wait(secs(2));
    town.commit();
    town.auto_commit = true;
    town.wait(secs(2));
    assert_eq!(town.offer_to(1), Some(offer));
    assert_eq!(view(&town, order(2)).asked, [rider(2)], "who was asked in vain is free for it");
}

#[test]
fn who_comes_on_duty_is_offered_an_order_that_waits_or_whose_batch_has_room() {
    let mut town = under(batch_of(2));
    let order = town.place(1);
    town.wait(secs(300));
    town.on_duty(1, beside(1));
    town.wait(secs(1));
    assert_eq!(view(&town, order).asked, [rider(1)]);
    town.on_duty(2, beside(2));
    town.wait(secs(1));
    assert_eq!(view(&town, order).asked, [rider(1), rider(2)]);
}

#[test]
fn a_cancel_that_races_acceptances_has_one_winner() {
    for cancel_first in [true, false] {
        let mut town = under(batch_of(2));
        fleet(&mut town, 2);
        let id = town.place(1);
        town.wait(secs(1));
        let offers = [1, 2].map(|n| town.offer_to(n).unwrap());
        town.auto_commit = false;
        let cancel = |reply| Command::Cancel {
            order: id,
            actor: Actor::ENGINE,
            reason: "late".into(),
            reply,
            given: Default::default(),
        };
        let mut cancelled = if cancel_first { town.ask(cancel) } else { 0 };
        let accepted = [1, 2].map(|n: u128| town.respond(n, offers[n as usize - 1], Answer::Accept));
        if !cancel_first {
            cancelled = town.ask(cancel);
        }
        town.commit();
        assert!(matches!(town.answer(cancelled), Some(Ok(Outcome::Order { status: OrderStatus::Cancelled, .. }))));
        assert_eq!(town.answer(accepted[0]).unwrap().is_ok(), !cancel_first);
        assert!(town.answer(accepted[1]).unwrap().is_err());
        let told = if cancel_first { "order_cancelled" } else { "taken" };
        assert_eq!((closed_as(&town, 2), town.status(id)), (Some(told), None));
        assert_eq!(town.city.counts(town.now).riders_idle, 2);
    }
}
