//! The next order for a rider who will soon be free: when it is offered, and what becomes of it when the first one goes
//! wrong.

use dispatch_engine::{
    domain::{
        city::City as Settings,
        duty::Duty,
        ids::{OrderId, SessionId},
        order::{OrderSpec, OrderStatus, Place, Step},
        policy::DispatchPolicy,
        position::Position,
    },
    engine::{
        City, CityImage,
        command::{Answer, Command, Outcome},
        effect::{Notice, Write},
        view::StopKind,
    },
};

use super::harness::*;

/// Where the first order goes: 3.1 km from its kitchen, so about 12 minutes of a motorcycle.
const DOOR: fn() -> Position = || at(12.99, 77.61);

fn town_with(policy: DispatchPolicy) -> Town {
    Town::with(Settings { policy, ..settings() })
}

fn two_orders() -> DispatchPolicy {
    // Nobody goes stale within these tests.
    DispatchPolicy {
        max_active_orders: 2,
        fix_freshness_s: 3_600,
        auto_off_after_s: 7_200,
        ..DispatchPolicy::default()
    }
}

/// An order whose goods are where the first one goes.
fn next_door(n: u128, town: &Town) -> OrderSpec {
    let place = |position| Place { position, hint: None };
    OrderSpec { pickup: place(at(12.991, 77.611)), drop: place(at(13.0, 77.62)), ..spec(order(n), town.now) }
}

/// A rider with one order picked up and close to its door, and with a second one just accepted.
fn two_in_hand(policy: DispatchPolicy) -> (Town, OrderId, OrderId) {
    let mut town = town_with(policy);
    let first = town.assigned(1, 1);
    town.step(1, first, Step::PickedUp);
    let spec = next_door(2, &town);
    town.place_spec(spec);
    town.ping(1, at(12.989, 77.609));
    town.wait(secs(1));
    let offer = town.offer_to(1).expect("an offer ahead");
    let accepted = town.respond(1, offer, Answer::Accept);
    assert!(matches!(town.answer(accepted), Some(Ok(Outcome::Accepted(job))) if job.orders[0].order == order(2)));
    (town, first, order(2))
}

/// The jobs and their stops, as a device that connects hears of them.
fn welcome(town: &mut Town) -> Vec<(OrderId, Vec<StopKind>)> {
    let session = SessionId(1);
    let connected = town.ask_now(|reply| Command::Connect { rider: profile(rider(1)), session, reply });
    let Ok(Outcome::Connected(sync)) = connected else { panic!("{connected:?}") };
    let job = |job: &dispatch_engine::engine::view::JobView| {
        (job.orders[0].order, job.stops.iter().map(|stop| stop.kind).collect())
    };
    sync.jobs.iter().map(job).collect()
}

fn duty(town: &mut Town, duty: Duty) {
    town.ask(|reply| Command::SetDuty { rider: rider(1), session: SessionId(1), duty, reply });
}

#[test]
fn a_rider_who_is_about_to_finish_is_offered_the_next_order() {
    let (mut town, first, second) = two_in_hand(two_orders());
    use StopKind::{Drop, Pickup};
    assert_eq!(welcome(&mut town), [(first, vec![Drop]), (second, vec![Pickup, Drop])], "first job first");
    for (order, step) in [(first, Step::Delivered), (second, Step::PickedUp), (second, Step::Delivered)] {
        town.wait(secs(60));
        let answer = town.step(1, order, step);
        assert!(matches!(town.answer(answer), Some(Ok(Outcome::Stepped { .. }))), "{step}");
    }
    let counts = town.city.counts(town.now);
    assert_eq!((counts.delivered, counts.riders_idle, counts.riders_busy), (2, 1, 0));
    // Each of them is paid, once.
    let paid = town.stored.iter().filter_map(|write| if let Write::Order(write) = write { Some(write) } else { None });
    let earned = paid.flat_map(|write| write.postings.iter().map(|p| (write.order, p.amount_minor)));
    let earned: Vec<_> = earned.filter(|(_, amount)| *amount > 0).collect();
    assert_eq!(earned, [(first, 4_000), (second, 4_000)]);
}

#[test]
fn nothing_is_offered_ahead_too_early_or_by_another_policy() {
    let offered = |policy: DispatchPolicy, position: Position| {
        let mut town = town_with(policy);
        let first = town.assigned(1, 1);
        town.step(1, first, Step::PickedUp);
        let before = town.offer_to(1);
        let spec = next_door(2, &town);
        town.place_spec(spec);
        town.ping(1, position);
        town.wait(secs(1));
        assert_eq!(town.city.counts(town.now).riders_idle, 0, "busy all the same");
        town.offer_to(1) != before
    };
    let (far, near) = (at(12.971, 77.591), at(12.989, 77.609));
    assert!(offered(two_orders(), near));
    assert!(!offered(two_orders(), far), "12 minutes to go");
    assert!(offered(DispatchPolicy { forward_within_s: 1_200, ..two_orders() }, far));
    assert!(!offered(DispatchPolicy { forward_within_s: 0, ..two_orders() }, near));
    assert!(!offered(DispatchPolicy { max_active_orders: 1, ..two_orders() }, near));
}

