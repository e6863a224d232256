//! A frame of a device is carried out once, and answered the same as often as it comes.

use dispatch_engine::{
    domain::{
        duty::{Duty, DutyReason},
        ids::{ReplyTo, SessionId},
        order::{OfferState, OrderStatus, Step},
    },
    engine::{
        City, CityImage, StoredFrame,
        answered::{FirstAnswer, FrameKey},
        command::{Answer, Command, Outcome, Refusal, RejectReason},
        effect::Write,
    },
};

use super::harness::*;

fn framed(id: &str, content: u8, command: Command) -> Command {
    Command::Framed { key: FrameKey { id: id.to_owned(), digest: [content; 32] }, command: Box::new(command) }
}

fn duty(id: &str, n: u64, duty: Duty) -> impl Fn(ReplyTo) -> Command {
    let id = id.to_owned();
    let content = if duty == Duty::On { 1 } else { 2 };
    let command = move |reply| Command::SetDuty { rider: rider(n.into()), session: SessionId(n), duty, reply };
    move |reply| framed(&id, content, command(reply))
}

fn step(town: &Town, id: &str, n: u64, order: u128, step: Step) -> impl Fn(ReplyTo) -> Command + use<> {
    let (id, at, order) = (id.to_owned(), town.now, super::harness::order(order));
    let report = dispatch_engine::engine::command::StepReport {
        order,
        step,
        at,
        position: Some(super::harness::at(12.98, 77.6)),
        reason: Some("because".into()),
        proof: None,
        otp: None,
    };
    let content = 10 + Step::ALL.iter().position(|known| *known == step).unwrap() as u8;
    move |reply| {
        let (rider, session, report) = (rider(n.into()), SessionId(n), Box::new(report.clone()));
        framed(&id, content, Command::Progress { rider, session, report, reply })
    }
}

#[test]
fn a_step_that_was_overtaken_gets_its_first_answer() {
    let mut town = Town::new();
    let id = town.assigned(1, 1);
    let arrive = step(&town, "a", 1, 1, Step::AtPickup);
    let first = town.ask_now(&arrive).unwrap();
    town.step(1, id, Step::PickedUp);
    town.step(1, id, Step::AtDropoff);
    let before = town.stored.len();
    let (Ok(Outcome::Stepped { status, version, job, .. }), Outcome::Stepped { version: then, .. }) =
        (town.ask_now(&arrive), first)
    else {
        panic!("no step")
    };
    assert_eq!((status, version), (OrderStatus::AtPickup, then));
    assert_eq!(job.unwrap().orders[0].status, OrderStatus::AtDropoff, "the job is the one of now");
    assert_eq!(town.stored.len(), before, "nothing is stored twice");
    // The same id for something else.
    let other = step(&town, "a", 1, 1, Step::Delivered);
    assert_eq!(town.ask_now(other), Err(Refusal::FrameIdReused));
    assert_eq!(town.status(id), Some(OrderStatus::AtDropoff));
}

#[test]
fn a_frame_that_comes_again_while_it_is_stored_is_answered_with_the_first() {
    let mut town = Town::new();
    town.assigned(1, 1);
    town.auto_commit = false;
    let arrive = step(&town, "a", 1, 1, Step::AtPickup);
    let (first, second) = (town.ask(&arrive), town.ask(&arrive));
    assert_eq!((town.writes.len(), town.answer(second)), (1, None));
    town.commit();
    assert_eq!(town.answer(first), town.answer(second));
    assert!(town.answer(first).unwrap().is_ok());
    // A refused write is no answer to remember: the same frame may be asked again.
    let collect = step(&town, "b", 1, 1, Step::PickedUp);
    let refused = town.ask(&collect);
    town.reject(RejectReason::Busy);
    assert_eq!(town.answer(refused), Some(&Err(Refusal::StorageBusy)));
    let again = town.ask(&collect);
    town.commit();
    assert!(town.answer(again).unwrap().is_ok());
}

