//! What runs out is noticed by the next tick, whoever moved the deadline meanwhile.

use dispatch_engine::{
    domain::{
        duty::Duty,
        ids::SessionId,
        order::{OrderStatus, Step},
        policy::DispatchPolicy,
    },
    engine::{
        command::{Answer, Command},
        effect::Notice,
    },
};

use super::harness::*;

fn set_policy(town: &mut Town, policy: DispatchPolicy) {
    town.apply(Command::SetCity(Box::new(dispatch_engine::domain::city::City { policy, ..settings() })));
}

fn taken_off_duty(town: &Town) -> bool {
    town.notices.iter().any(|(_, notice)| matches!(notice, Notice::DutyChanged { duty: Duty::AutoOff, .. }))
}

#[test]
fn a_shorter_policy_holds_for_whoever_is_there_already() {
    let mut town = Town::new();
    town.on_duty(1, at(12.971, 77.591));
    set_policy(&mut town, DispatchPolicy { fix_freshness_s: 10, auto_off_after_s: 30, ..DispatchPolicy::default() });
    town.wait(secs(10));
    assert_eq!(town.city.counts(town.now).riders_idle, 1, "as old as allowed");
    town.wait(secs(1));
    assert_eq!(town.city.counts(town.now).riders_idle, 0, "older");
    town.wait(secs(19));
    assert!(!taken_off_duty(&town));
    town.wait(secs(1));
    assert!(taken_off_duty(&town));
}

#[test]
fn a_longer_policy_brings_back_who_had_gone_stale() {
    let mut town = Town::new();
    town.on_duty(1, at(12.971, 77.591));
    town.wait(secs(90));
    assert_eq!(town.city.counts(town.now).riders_idle, 0);
    set_policy(&mut town, DispatchPolicy { fix_freshness_s: 120, ..DispatchPolicy::default() });
    assert_eq!(town.city.counts(town.now).riders_idle, 1);
    town.wait(secs(31));
    assert_eq!(town.city.counts(town.now).riders_idle, 0);
}

#[test]
fn an_open_offer_runs_out_by_the_shorter_time_to_answer() {
    let mut town = Town::new();
    town.on_duty(1, at(12.971, 77.591));
    let order = town.place(1);
    town.wait(secs(1));
    let offer = town.offer_to(1).unwrap();
    town.ask(|reply| Command::OfferSeen { rider: rider(1), session: SessionId(1), offer, reply });
    set_policy(&mut town, DispatchPolicy { offer_ttl_s: 5, ..DispatchPolicy::default() });
    town.wait(secs(4));
    assert_eq!(town.status(order), Some(OrderStatus::Offered));
    town.wait(secs(1));
    assert_eq!(town.status(order), Some(OrderStatus::Queued));
}

#[test]
fn every_sign_of_life_ends_a_silence_and_every_silence_of_a_carrier_is_told_once() {
    let mut town = Town::new();
    let order = town.assigned(1, 1);
    town.step(1, order, Step::PickedUp);
    let alerts = |town: &Town| {
        let is_alert = |effect: &&_| matches!(effect, dispatch_engine::engine::effect::Effect::Alert(_));
        town.effects.iter().filter(is_alert).count()
    };
    for silence in 1..=3 {
        town.wait(secs(600));
        assert_eq!(alerts(&town), silence - 1, "heard within the limit");
        town.wait(secs(1));
        assert_eq!(alerts(&town), silence);
        town.wait(secs(700));
        assert_eq!(alerts(&town), silence, "told once");
        if silence == 1 {
            town.ping(1, at(12.971, 77.591));
        } else {
            // A repeated report changes nothing, and is a sign of life all the same.
            town.step(1, order, Step::PickedUp);
        }
    }
}

#[test]
fn an_offer_whose_end_the_journal_refuses_is_ended_by_a_later_tick() {
    let mut town = Town::new();
    town.on_duty(1, at(12.971, 77.591));
    let order = town.place(1);
    town.wait(secs(1));
    town.auto_commit = false;
    town.wait(secs(60));
    town.reject(dispatch_engine::engine::command::RejectReason::Busy);
    assert_eq!(town.status(order), Some(OrderStatus::Offered));
    let offer = town.offer_to(1).unwrap();
    town.auto_commit = true;
    town.wait(secs(1));
    assert_eq!(town.status(order), Some(OrderStatus::Queued));
    let late = town.respond(1, offer, Answer::Accept);
    assert!(town.answer(late).unwrap().is_err());
}
