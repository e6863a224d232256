//! What a new incarnation remembers of what ended just before it began.

use dispatch_engine::{
    domain::{
        duty::Duty,
        ids::SessionId,
        order::{OfferState, OrderStatus, Step},
    },
    engine::{
        City, CityImage, MEMORY, StoredEnd,
        command::{Answer, Command, Outcome, Refusal},
        effect::Write,
    },
};

use super::harness::*;

#[test]
fn after_a_restart_repeated_answers_are_the_same() {
    let mut town = Town::new();
    let (done, held) = (town.assigned(1, 1), town.assigned(2, 2));
    for step in [Step::PickedUp, Step::Delivered] {
        town.step(1, done, step);
    }
    // What the store would hold.
    let mut image = CityImage::default();
    for order in [done, held] {
        let written = |write: &Write| match write {
            Write::Order(w) if w.order == order => Some(w.clone()),
            _ => None,
        };
        let last = town.stored.iter().rev().find_map(written).unwrap();
        image
            .closed
            .extend(town.stored.iter().filter_map(written).flat_map(|w| w.offers).filter(|o| o.closed_at.is_some()));
        if let Some(at) = last.state.ended_at {
            let (status, version, rider) = (last.state.status, last.state.version, last.state.rider);
            image.ended.push(StoredEnd { order, status, version, rider, at });
        } else {
            image.orders.push((spec(order, START), last.state));
        }
    }
    image.riders = [1, 2].map(|n| stored_rider(n, Duty::On)).into();
    let taken: Vec<_> = image.closed.iter().map(|offer| (offer.rider, offer.id)).collect();
    let offer_of = |n| taken.iter().find(|(of, _)| *of == rider(n)).unwrap().1;

    let (city, effects) = City::restore(settings(), 2, town.now, image);
    assert!(effects.is_empty());
    let now = town.now;
    let mut town = Town { city, now, ..Town::new() };
    for n in [1, 2] {
        let session = SessionId(u64::try_from(n).unwrap());
        town.ask_now(|reply| Command::Connect { rider: profile(rider(n)), session, reply }).unwrap();
    }
    let delivered = town.step(1, done, Step::Delivered);
    let answer = town.answer(delivered);
    assert!(matches!(answer, Some(Ok(Outcome::Stepped { status: OrderStatus::Delivered, .. }))), "{answer:?}");
    let accepted = town.respond(2, offer_of(2), Answer::Accept);
    assert!(matches!(town.answer(accepted), Some(Ok(Outcome::Accepted(job))) if job.orders[0].order == held));
    let over = town.respond(1, offer_of(1), Answer::Accept);
    assert_eq!(town.answer(over), Some(&Err(Refusal::OfferClosed(OfferState::Accepted))));
    let stranger = town.step(2, done, Step::Delivered);
    assert_eq!(town.answer(stranger), Some(&Err(Refusal::NotYourOrder)));
    // Not for ever.
    town.wait(MEMORY + secs(2));
    let late = town.step(1, done, Step::Delivered);
    assert_eq!(town.answer(late), Some(&Err(Refusal::UnknownOrder)));
}