#[test]
fn the_key_and_the_answer_are_stored_with_the_change() {
    let mut town = Town::new();
    let id = town.on_duty(1, at(12.971, 77.591));
    let order = town.place(1);
    town.wait(secs(1));
    let offer = town.offer_to(1).unwrap();
    let accept =
        |reply| Command::AnswerOffer { rider: id, session: SessionId(1), offer, answer: Answer::Accept, reply };
    town.ask_now(|reply| framed("yes", 1, accept(reply))).unwrap();
    let Some(Write::Order(write)) = town.stored.last() else { panic!("not stored") };
    let frame = write.frame.as_ref().unwrap();
    assert_eq!((frame.rider, frame.key.id.as_str()), (id, "yes"));
    assert_eq!(frame.answer, FirstAnswer::Accepted { order, version: write.state.version });
    assert_eq!(frame.expires_at, town.now + settings().policy.frame_memory());
    town.ask_now(duty("rest", 1, Duty::Off)).unwrap();
    let Some(Write::Duty(write)) = town.stored.last() else { panic!("not stored") };
    assert_eq!((write.duty, write.next), (Duty::On, Some(Duty::Off)), "while carrying it is a promise, and stored");
    let answer = FirstAnswer::Duty { duty: Duty::On, next: Some(Duty::Off) };
    assert_eq!(write.frame.as_ref().unwrap().answer, answer);
}

#[test]
fn an_older_frame_is_answered_by_the_journal() {
    let mut town = Town::new();
    town.on_duty(1, at(12.971, 77.591));
    town.auto_commit = false;
    let rest = town.ask(duty("old", 1, Duty::Off));
    let first = FirstAnswer::Duty { duty: Duty::Break, next: None };
    town.reject(RejectReason::Replay(serde_json::to_value(first).unwrap()));
    assert_eq!(town.answer(rest), Some(&Ok(Outcome::Duty { duty: Duty::Break, next: None })));
    assert_eq!(town.city.counts(town.now).riders_on_duty, 1, "nothing changed");
    // And is known from now on.
    assert_eq!(town.ask_now(duty("old", 1, Duty::Off)), Ok(Outcome::Duty { duty: Duty::Break, next: None }));
    let reused = town.ask(duty("taken", 1, Duty::Off));
    town.reject(RejectReason::KeyReused);
    assert_eq!(town.answer(reused), Some(&Err(Refusal::FrameIdReused)));
}

#[test]
fn a_new_incarnation_knows_the_frames_of_the_last_one() {
    let mut town = Town::new();
    let id = town.assigned(1, 1);
    let key = |id: &str, content| FrameKey { id: id.into(), digest: [content; 32] };
    let last = town.stored.iter().rev().find_map(|write| match write {
        Write::Order(write) => Some(write.state.clone()),
        _ => None,
    });
    let arrived = FirstAnswer::Stepped { order: id, status: OrderStatus::AtPickup, version: 9 };
    let frame = |key, answer| StoredFrame { rider: rider(1), key, answer, at: town.now };
    let image = CityImage {
        orders: vec![(spec(id, START), last.unwrap())],
        riders: vec![stored_rider(1, Duty::On)],
        frames: vec![
            frame(key("a", 10), arrived),
            frame(key("no", 1), FirstAnswer::Declined),
            frame(key("gone", 1), FirstAnswer::Accepted { order: order(77), version: 3 }),
        ],
        ..CityImage::default()
    };
    let city = City::restore(settings(), 2, town.now, image).0;
    let mut town = Town { city, now: town.now, ..Town::new() };
    let arrive = step(&town, "a", 1, 1, Step::AtPickup);
    assert_eq!(town.ask_now(&arrive), Err(Refusal::Superseded), "who is not connected hears nothing");
    town.ask_now(|reply| Command::Connect { rider: profile(rider(1)), session: SessionId(1), reply }).unwrap();
    let Ok(Outcome::Stepped { version: 9, job: Some(_), .. }) = town.ask_now(&arrive) else { panic!("another answer") };
    let offer = dispatch_engine::domain::ids::OfferId(uuid::Uuid::from_u128(5));
    let answer =
        |answer| move |reply| Command::AnswerOffer { rider: rider(1), session: SessionId(1), offer, answer, reply };
    let no = answer(Answer::Decline { reason: "far".into() });
    assert_eq!(town.ask_now(|reply| framed("no", 1, no(reply))), Ok(Outcome::Declined));
    let yes = answer(Answer::Accept);
    let Ok(Outcome::Stepped { order: told, status, version: 3, job: None }) =
        town.ask_now(|reply| framed("gone", 1, yes(reply)))
    else {
        panic!("another answer")
    };
    assert_eq!((told, status), (order(77), OrderStatus::Assigned), "it was his, and is no longer in his hands");
}

