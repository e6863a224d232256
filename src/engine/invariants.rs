//! What must hold of a city after every step. Checked by tests and by the simulation, never trusted to be obvious.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::domain::{
    order::{Custody, OrderStatus},
    time::Timestamp,
};

use super::{
    alarms::INSTANT,
    aside::SLACK_M,
    city::City,
    forward::Stands,
    snapshot::stops_left,
    state::{Deed, LiveOrder, LiveRider, Then},
};

/// The largest `offer_batch` of a policy.
const LARGEST_BATCH: usize = 16;

/// A broken invariant, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);

/// Checks a city.
///
/// # Errors
/// The first broken invariant.
pub fn check(city: &City, now: Timestamp) -> Result<(), Broken> {
    orders_stand_in_one_place(city)?;
    riders_agree_with_orders(city)?;
    offers_agree(city)?;
    index_agrees(city, now)?;
    alarms_agree(city, now)?;
    counts_agree(city, now)?;
    pending_agrees(city)?;
    duties_agree(city)?;
    operations_agree(city, now)
}

fn ensure(holds: bool, words: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken(words())) }
}

fn orders_stand_in_one_place(city: &City) -> Result<(), Broken> {
    let scheduled: BTreeSet<_> = city.scheduled.iter().map(|(_, order)| *order).collect();
    let mut held: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (rider, live) in city.riders.iter() {
        live.orders.iter().for_each(|order| held.entry(*order).or_default().push(*rider));
    }
    for (id, live) in &city.orders {
        let holders = held.get(id).map_or(&[][..], Vec::as_slice);
        let places = usize::from(city.queue.contains(*id)) + usize::from(scheduled.contains(id)) + holders.len().min(1);
        ensure(places == 1, || format!("{id:?} ({}) stands in {places} places", live.state.status))?;
        ensure(holders.len() <= 1, || format!("{id:?} is in the hands of {holders:?}"))?;
        ensure(live.state.status.has_rider() != holders.is_empty(), || {
            format!("{id:?} is {} and in the hands of {holders:?}", live.state.status)
        })?;
        ensure(holders.is_empty() || live.state.rider == holders.first().copied(), || {
            format!("{id:?} belongs to {:?} but is held by {holders:?}", live.state.rider)
        })?;
        ensure(!live.state.status.is_end(), || format!("{id:?} has ended and is still live"))?;
        custody_agrees(live)?;
    }
    let known = |order: &crate::domain::ids::OrderId| city.orders.contains_key(order);
    ensure(city.queue.iter().all(|(order, _)| known(&order)), || "the queue holds an unknown order".to_owned())?;
    ensure(scheduled.iter().all(known), || "an unknown order is scheduled".to_owned())
}

fn custody_agrees(live: &LiveOrder) -> Result<(), Broken> {
    let (status, custody) = (live.state.status, live.state.custody);
    let agrees = match custody {
        Custody::Store => !status.is_carried(),
        Custody::Rider(rider) => status.is_carried() && live.state.rider == Some(rider),
        // The goods wait with their old holder until the next rider has picked them up.
        Custody::Handover { holder, .. } => !status.is_carried() && live.state.rider != Some(holder),
        Custody::Recipient | Custody::Merchant => false,
    };
    ensure(agrees, || format!("{:?} is {status} with custody {custody:?}", live.spec.id))
}

fn riders_agree_with_orders(city: &City) -> Result<(), Broken> {
    // By a policy that was lowered meanwhile, a rider may hold more than is offered now.
    let capacity = usize::try_from(city.most_active).unwrap_or(usize::MAX);
    for (id, live) in city.riders.iter() {
        ensure(live.orders.len() <= capacity, || format!("{id:?} holds {:?}", live.orders))?;
        let mut wanted = Vec::new();
        for order in &live.orders {
            let held = city.orders.get(order);
            let status = held.map(|held| held.state.status);
            ensure(held.is_some_and(|held| held.state.rider == Some(*id)), || {
                format!("{id:?} holds {order:?}, which is {status:?} and not this rider's")
            })?;
            wanted.extend(status.into_iter().flat_map(|status| stops_left(status, *order)));
        }
        ensure(live.plan == wanted, || format!("{id:?} plans {:?} instead of {wanted:?}", live.plan))?;
        ensure(live.outlook == city.outlook(live), || format!("{id:?} has an old outlook: {:?}", live.outlook))?;
        ensure(live.offer.is_none_or(|offer| city.offers.get(&offer).is_some_and(|o| o.rider == *id)), || {
            format!("{id:?} has an offer {:?} that is not open", live.offer)
        })?;
    }
    Ok(())
}

