//! How riders come, go, fall silent and are passed over.

use dispatch_engine::{
    domain::{
        duty::Duty,
        ids::SessionId,
        order::{OrderStatus, Step},
        rider::{KycStatus, Vehicle},
    },
    engine::{
        command::{Answer, Command, Outcome, Refusal, RejectReason},
        effect::{Notice, Write},
    },
};

use super::harness::*;

#[test]
fn off_duty_while_carrying_means_finish_first() {
    let mut town = Town::new();
    let id = town.assigned(1, 1);
    let asked =
        town.ask_now(|reply| Command::SetDuty { rider: rider(1), session: SessionId(1), duty: Duty::Off, reply });
    assert_eq!(asked, Ok(Outcome::Duty { duty: Duty::On, next: Some(Duty::Off) }));
    town.place(2);
    town.step(1, id, Step::PickedUp);
    town.step(1, id, Step::Delivered);
    assert!(town.notices.iter().any(|(_, n)| matches!(n, Notice::DutyChanged { duty: Duty::Off, .. })));
    town.wait(secs(5));
    assert_eq!(town.status(order(2)), Some(OrderStatus::Queued), "and nothing new is offered");
}

#[test]
fn silence_takes_an_idle_rider_off_duty_but_never_an_order_from_a_carrier() {
    let mut town = Town::new();
    town.on_duty(1, at(12.971, 77.591));
    town.wait(secs(601));
    assert!(town.notices.iter().any(|(_, n)| matches!(n, Notice::DutyChanged { duty: Duty::AutoOff, .. })));

    let mut town = Town::new();
    let id = town.assigned(1, 1);
    town.step(1, id, Step::PickedUp);
    town.wait(secs(1_300));
    assert_eq!(town.status(id), Some(OrderStatus::PickedUp));
    let alerts = town.effects.iter().filter(|e| matches!(e, dispatch_engine::engine::effect::Effect::Alert(_))).count();
    assert_eq!(alerts, 1, "operators are told once");
}

#[test]
fn a_pause_of_the_engine_is_not_the_riders_silence() {
    let mut town = Town::new();
    town.on_duty(1, at(12.971, 77.591));
    town.wait(secs(1));
    town.now = town.now + secs(3_600);
    town.apply(Command::Tick);
    assert_eq!(town.city.counts(town.now).riders_on_duty, 1);
    town.ping(1, at(12.971, 77.591));
    town.wait(secs(60));
    assert_eq!(town.city.counts(town.now).riders_on_duty, 1);
}

#[test]
fn after_a_pause_silence_counts_anew_for_whoever_has_to_connect_again() {
    let mut town = Town::new();
    for n in 1..=20 {
        town.on_duty(n, at(12.971, 77.591));
    }
    town.wait(secs(1));
    town.now = town.now + secs(3_600);
    town.apply(Command::Tick);
    // Their connections did not outlive the pause, and they come back with a backoff.
    for n in 1..=19 {
        town.wait(secs(4));
        let session = SessionId(u64::try_from(100 + n).unwrap());
        town.ask_now(|reply| Command::Connect { rider: profile(rider(n)), session, reply }).unwrap();
    }
    let home = |town: &Town| {
        town.notices.iter().filter(|(_, n)| matches!(n, Notice::DutyChanged { duty: Duty::AutoOff, .. })).count()
    };
    assert_eq!(home(&town), 0, "nobody is sent home for the engine's own pause");
    town.wait(secs(599 - 19 * 4));
    assert_eq!(town.city.counts(town.now).riders_on_duty, 20);
    town.wait(secs(1));
    assert_eq!(town.city.counts(town.now).riders_on_duty, 19, "who did not come back is");
}