#[test]
fn a_refusal_is_the_same_as_long_as_it_is_remembered() {
    let mut town = Town::new();
    let id = town.assigned(1, 1);
    let deliver = step(&town, "d", 1, 1, Step::Delivered);
    let refused = town.ask_now(&deliver);
    assert!(matches!(refused, Err(Refusal::IllegalStep(_))));
    town.step(1, id, Step::PickedUp);
    assert_eq!(town.ask_now(&deliver), refused);
    assert_eq!(town.status(id), Some(OrderStatus::PickedUp));
}

#[test]
fn what_a_rider_wants_after_the_work_survives_a_restart() {
    let mut town = Town::new();
    let id = town.assigned(1, 1);
    let last = |town: &Town| {
        let state = |write: &Write| if let Write::Order(write) = write { Some(write.state.clone()) } else { None };
        town.stored.iter().rev().find_map(state).unwrap()
    };
    let rider = dispatch_engine::engine::StoredRider {
        next_duty: Some(Duty::Off),
        duty_why: Some(DutyReason::Rider),
        ..stored_rider(1, Duty::On)
    };
    let carrying =
        CityImage { orders: vec![(spec(id, START), last(&town))], riders: vec![rider.clone()], ..CityImage::default() };
    let (city, effects) = City::restore(settings(), 2, town.now, carrying);
    assert!(effects.is_empty());
    town = Town { city, now: town.now, ..Town::new() };
    let connect = |reply| Command::Connect { rider: profile(super::harness::rider(1)), session: SessionId(1), reply };
    let Ok(Outcome::Connected(sync)) = town.ask_now(connect) else { panic!("not connected") };
    assert_eq!((sync.next_duty, sync.duty_why), (Some(Duty::Off), Some(DutyReason::Rider)));
    for step in [Step::PickedUp, Step::Delivered] {
        town.step(1, id, step);
    }
    let Some(Write::Duty(write)) = town.stored.last() else { panic!("no duty") };
    assert_eq!((write.duty, write.reason, write.next), (Duty::Off, DutyReason::Finished, None));
    // The work ended with the last incarnation: the promise is kept at once.
    let idle = CityImage { riders: vec![rider], ..CityImage::default() };
    let (_, effects) = City::restore(settings(), 3, town.now, idle);
    assert!(matches!(&effects[..], [dispatch_engine::engine::effect::Effect::Persist(write)]
        if matches!(&**write, Write::Duty(write) if write.duty == Duty::Off)));
}

#[test]
fn refusals_of_the_round_survive_a_restart() {
    let mut town = Town::new();
    let id = town.on_duty(1, at(12.971, 77.591));
    let order = town.place(1);
    town.wait(secs(1));
    let offer = town.offer_to(1).unwrap();
    town.respond(1, offer, Answer::Decline { reason: "far".into() });
    let (mut state, mut record) = (None, None);
    for write in &town.stored {
        if let Write::Order(write) = write {
            (state, record) = (Some(write.state.clone()), write.offers.last().cloned().or(record));
        }
    }
    let record = record.unwrap();
    assert_eq!(record.state, OfferState::Declined);
    let image = |refused| CityImage {
        orders: vec![(spec(order, START), state.clone().unwrap())],
        riders: vec![stored_rider(1, Duty::On)],
        refused,
        ..CityImage::default()
    };
    for (refused, asked) in [(vec![record.clone()], false), (vec![], true)] {
        let city = City::restore(settings(), 2, town.now, image(refused)).0;
        let mut town = Town { city, now: town.now, ..Town::new() };
        town.ask_now(|reply| Command::Connect { rider: profile(id), session: SessionId(1), reply }).unwrap();
        town.ping(1, at(12.971, 77.591));
        town.wait(secs(5));
        assert_eq!(town.offer_to(1).is_some(), asked);
    }
}
