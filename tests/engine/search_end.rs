//! The end of a search without a rider: expired, or parked for an operator until the search may go on.

use dispatch_engine::{
    domain::{
        duty::Duty,
        ids::OrderId,
        order::{Actor, OrderStatus, Step},
        policy::{DispatchPolicy, WhenExhausted},
    },
    engine::{
        City, CityImage,
        command::{Answer, Command, RejectReason},
        effect::{Alert, Effect, Write},
        invariants,
        view::WaitReason,
    },
};

use super::{harness::*, offers::*};

fn two_rounds(when_exhausted: WhenExhausted) -> DispatchPolicy {
    DispatchPolicy { max_rounds: 2, round_every_s: 60, when_exhausted, ..DispatchPolicy::default() }
}

/// The only rider declines in every round there is.
fn declined_in_all_rounds(when_exhausted: WhenExhausted) -> (Town, OrderId) {
    let mut town = under(two_rounds(when_exhausted));
    town.on_duty(1, beside(1));
    let order = town.place(1);
    for round in 0..2 {
        town.wait(secs(1));
        let offer = town.offer_to(1).expect("asked in this round");
        town.respond(1, offer, Answer::Decline { reason: "too far".into() });
        assert_eq!(last_round(&town), round);
        wait_awake(&mut town, 1, 90);
    }
    (town, order)
}

fn last_round(town: &Town) -> u32 {
    let round = |write: &Write| match write {
        Write::Order(write) => write.offers.last().map(|offer| offer.round),
        _ => None,
    };
    town.stored.iter().rev().find_map(round).unwrap()
}

fn needs_operator(town: &Town) -> usize {
    town.effects.iter().filter(|effect| matches!(effect, Effect::Alert(Alert::NeedsOperator(_)))).count()
}

#[test]
fn an_order_that_everybody_refuses_in_every_round_expires() {
    let (town, order) = declined_in_all_rounds(WhenExhausted::Expire);
    assert_eq!(town.stored_status(order), Some(OrderStatus::Expired));
    let Some(Write::Order(last)) = town.stored.last() else { panic!("nothing stored") };
    assert_eq!(last.state.end_reason.as_deref(), Some("all_refused"));
}

#[test]
fn or_waits_for_an_operator_until_the_search_may_go_on() {
    let (mut town, order) = declined_in_all_rounds(WhenExhausted::Operator);
    let parked = view(&town, order);
    assert_eq!((parked.status, parked.waiting_for), (OrderStatus::Queued, Some(WaitReason::NeedsOperator)));
    assert_eq!(needs_operator(&town), 1);
    // Nobody is asked, however long it takes, and nothing else ends the wait.
    let asked = town.offer_to(1);
    town.on_duty(2, beside(2));
    wait_awake(&mut town, 2, 3_700);
    let ready_at = town.now + secs(5);
    town.ask(|reply| Command::ChangeReady { order, ready_at, actor: Actor::ENGINE, reply, given: Default::default() });
    wait_awake(&mut town, 2, 60);
    assert_eq!((town.offer_to(1), town.offer_to(2)), (asked, None));
    assert_eq!((view(&town, order).waiting_for, needs_operator(&town)), (Some(WaitReason::NeedsOperator), 1));

    // A city that parks no longer lets it go on, even when the journal is slow to hear of it.
    town.auto_commit = false;
    set_policy(&mut town, two_rounds(WhenExhausted::Expire));
    town.wait(secs(1));
    town.reject(RejectReason::Busy);
    town.auto_commit = true;
    town.wait(secs(3));
    assert!(town.offer_to(2).is_some() || town.offer_to(1) != asked, "somebody is asked");
    assert_eq!(last_round(&town), 2, "in a new round");
}

#[test]
fn nobody_in_reach_for_too_long_needs_an_operator_too() {
    let policy = DispatchPolicy { when_exhausted: WhenExhausted::Operator, expire_after_s: 60, ..Default::default() };
    let mut town = under(policy.clone());
    let order = town.place(1);
    town.wait(secs(63));
    assert_eq!(view(&town, order).waiting_for, Some(WaitReason::NeedsOperator));
    // The wait counts anew once the search goes on.
    set_policy(&mut town, DispatchPolicy { when_exhausted: WhenExhausted::Expire, ..policy });
    town.wait(secs(50));
    assert_eq!(view(&town, order).waiting_for, Some(WaitReason::NoRiderInReach));
    town.wait(secs(15));
    assert_eq!(town.stored_status(order), Some(OrderStatus::Expired));
}

#[test]
fn a_parked_order_can_be_called_off() {
    let (mut town, order) = declined_in_all_rounds(WhenExhausted::Operator);
    town.ask_now(|reply| Command::Cancel {
        order,
        actor: Actor::ENGINE,
        reason: "enough".into(),
        reply,
        given: Default::default(),
    })
    .unwrap();
    let Some(Write::Order(last)) = town.stored.last() else { panic!("nothing stored") };
    assert_eq!((last.state.status, last.state.parked), (OrderStatus::Cancelled, false));
}

#[test]
fn goods_in_the_street_do_not_expire_but_may_need_an_operator() {
    for when_exhausted in [WhenExhausted::Expire, WhenExhausted::Operator] {
        let mut town = under(DispatchPolicy { expire_after_s: 60, ..two_rounds(when_exhausted) });
        let order = town.assigned(1, 1);
        town.step(1, order, Step::PickedUp);
        town.step(1, order, Step::Handover);
        town.wait(secs(120));
        let parks = when_exhausted == WhenExhausted::Operator;
        assert_eq!(view(&town, order).waiting_for == Some(WaitReason::NeedsOperator), parks);
        assert_eq!(town.status(order), Some(OrderStatus::Queued));
    }
}

#[test]
fn a_restart_remembers_who_waits_for_an_operator() {
    let (town, order) = declined_in_all_rounds(WhenExhausted::Operator);
    let Some(Write::Order(last)) = town.stored.last() else { panic!("nothing stored") };
    let image = || CityImage {
        orders: vec![(spec(order, START), last.state.clone())],
        riders: vec![stored_rider(1, Duty::On)],
        ..CityImage::default()
    };
    for when_exhausted in [WhenExhausted::Operator, WhenExhausted::Expire] {
        let settings = dispatch_engine::domain::city::City { policy: two_rounds(when_exhausted), ..settings() };
        let (city, effects) = City::restore(settings, 2, town.now, image());
        assert!(effects.is_empty());
        invariants::check(&city, town.now).unwrap();
        let mut town = Town { city, now: town.now, ..Town::new() };
        assert_eq!(view(&town, order).waiting_for, Some(WaitReason::NeedsOperator));
        town.on_duty(1, beside(1));
        town.wait(secs(3));
        // The policy may have changed while the city was down.
        assert_eq!(town.offer_to(1).is_some(), when_exhausted == WhenExhausted::Expire);
    }
}