#[test]
fn time_alone_brings_a_rider_into_reach() {
    let mut town = town_with(two_orders());
    let first = town.assigned(1, 1);
    let spec = next_door(2, &town);
    town.place_spec(spec);
    let before = town.offer_to(1);
    // At the counter the rider waits for goods that are ready in 20 minutes; from there it takes 12 more.
    let ready_at = town.now + secs(1_200);
    let actor = dispatch_engine::domain::order::Actor::ENGINE;
    town.ask_now(|reply| Command::ChangeReady { order: first, ready_at, actor, reply, given: Default::default() })
        .unwrap();
    town.ping(1, at(12.97, 77.59));
    let waited = (0..2_400).find(|_| {
        town.wait(secs(1));
        town.offer_to(1) != before
    });
    let waited = waited.expect("an offer without another ping");
    // 1,200 s for the goods, 3,100 m x 1.4 / 6.1 m/s = 712 s of way, 90 s at the door, less 300 s.
    assert!((1_650..1_750).contains(&waited), "{waited}");
}

#[test]
fn the_second_order_moves_up_when_the_first_one_is_called_off() {
    use StopKind::{Drop, Pickup, Return};
    let cancel = |town: &mut Town, order| {
        let actor = dispatch_engine::domain::order::Actor::ENGINE;
        town.ask_now(|reply| Command::Cancel {
            order,
            actor,
            reason: "sold out".into(),
            reply,
            given: Default::default(),
        })
        .unwrap()
    };
    // On its way to the door: the goods go back first.
    let (mut town, first, second) = two_in_hand(two_orders());
    cancel(&mut town, first);
    assert_eq!(welcome(&mut town), [(first, vec![Return]), (second, vec![Pickup, Drop])]);
    town.step(1, first, Step::Returned);
    assert_eq!(welcome(&mut town), [(second, vec![Pickup, Drop])]);
    // Before the goods are picked up.
    let mut town = town_with(DispatchPolicy { forward_within_s: 3_600, ..two_orders() });
    let first = town.assigned(1, 1);
    let second = town.place(2);
    // From the first one's door it is 3.1 km back to the kitchen.
    town.wait(secs(45));
    let offer = town.offer_to(1).unwrap();
    town.respond(1, offer, Answer::Accept);
    assert_eq!(welcome(&mut town).len(), 2);
    cancel(&mut town, first);
    assert_eq!(welcome(&mut town), [(second, vec![Pickup, Drop])]);
    assert_eq!(town.status(second), Some(OrderStatus::Assigned));
}

#[test]
fn who_wants_to_stop_finishes_what_is_in_hand_and_takes_no_more() {
    let (mut town, first, second) = two_in_hand(two_orders());
    duty(&mut town, Duty::Off);
    town.step(1, first, Step::Delivered);
    assert_eq!(town.status(second), Some(OrderStatus::Assigned));
    assert!(!town.notices.iter().any(|(_, notice)| matches!(notice, Notice::DutyChanged { .. })));
    town.step(1, second, Step::PickedUp);
    town.step(1, second, Step::Delivered);
    assert!(matches!(town.notices.last(), Some((_, Notice::DutyChanged { duty: Duty::Off, .. }))));
    // An offer that is open goes to somebody else at once.
    let mut town = town_with(two_orders());
    let first = town.assigned(1, 1);
    town.step(1, first, Step::PickedUp);
    let spec = next_door(2, &town);
    town.place_spec(spec);
    town.ping(1, at(12.989, 77.609));
    town.wait(secs(1));
    let offer = town.offer_to(1).unwrap();
    duty(&mut town, Duty::Break);
    let closed = |(_, notice): &(_, Notice)| matches!(notice, Notice::OfferClosed { offer: of, .. } if *of == offer);
    assert!(town.notices.iter().any(closed));
    assert_eq!((town.status(first), town.status(order(2))), (Some(OrderStatus::PickedUp), Some(OrderStatus::Queued)));
}

#[test]
fn silence_takes_back_what_is_not_carried_and_tells_of_the_rest() {
    let (mut town, first, second) = two_in_hand(two_orders());
    town.wait(secs(7_205));
    assert_eq!(town.status(first), Some(OrderStatus::PickedUp), "people decide");
    assert_ne!(town.status(second), Some(OrderStatus::Assigned), "somebody else can fetch it");
    let alerts =
        town.effects.iter().filter(|effect| matches!(effect, dispatch_engine::engine::effect::Effect::Alert(_)));
    assert_eq!(alerts.count(), 1);
}