#[test]
fn stale_unapproved_or_too_small_riders_are_not_asked() {
    let mut town = Town::new();
    town.on_duty(1, at(12.971, 77.591));
    town.wait(secs(90));
    town.place(1);
    town.wait(secs(3));
    assert_eq!(town.offer_to(1), None, "the fix is too old");
    town.ping(1, at(12.971, 77.591));
    town.wait(secs(1));
    assert!(town.offer_to(1).is_some());

    let mut town = Town::new();
    let mut pending = profile(rider(1));
    pending.kyc = KycStatus::Pending;
    town.ask(|reply| Command::Connect { rider: pending, session: SessionId(1), reply });
    let refused =
        town.ask_now(|reply| Command::SetDuty { rider: rider(1), session: SessionId(1), duty: Duty::On, reply });
    assert_eq!(refused, Err(Refusal::NotAllowed));

    let mut town = Town::new();
    town.on_duty(1, at(12.971, 77.591));
    let mut by_car = spec(order(1), town.now);
    by_car.vehicle_need = Some(Vehicle::Car);
    town.place_spec(by_car);
    let mut bulky = spec(order(2), town.now);
    bulky.size_units = 11;
    town.place_spec(bulky);
    town.wait(secs(3));
    assert_eq!(town.offer_to(1), None);
}

#[test]
fn a_newer_session_takes_over_and_the_older_one_is_not_heard() {
    let mut town = Town::new();
    let id = town.on_duty(1, at(12.971, 77.591));
    town.ask_now(|reply| Command::Connect { rider: profile(id), session: SessionId(2), reply }).unwrap();
    assert!(matches!(town.notices.last(), Some((_, Notice::TakenOver))));
    let old = town.ask_now(|reply| Command::SetDuty { rider: id, session: SessionId(1), duty: Duty::Off, reply });
    assert_eq!(old, Err(Refusal::Superseded));
    town.apply(Command::Disconnect { rider: id, session: SessionId(1) });
    assert_eq!(town.city.counts(town.now).riders_connected, 1);
}

#[test]
fn silence_before_pickup_gives_the_order_to_somebody_else() {
    let mut town = Town::new();
    let id = town.assigned(1, 1);
    town.wait(secs(599));
    town.on_duty(2, at(12.972, 77.592));
    assert_eq!(town.status(id), Some(OrderStatus::Assigned));
    town.wait(secs(5));
    let offer = town.offer_to(2).expect("another rider is asked");
    town.respond(2, offer, Answer::Accept);
    assert_eq!(town.status(id), Some(OrderStatus::Assigned));
    assert!(
        town.notices.iter().any(|(to, n)| {
            *to == rider(1) && matches!(n, Notice::OrderChanged { job: None, why: "unassigned", .. })
        })
    );
    let late = town.step(1, id, Step::PickedUp);
    assert_eq!(town.answer(late), Some(&Err(Refusal::Disputed)), "he says that he has the goods: people decide");
    let harmless = town.step(1, id, Step::AtPickup);
    assert_eq!(town.answer(harmless), Some(&Err(Refusal::NotYourOrder)));
}

#[test]
fn who_went_off_duty_while_the_order_was_being_written_is_not_asked_any_more() {
    let mut town = Town::new();
    let id = town.on_duty(1, at(12.971, 77.591));
    let order = town.place(1);
    town.wait(secs(1));
    let offer = town.offer_to(1).unwrap();
    town.auto_commit = false;
    let ready_at = town.now + secs(5);
    town.ask(|reply| change_ready(order, ready_at, reply));
    town.ask(|reply| Command::SetDuty { rider: id, session: SessionId(1), duty: Duty::Off, reply });
    town.commit();
    town.auto_commit = true;
    assert_eq!(town.status(order), Some(OrderStatus::Queued));
    let late = town.respond(1, offer, Answer::Accept);
    assert!(matches!(town.answer(late), Some(Err(Refusal::OfferClosed(_)))));
}

#[test]
fn a_fast_rider_beyond_the_radius_does_not_keep_a_slow_one_from_the_order() {
    let mut town = Town::new();
    // By motorcycle from about 2.2 km, and on foot from about 1.1 km: the motorcycle would be there first.
    town.on_duty(1, at(12.99, 77.59));
    let mut walker = profile(rider(2));
    walker.vehicle = Vehicle::Walking;
    town.ask_now(|reply| Command::Connect { rider: walker, session: SessionId(2), reply }).unwrap();
    town.ask(|reply| Command::SetDuty { rider: rider(2), session: SessionId(2), duty: Duty::On, reply });
    town.ping(2, at(12.98, 77.59));
    town.place(1);
    town.wait(secs(1));
    assert!(town.offer_to(2).is_some(), "within the first radius");
    assert_eq!(town.offer_to(1), None);
}

