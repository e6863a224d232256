//! A batch of offers outlives the city that made it.

use dispatch_engine::{
    domain::{duty::Duty, ids::SessionId, order::OfferState, policy::DispatchPolicy},
    engine::{
        City, CityImage,
        command::{Answer, Command, Outcome},
        effect::Write,
        invariants,
    },
};

use super::{harness::*, offers::*};

#[test]
fn a_restart_finds_a_whole_batch_with_the_time_that_is_left() {
    let policy = DispatchPolicy { offer_hold_s: 30, ..batch_of(3) };
    let mut town = under(policy.clone());
    fleet(&mut town, 3);
    let id = town.place(1);
    town.wait(secs(1));
    let decline = town.offer_to(1).unwrap();
    town.respond(1, decline, DECLINE());
    see(&mut town, 2);
    let offers = [2, 3].map(|n| town.offer_to(n).unwrap());
    let mut stored = records(&town);
    stored.retain(|offer| offers.contains(&offer.id));
    stored[0].seen_at = Some(town.now);
    stored[0].state = OfferState::Seen;
    let state = town.stored.iter().rev().find_map(|w| match w {
        Write::Order(w) => Some(w.state.clone()),
        _ => None,
    });
    let image = CityImage {
        orders: vec![(spec(id, START), state.unwrap())],
        offers: stored,
        riders: [1, 2, 3].map(|n| stored_rider(n, Duty::On)).into(),
        ..CityImage::default()
    };
    let now = town.now + secs(10);
    let city = City::restore(dispatch_engine::domain::city::City { policy, ..settings() }, 2, now, image).0;
    invariants::check(&city, now).unwrap();
    let mut town = Town { city, now, ..Town::new() };
    assert_eq!(view(&town, id).asked, [rider(2), rider(3)]);
    for (n, left) in [(2, 20_000), (3, 50_000)] {
        let session = SessionId(u64::try_from(n).unwrap());
        let sync = town.ask_now(|reply| Command::Connect { rider: profile(rider(n)), session, reply }).unwrap();
        let Outcome::Connected(sync) = sync else { panic!("not connected") };
        assert_eq!(sync.open_offer.map(|offer| offer.expires_in_ms), Some(left));
    }
    // The hold time of the last asking still holds.
    town.on_duty(4, beside(4));
    town.wait(secs(19));
    assert_eq!(town.offer_to(4), None);
    town.wait(secs(2));
    assert!(town.offer_to(4).is_some());
    let taken = town.respond(3, offers[1], Answer::Accept);
    assert!(matches!(town.answer(taken), Some(Ok(Outcome::Accepted(_)))));
    assert_eq!(closed_as(&town, 4), Some("taken"));
}