#[test]
fn who_breaks_down_gives_the_next_order_back_as_well() {
    let (mut town, first, second) = two_in_hand(two_orders());
    town.step(1, first, Step::Handover);
    assert_eq!((town.status(first), town.status(second)), (Some(OrderStatus::Queued), Some(OrderStatus::Queued)));
    let offered = town.offer_to(1);
    town.wait(secs(5));
    assert_eq!(town.offer_to(1), offered, "neither of them comes back to the rider");
    assert!(matches!(
        town.notices.iter().rev().find(|(_, n)| matches!(n, Notice::DutyChanged { .. })),
        Some((_, Notice::DutyChanged { duty: Duty::Off, .. }))
    ));
}

#[test]
fn who_breaks_down_gives_back_what_the_journal_has_a_write_of_as_well() {
    let (mut town, first, second) = two_in_hand(two_orders());
    town.auto_commit = false;
    let ready_at = town.now + secs(600);
    town.ask(|reply| change_ready(second, ready_at, reply));
    let slow = town.writes.remove(0);
    town.step(1, first, Step::Handover);
    town.commit();
    assert_eq!(town.status(second), Some(OrderStatus::Assigned));
    town.writes.insert(0, slow);
    town.auto_commit = true;
    town.commit();
    town.wait(secs(1));
    assert_eq!(town.status(second), Some(OrderStatus::Queued));
}

#[test]
fn a_bag_that_is_full_takes_nothing_more() {
    let mut town = town_with(two_orders());
    let first = town.assigned(1, 1);
    town.step(1, first, Step::PickedUp);
    let before = town.offer_to(1);
    // The bag holds 10 units, one of which is taken.
    let big = OrderSpec { size_units: 10, ..next_door(2, &town) };
    town.place_spec(big);
    town.ping(1, at(12.989, 77.609));
    town.wait(secs(1));
    assert_eq!(town.offer_to(1), before);
    let fits = OrderSpec { size_units: 9, ..next_door(3, &town) };
    town.place_spec(fits);
    town.wait(secs(1));
    assert_ne!(town.offer_to(1), before);
}

#[test]
fn a_lower_capacity_takes_nothing_away() {
    let (mut town, first, second) = two_in_hand(two_orders());
    let policy = DispatchPolicy { max_active_orders: 1, ..two_orders() };
    town.apply(Command::SetCity(Box::new(Settings { policy, ..settings() })));
    town.wait(secs(2));
    assert_eq!(welcome(&mut town).len(), 2);
    town.step(1, first, Step::Delivered);
    town.step(1, second, Step::PickedUp);
    town.step(1, second, Step::Delivered);
    assert_eq!(town.city.counts(town.now).delivered, 2);
}

#[test]
fn after_a_restart_orders_are_done_as_they_were_taken() {
    let (town, first, second) = two_in_hand(two_orders());
    let last = |order| {
        let state = town.stored.iter().rev().find_map(|write| match write {
            Write::Order(write) if write.order == order => Some(write.state.clone()),
            _ => None,
        });
        state.unwrap()
    };
    // The store knows them by their ids: the younger one may well come first.
    let orders = vec![(next_door(2, &town), last(second)), (spec(first, START), last(first))];
    let image = CityImage { orders, riders: vec![stored_rider(1, Duty::On)], ..CityImage::default() };
    let settings = Settings { policy: two_orders(), ..settings() };
    let (city, effects) = City::restore(settings, 2, town.now, image);
    assert!(effects.is_empty());
    let mut town = Town { city, now: town.now, ..town_with(two_orders()) };
    use StopKind::{Drop, Pickup};
    assert_eq!(welcome(&mut town), [(first, vec![Drop]), (second, vec![Pickup, Drop])]);
    town.ping(1, DOOR());
    town.step(1, first, Step::Delivered);
    assert_eq!(welcome(&mut town), [(second, vec![Pickup, Drop])]);
}

/// An order for later, restored: its time has come, or comes.
#[test]
fn a_scheduled_order_enters_the_queue_in_time_after_a_restart_as_well() {
    for (late_s, waits_s) in [(600, 0), (0, 300)] {
        let mut town = Town::new();
        let dispatch_at = town.now + secs(300);
        let later = OrderSpec { dispatch_at: Some(dispatch_at), ready_at: dispatch_at, ..spec(order(1), town.now) };
        town.place_spec(later.clone());
        assert_eq!(town.status(order(1)), Some(OrderStatus::Placed));
        let Some(Write::Place(write)) = town.stored.first().cloned() else { panic!("not placed") };
        let image = CityImage { orders: vec![(later, write.state)], ..CityImage::default() };
        let now = town.now + secs(late_s);
        let (city, _) = City::restore(settings(), 2, now, image);
        let mut town = Town { city, now, ..Town::new() };
        town.on_duty(1, at(12.971, 77.591));
        if waits_s > 0 {
            town.wait(secs(waits_s - 1));
            assert_eq!(town.status(order(1)), Some(OrderStatus::Placed));
        }
        town.ping(1, at(12.971, 77.591));
        town.wait(secs(2));
        assert_eq!(town.status(order(1)), Some(OrderStatus::Offered), "{late_s} s after the restart");
    }
}
