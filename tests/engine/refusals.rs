//! A journal without room: what nobody waits for is not forgotten, and not asked for again before the next tick.

use dispatch_engine::{
    domain::{
        duty::Duty,
        ids::{OfferId, SessionId},
        order::{OfferState, OrderStatus},
    },
    engine::{
        City, CityImage,
        command::{Answer, Command, Refusal, RejectReason},
        effect::{Effect, OfferRecord, Write},
    },
};

use super::harness::*;

const NO_ROOM: [RejectReason; 2] = [RejectReason::Busy, RejectReason::Unavailable];

/// The records of offers alone that wait for the journal.
fn notes(town: &Town) -> Vec<&OfferRecord> {
    let note = |write: &Write| matches!(write, Write::Offer { .. });
    town.writes.iter().filter(|write| note(write)).filter_map(record).collect()
}

fn record(write: &Write) -> Option<&OfferRecord> {
    match write {
        Write::Offer { offer, .. } => Some(offer),
        Write::Order(write) => write.offers.first(),
        _ => None,
    }
}

/// A town in which rider 1 is shown an offer and the journal answers when told to.
fn offered() -> (Town, OfferId) {
    let mut town = Town::new();
    town.on_duty(1, at(12.971, 77.591));
    town.place(1);
    town.wait(secs(1));
    let offer = town.offer_to(1).unwrap();
    town.auto_commit = false;
    (town, offer)
}

fn seen(town: &mut Town, offer: OfferId) {
    town.ask_now(|reply| Command::OfferSeen { rider: rider(1), session: SessionId(1), offer, reply }).unwrap();
}

#[test]
fn that_an_offer_was_seen_is_stored_in_the_end() {
    for why in NO_ROOM {
        let (mut town, offer) = offered();
        seen(&mut town, offer);
        town.reject(why.clone());
        assert!(town.writes.is_empty(), "a full journal is not asked again at once");
        town.wait(secs(1));
        assert_eq!(
            notes(&town).iter().map(|note| (note.id, note.state)).collect::<Vec<_>>(),
            [(offer, OfferState::Seen)]
        );
        town.commit();
        town.wait(secs(1));
        assert!(notes(&town).is_empty(), "once it is stored, that is that");
    }
}

#[test]
fn a_note_of_an_offer_does_not_pass_the_end_of_the_offer() {
    let (mut town, offer) = offered();
    seen(&mut town, offer);
    town.reject(RejectReason::Busy);
    town.respond(1, offer, Answer::Decline { reason: "far".into() });
    town.wait(secs(1));
    assert!(notes(&town).is_empty(), "the decline is with the journal, and says that the offer was seen");
    town.commit();
    town.wait(secs(1));
    assert!(notes(&town).is_empty());
    let last = town.stored.iter().rev().filter_map(record).find(|record| record.id == offer).unwrap();
    assert!(last.state == OfferState::Declined && last.seen_at.is_some(), "{last:?}");
}

#[test]
fn an_orphan_of_a_restart_is_withdrawn_in_the_end() {
    let (town, offer) = offered();
    let orphan = town.stored.iter().rev().filter_map(record).find(|record| record.id == offer).unwrap();
    // The order of the offer has ended, and the offer has not: two writes of which one was lost.
    let rider = stored_rider(1, Duty::On);
    let image = CityImage { offers: vec![orphan.clone()], riders: vec![rider], ..CityImage::default() };
    let (city, effects) = City::restore(settings(), 2, town.now, image);
    let [Effect::Persist(write)] = effects.as_slice() else { panic!("{effects:?}") };
    let mut town = Town { city, writes: vec![*write.clone()], auto_commit: false, now: town.now, ..Town::new() };
    for why in NO_ROOM {
        town.reject(why);
        assert!(town.writes.is_empty());
        town.wait(secs(1));
        assert_eq!(notes(&town).iter().map(|note| note.state).collect::<Vec<_>>(), [OfferState::Withdrawn]);
    }
    town.commit();
    town.wait(secs(2));
    assert!(town.writes.is_empty());
}

#[test]
fn an_offer_to_an_unwilling_rider_is_taken_back_without_haste() {
    let (mut town, offer) = offered();
    let order = order(1);
    let session = SessionId(1);
    // Something else is being written of the order while the rider goes home.
    let ready_at = town.now + secs(60);
    let actor = dispatch_engine::domain::order::Actor::ENGINE;
    town.ask(|reply| Command::ChangeReady { order, ready_at, actor, reply, given: Default::default() });
    town.ask(|reply| Command::SetDuty { rider: rider(1), session, duty: Duty::Off, reply });
    let late = town.respond(1, offer, Answer::Accept);
    assert_eq!(town.answer(late), None, "it waits for the write of the order");
    town.reject(RejectReason::Busy);
    assert_eq!(town.answer(late), Some(&Err(Refusal::OfferClosed(OfferState::Withdrawn))));
    // The duty, and the withdrawal that the acceptance asked for.
    assert_eq!(town.writes.len(), 2);
    town.reject(RejectReason::Busy);
    town.reject(RejectReason::Busy);
    assert!(town.writes.is_empty(), "a full journal is not asked again at once: {:?}", town.writes);
    assert_eq!(town.status(order), Some(OrderStatus::Offered));
    // The rider is on duty again, as far as anybody was told, and may take it after all.
    town.auto_commit = true;
    town.wait(secs(1));
    assert_eq!(town.status(order), Some(OrderStatus::Offered));
    town.respond(1, offer, Answer::Accept);
    assert_eq!(town.status(order), Some(OrderStatus::Assigned));
}

#[test]
fn an_offer_that_was_stored_too_late_is_not_shown() {
    let mut town = Town::new();
    town.on_duty(1, at(12.971, 77.591));
    let order = town.place(1);
    town.auto_commit = false;
    for _ in 0..12 {
        // The rider keeps pinging through the outage.
        town.wait(secs(10));
        town.ping(1, at(12.971, 77.591));
    }
    assert_eq!(town.writes.len(), 1, "the offer: {:?}", town.writes);
    town.commit();
    assert_eq!(town.offer_to(1), None);
    town.auto_commit = true;
    town.wait(secs(1));
    assert!(town.offer_to(1).is_some() && town.status(order) == Some(OrderStatus::Offered), "asked anew");
}