#[test]
fn nobody_hears_of_a_duty_that_is_not_stored() {
    let mut town = Town::new();
    let id = rider(1);
    town.ask_now(|reply| Command::Connect { rider: profile(id), session: SessionId(1), reply }).unwrap();
    town.auto_commit = false;
    let on = |reply| Command::SetDuty { rider: id, session: SessionId(1), duty: Duty::On, reply };
    let (first, again) = (town.ask(on), town.ask(on));
    assert_eq!((town.answer(first), town.answer(again)), (None, None), "the repeat waits for the same commit");
    assert_eq!(town.writes.len(), 1);
    // A new session is told what is stored, and what comes after it once it is stored.
    let Ok(Outcome::Connected(sync)) =
        town.ask_now(|reply| Command::Connect { rider: profile(id), session: SessionId(2), reply })
    else {
        panic!("not connected");
    };
    assert_eq!(sync.duty, Duty::Off);
    town.apply(Command::Fixes(vec![dispatch_engine::engine::command::Fix {
        rider: id,
        session: SessionId(2),
        position: at(12.971, 77.591),
        recorded_at: town.now,
    }]));
    town.place(1);
    town.wait(secs(3));
    let placed = town.writes.pop().expect("the placement");
    town.commit();
    let told = Some(&Ok(Outcome::Duty { duty: Duty::On, next: None }));
    assert_eq!((town.answer(first), town.answer(again)), (told, told));
    assert!(matches!(town.notices.last(), Some((_, Notice::DutyChanged { duty: Duty::On, .. }))));
    town.apply(Command::Committed { transition: placed.transition() });
    town.auto_commit = true;
    town.wait(secs(1));
    assert!(town.offer_to(1).is_some());
}

#[test]
fn a_refused_duty_leaves_the_stored_one() {
    let mut town = Town::new();
    let id = town.on_duty(1, at(12.971, 77.591));
    town.auto_commit = false;
    let ask = |town: &mut Town, duty| {
        town.ask(|reply| Command::SetDuty { rider: id, session: SessionId(1), duty, reply });
    };
    ask(&mut town, Duty::Break);
    ask(&mut town, Duty::Off);
    town.reject(RejectReason::Busy);
    town.reject(RejectReason::Busy);
    assert_eq!(town.city.counts(town.now).riders_on_duty, 1, "neither was stored");
    // Who goes away while the end of the shift is with the journal is not forgotten before it is stored.
    ask(&mut town, Duty::Off);
    town.apply(Command::Disconnect { rider: id, session: SessionId(1) });
    town.reject(RejectReason::Busy);
    assert_eq!(town.city.counts(town.now).riders_on_duty, 1);
}

#[test]
fn who_fell_silent_while_the_offer_was_being_written_is_not_shown_it() {
    let mut town = Town::new();
    town.on_duty(1, at(12.971, 77.591));
    let order = town.place(1);
    town.auto_commit = false;
    town.wait(secs(1));
    assert_eq!(town.writes.len(), 1, "the offer is with the journal");
    town.now = town.now + secs(61);
    town.commit();
    assert_eq!(town.offer_to(1), None, "the fix is older than the policy allows");
    assert_eq!(town.status(order), Some(OrderStatus::Queued));
}

#[test]
fn a_session_that_came_while_an_acceptance_was_being_written_hears_of_the_job() {
    let mut town = Town::new();
    let id = town.on_duty(1, at(12.971, 77.591));
    let order = town.place(1);
    town.wait(secs(1));
    let offer = town.offer_to(1).unwrap();
    town.auto_commit = false;
    town.respond(1, offer, Answer::Accept);
    town.ask_now(|reply| Command::Connect { rider: profile(id), session: SessionId(2), reply }).unwrap();
    town.commit();
    assert!(town.notices.iter().any(|(_, notice)| {
        matches!(notice, Notice::OrderChanged { job: Some(_), order: told, why: "assigned", .. } if *told == order)
    }));
}

