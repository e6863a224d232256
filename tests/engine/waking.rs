//! Which devices are woken by push, when, and how often.

use dispatch_engine::{
    domain::{
        duty::Duty,
        ids::SessionId,
        order::{OrderStatus, Step},
    },
    engine::{
        City, CityImage,
        command::Command,
        effect::{Effect, Write},
        wake::{Wake, WakeWhy},
    },
};

use super::{harness::*, offers::*};

fn wakes(town: &Town) -> Vec<Wake> {
    let wake = |effect: &Effect| if let Effect::Wake(wake) = effect { Some(*wake) } else { None };
    town.effects.iter().filter_map(wake).collect()
}

#[test]
fn an_offer_that_no_device_shows_wakes_once_with_its_own_id() {
    let mut town = Town::new();
    town.on_duty(1, beside(1));
    town.place(1);
    town.wait(secs(1));
    let offer = town.offer_to(1).unwrap();
    let until = town.now + secs(60);
    town.wait(secs(4));
    assert_eq!(wakes(&town), []);
    town.wait(secs(1));
    let wake = Wake { rider: rider(1), why: WakeWhy::Offer, offer: Some(offer), until };
    assert_eq!(wakes(&town), [wake]);
    town.wait(secs(40));
    assert_eq!(wakes(&town), [wake], "once");
}

#[test]
fn an_offer_that_was_seen_or_is_over_wakes_nobody() {
    let mut town = Town::new();
    fleet(&mut town, 2);
    town.place(1);
    town.place(2);
    town.wait(secs(1));
    see(&mut town, 1);
    let offer = town.offer_to(2).unwrap();
    town.respond(2, offer, dispatch_engine::engine::command::Answer::Accept);
    town.wait(secs(20));
    assert_eq!(wakes(&town), []);
}

#[test]
fn a_socket_that_died_while_the_offer_was_stored_is_woken_at_once() {
    let mut town = Town::new();
    town.on_duty(1, beside(1));
    town.place(1);
    town.auto_commit = false;
    town.wait(secs(1));
    town.apply(Command::Disconnect { rider: rider(1), session: SessionId(1) });
    town.commit();
    let [wake] = wakes(&town)[..] else { panic!("{:?}", wakes(&town)) };
    assert_eq!((wake.rider, wake.why), (rider(1), WakeWhy::Offer));
    town.auto_commit = true;
    town.wait(secs(30));
    assert_eq!(wakes(&town).len(), 1);
    assert_eq!(town.status(order(1)), Some(OrderStatus::Offered), "it is open until its time is over");
}

#[test]
fn a_restart_wakes_for_the_unseen_offers_of_riders_who_do_not_come_back() {
    let mut town = Town::new();
    fleet(&mut town, 2);
    let ids = [town.place(1), town.place(2)];
    town.wait(secs(1));
    let changes = town.stored.iter().filter_map(|w| if let Write::Order(w) = w { Some(w.clone()) } else { None });
    let changes: Vec<_> = changes.collect();
    let last = |id| changes.iter().rev().find(|w| w.order == id).unwrap().state.clone();
    let image = CityImage {
        orders: ids.map(|id| (spec(id, START), last(id))).into(),
        offers: changes.iter().flat_map(|w| w.offers.clone()).collect(),
        riders: [1, 2].map(|n| stored_rider(n, Duty::On)).into(),
        ..CityImage::default()
    };
    let city = City::restore(settings(), 2, town.now, image).0;
    let seen = town.offer_to(1).unwrap();
    let mut town = Town { city, now: town.now, ..Town::new() };
    town.ask_now(|reply| Command::Connect { rider: profile(rider(1)), session: SessionId(1), reply }).unwrap();
    town.ask(|reply| Command::OfferSeen { rider: rider(1), session: SessionId(1), offer: seen, reply });
    town.wait(secs(10));
    assert_eq!(wakes(&town).iter().map(|wake| wake.rider).collect::<Vec<_>>(), [rider(2)]);
}

#[test]
fn a_silent_rider_is_warned_once_before_the_duty_ends() {
    let mut town = Town::new();
    town.on_duty(1, beside(1));
    let until = town.now + secs(600) + std::time::Duration::from_millis(1);
    town.wait(secs(480));
    assert_eq!(wakes(&town), []);
    town.wait(secs(1));
    let wake = Wake { rider: rider(1), why: WakeWhy::AutoOffWarning, offer: None, until };
    assert_eq!(wakes(&town), [wake]);
    // A sign of life begins the silence anew.
    town.wait(secs(100));
    town.ping(1, beside(1));
    town.wait(secs(480));
    assert_eq!(wakes(&town).len(), 1);
    town.wait(secs(1));
    assert_eq!(wakes(&town).len(), 2);
    assert_eq!(town.city.snapshot(town.now).riders[0].duty, Duty::On);
    town.wait(secs(120));
    assert_eq!(town.city.snapshot(town.now).riders[0].duty, Duty::AutoOff);
    assert_eq!(wakes(&town).len(), 2);
}

#[test]
fn nobody_is_warned_who_carries_goods_or_was_silent_because_the_engine_stood_still() {
    let mut town = Town::new();
    let order = town.assigned(1, 1);
    town.step(1, order, Step::PickedUp);
    town.wait(secs(700));
    assert_eq!(wakes(&town), []);

    let mut town = Town::new();
    town.on_duty(1, beside(1));
    town.wait(secs(1));
    // The process was stopped for as long as would need a warning.
    town.now = town.now + secs(500);
    town.apply(Command::Tick);
    town.ping(1, beside(1));
    town.wait(secs(400));
    assert_eq!(wakes(&town), []);
}