fn offers_agree(city: &City) -> Result<(), Broken> {
    for (id, record) in &city.offers {
        ensure(record.state.is_open(), || format!("{id:?} is {} and still open", record.state))?;
        ensure(city.riders.get(&record.rider).is_some_and(|live| live.offer == Some(*id)), || {
            format!("{id:?} is open, but its rider does not know")
        })?;
        for order in &record.orders {
            ensure(city.orders.get(order).is_some_and(|live| live.offers.contains(id)), || {
                format!("{id:?} is open, but {order:?} does not know")
            })?;
        }
    }
    for (id, live) in &city.orders {
        ensure(live.offers.iter().all(|offer| city.offers.contains_key(offer)), || {
            format!("{id:?} has an offer that is not open")
        })?;
        // An offer on its way to the journal shows in the order's status only after the commit.
        ensure(live.state.status != OrderStatus::Offered || !live.offers.is_empty(), || {
            format!("{id:?} is offered to nobody")
        })?;
        let asked: BTreeSet<_> =
            live.offers.iter().filter_map(|offer| city.offers.get(offer)).map(|record| record.rider).collect();
        ensure(asked.len() == live.offers.len(), || format!("{id:?} is offered to somebody twice"))?;
        // A policy with a smaller batch leaves the open offers as they are.
        ensure(live.offers.len() <= LARGEST_BATCH, || format!("{id:?} is offered to {} riders", live.offers.len()))?;
        let parked = live.state.parked;
        ensure(!parked || (live.state.status == OrderStatus::Queued && live.offers.is_empty()), || {
            format!("{id:?} is parked and {}, with {:?}", live.state.status, live.offers)
        })?;
        ensure(live.declined.keys().all(|rider| live.refusals.contains_key(rider)), || {
            format!("{id:?} remembers what somebody declined who did not refuse")
        })?;
        ensure(live.state.payout_minor.is_none() || live.state.rider.is_some(), || {
            format!("{id:?} pays {:?} to nobody", live.state.payout_minor)
        })?;
    }
    Ok(())
}

/// A rider's duty is the stored one, unless the store is about to hear of it.
fn duties_agree(city: &City) -> Result<(), Broken> {
    let asked: BTreeSet<_> = city
        .pending
        .values()
        .filter_map(|pending| if let Then::Duty { rider, .. } = pending.then { Some(rider) } else { None })
        .collect();
    let forgotten = asked.iter().find(|id| !city.riders.contains_key(id));
    ensure(forgotten.is_none(), || format!("a duty of {forgotten:?} is with the journal and its rider is forgotten"))?;
    for (id, live) in city.riders.iter() {
        let settled = live.duty == live.stored_duty || asked.contains(id) || city.duty_unsaved.contains_key(id);
        ensure(settled, || format!("{id:?} is {} and stored as {} for good", live.duty, live.stored_duty))?;
    }
    Ok(())
}

fn index_agrees(city: &City, now: Timestamp) -> Result<(), Broken> {
    let (mut indexed, mut ahead, mut aside) = (0, 0, 0);
    for (id, live) in city.riders.iter() {
        let in_index = city.index.contains(*id);
        indexed += usize::from(in_index);
        ahead += usize::from(live.stands == Stands::Ahead);
        aside += usize::from(live.stands == Stands::Aside);
        ensure(live.stands.in_index() == in_index, || format!("{id:?} stands in the index or not"))?;
        ensure(live.stands != Stands::Ready || live.orders.is_empty(), || {
            format!("{id:?} is busy and indexed as idle")
        })?;
        ensure((live.stands == Stands::Aside) == city.aside.contains(*id), || format!("{id:?} stands aside or not"))?;
        stands_where_it_says(city, live)?;
        // Who will soon be free joins the index by the next tick.
        let soon = city.forward_from(live).is_some_and(|from| city.last_tick.is_none_or(|tick| from > tick));
        // A rider who has just gone stale stays in the index until the next tick; matching looks at the age itself.
        if city.is_offerable(now, live) {
            ensure(in_index || soon, || format!("{id:?} may be offered work and is not in the index"))?;
        } else if in_index {
            ensure(!city.is_fresh(now, live), || format!("{id:?} is in the index and may not be offered work"))?;
        }
    }
    ensure(ahead == city.ahead, || format!("{ahead} riders are indexed with work in hand, not {}", city.ahead))?;
    ensure(aside == city.aside.len(), || "an unknown rider stands aside".to_owned())?;
    ensure(indexed == city.index.len(), || "the index holds an unknown rider".to_owned())
}

/// The index has a rider's place and means: the place of the last fix, or a moment ago for who stands aside, or where the
/// plan ends.
fn stands_where_it_says(city: &City, live: &LiveRider) -> Result<(), Broken> {
    let (stands, Some((position, means))) = city.standing(live, live.stands.in_index()) else { return Ok(()) };
    let index = if stands.in_index() { &city.index } else { &city.aside };
    let slack_m = if stands == Stands::Aside { SLACK_M } else { 1e-6 };
    let found = index.find(live.profile.id, position);
    let agrees = found.is_some_and(|(metres, has, ticket)| {
        stands == live.stands && metres <= slack_m && *has == means && ticket == live.ticket
    });
    ensure(agrees, || {
        format!("{:?} is {stands:?} at {position:?} with {means:?} and found as {found:?}", live.profile.id)
    })
}