#[test]
fn a_handover_said_again_gets_the_same_answer() {
    let mut town = Town::new();
    let id = town.assigned(1, 1);
    town.step(1, id, Step::PickedUp);
    let [first, again] = [town.step(1, id, Step::Handover), town.step(1, id, Step::Handover)];
    assert!(matches!(town.answer(first), Some(Ok(Outcome::Stepped { job: None, .. }))));
    assert_eq!(town.answer(again), town.answer(first));
}

#[test]
fn goods_handed_over_before_they_were_said_to_be_ready_find_another_rider_at_once() {
    let mut town = Town::new();
    let id = town.assigned(1, 1);
    let ready_at = town.now + secs(3_000);
    town.ask_now(|reply| change_ready(id, ready_at, reply)).unwrap();
    town.step(1, id, Step::PickedUp);
    town.step(1, id, Step::Handover);
    town.on_duty(2, at(12.981, 77.601));
    town.wait(secs(2));
    assert!(town.offer_to(2).is_some());
}

#[test]
fn an_older_refusal_does_not_undo_a_newer_wish() {
    let mut town = Town::new();
    town.on_duty(1, at(12.971, 77.591));
    let wish = |town: &mut Town, duty| {
        town.ask(|reply| Command::SetDuty { rider: rider(1), session: SessionId(1), duty, reply })
    };
    wish(&mut town, Duty::Off);
    town.auto_commit = false;
    // On, off and on again, before the journal has answered the first.
    let asked = [Duty::On, Duty::Off, Duty::On].map(|duty| wish(&mut town, duty));
    town.reject(RejectReason::Busy);
    town.commit();
    assert!(matches!(town.answer(asked[2]), Some(Ok(Outcome::Duty { duty: Duty::On, .. }))));
    town.ping(1, at(12.971, 77.591));
    assert_eq!(town.city.counts(town.now).riders_idle, 1);

    // A full journal refuses the newest at once, while the one before is still on its way.
    wish(&mut town, Duty::Break);
    wish(&mut town, Duty::On);
    let newest = town.writes.pop().unwrap();
    town.apply(Command::Rejected { transition: newest.transition(), why: RejectReason::Busy });
    town.commit();
    let shown = &town.city.snapshot(town.now).riders[0];
    assert_eq!(shown.duty, Duty::Break);
}

#[test]
fn a_rider_is_not_forgotten_while_a_duty_is_with_the_journal() {
    let mut town = Town::new();
    let id = town.on_duty(1, at(12.971, 77.591));
    let duty = |duty| move |reply| Command::SetDuty { rider: id, session: SessionId(1), duty, reply };
    town.ask(duty(Duty::Off));
    town.auto_commit = false;
    // Off is stored, and decided on again while the journal still has what was asked in between.
    town.ask(duty(Duty::On));
    town.ask(duty(Duty::Off));
    town.apply(Command::Disconnect { rider: id, session: SessionId(1) });
    let on = town.writes.remove(0);
    town.apply(Command::Committed { transition: on.transition() });
    let session = SessionId(2);
    let Ok(Outcome::Connected(sync)) = town.ask_now(|reply| Command::Connect { rider: profile(id), session, reply })
    else {
        panic!("not connected")
    };
    assert_eq!(sync.duty, Duty::On, "what is stored, whatever the city has decided since");
    town.commit();
    let last = town.notices.last().map(|(_, notice)| notice);
    assert!(matches!(last, Some(Notice::DutyChanged { duty: Duty::Off, .. })), "{last:?}");
}

#[test]
fn of_two_wishes_on_the_way_to_the_journal_the_last_one_holds() {
    let mut town = Town::new();
    town.assigned(1, 1);
    town.auto_commit = false;
    let mut wish = |duty| town.ask(|reply| Command::SetDuty { rider: rider(1), session: SessionId(1), duty, reply });
    let (off, on) = (wish(Duty::Off), wish(Duty::On));
    town.commit();
    let told = |next| Some(Ok(Outcome::Duty { duty: Duty::On, next }));
    assert_eq!((town.answer(off).cloned(), town.answer(on).cloned()), (told(Some(Duty::Off)), told(None)));
    let stored = town.stored.iter().rev().find_map(|write| match write {
        Write::Duty(write) => Some((write.duty, write.next)),
        _ => None,
    });
    assert_eq!(stored, Some((Duty::On, None)), "a restart must not bring the first wish back");
}