fn counts_agree(city: &City, now: Timestamp) -> Result<(), Broken> {
    let (kept, counted) = (city.counts(now), city.recount(now));
    ensure(kept == counted, || format!("{kept:?} is shown, and there are {counted:?}"))
}

/// Whatever runs out is looked at in time: by the tick after its deadline.
fn alarms_agree(city: &City, now: Timestamp) -> Result<(), Broken> {
    let by = |due: Timestamp| due.max(now + INSTANT);
    let mut set = 0;
    for (id, live) in city.riders.iter() {
        set += usize::from(live.look_at.is_some());
        ensure(live.look_at.is_none_or(|at| city.rider_alarms.is_set(at, *id)), || {
            format!("{id:?} is not looked at at {:?}", live.look_at)
        })?;
        let in_index = city.index.contains(*id);
        let missed = in_index && city.last_tick.is_some_and(|tick| !city.is_fresh(tick, live));
        ensure(!missed, || format!("{id:?} was stale at the last tick and is in the index"))?;
        let due = city.rider_due(live, in_index, city.forward_from(live));
        ensure(due.is_none_or(|due| live.look_at.is_some_and(|at| at <= by(due))), || {
            format!("{id:?} is looked at at {:?}, not at {due:?}", live.look_at)
        })?;
    }
    ensure(set == city.rider_alarms.len(), || "an alarm belongs to no rider".to_owned())?;
    let ttl = city.settings.policy.offer_ttl();
    for (id, record) in &city.offers {
        ensure(city.offer_alarms.is_set_by(by(record.answer_due(ttl)), *id), || {
            format!("nobody looks at {id:?} when its answer is due")
        })?;
    }
    let every = Duration::from_secs(city.settings.policy.round_every_s.into());
    for (id, _) in city.queue.iter() {
        ensure(!city.is_parked_in_vain(id) || city.round_alarms.is_set_by(by(now), id), || {
            format!("nobody lets the search for {id:?} go on")
        })?;
        let Some(since) = city.orders.get(&id).and_then(|live| live.exhausted_since) else { continue };
        ensure(city.round_alarms.is_set_by(by(since + every), id), || {
            format!("nobody begins the next round of {id:?}")
        })?;
    }
    Ok(())
}

/// A held order waits, is offered to nobody, and its hold will end; a rider is kept free for exactly the assignment,
/// or the verdict that gives the rider an order, that is with the journal.
fn operations_agree(city: &City, now: Timestamp) -> Result<(), Broken> {
    for (id, live) in &city.orders {
        let Some(hold) = &live.state.hold else { continue };
        ensure(live.offers.is_empty(), || format!("{id:?} is held and offered: {:?}", live.offers))?;
        ensure(live.state.status.is_waiting(), || format!("{id:?} is held and {}", live.state.status))?;
        ensure(city.hold_alarms.is_set_by(hold.until.max(now + INSTANT), *id), || {
            format!("nobody looks at {id:?} when its hold ends")
        })?;
    }
    let mut given = BTreeMap::new();
    for pending in city.pending.values() {
        if let (
            Then::Operated { deed: Deed::Assigned { rider, .. }, .. } | Then::DisputeClosed { taker: Some(rider), .. },
            Some((order, _)),
        ) = (&pending.then, &pending.change)
        {
            ensure(given.insert(*rider, *order).is_none(), || format!("{rider:?} is given two orders at once"))?;
        }
    }
    for (id, live) in city.riders.iter() {
        ensure(live.reserved == given.get(id).copied(), || {
            format!("{id:?} is kept free for {:?} and given {:?}", live.reserved, given.get(id))
        })?;
    }
    ensure(given.keys().all(|rider| city.riders.contains_key(rider)), || {
        "an order is given to a rider who is not here".to_owned()
    })
}

fn pending_agrees(city: &City) -> Result<(), Broken> {
    let mut with_journal = BTreeSet::new();
    for pending in city.pending.values() {
        if let Some((order, next)) = &pending.change {
            ensure(with_journal.insert(*order), || format!("{order:?} has two writes with the journal"))?;
            ensure(
                city.orders.get(order).is_some_and(|live| {
                    let step = i32::from(!matches!(pending.then, Then::Explained));
                    live.pending && next.version == live.state.version + step
                }),
                || format!("the write of {order:?} does not follow its version"),
            )?;
        } else {
            let alone = matches!(
                pending.then,
                Then::Placed { .. }
                    | Then::Duty { .. }
                    | Then::NextDuty { .. }
                    | Then::Disputed { .. }
                    | Then::OfferNoted { .. }
            );
            ensure(alone, || "a transition of an order names no order".to_owned())?;
        }
    }
    for (id, live) in &city.orders {
        ensure(live.pending == with_journal.contains(id), || format!("{id:?} waits for an answer nobody will give"))?;
    }
    let deferred = city.deferred.iter().find(|(order, waiting)| !waiting.is_empty() && !with_journal.contains(order));
    ensure(city.answered.agrees(), || "a frame waits for an answer nobody will give".to_owned())?;
    ensure(deferred.is_none(), || format!("a command for {deferred:?} waits for nothing"))
}
