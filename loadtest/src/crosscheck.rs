//! The cross-check: what the clients were told against what the engine stored, read back through its API.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use dispatch_engine::wire::rest::{OrderBody, OrderEventBody};
use futures_util::{StreamExt, stream};
use uuid::Uuid;

use crate::{
    api::{Api, ApiError},
    ledger::{Books, Difference, Told, is_end},
};

/// Histories read at the same time.
const PARALLEL: usize = 8;

/// Attempts at a request of the check before it fails.
const ATTEMPTS: u32 = 5;

/// What was read back.
#[derive(Debug, Default)]
pub struct Stored {
    /// Every order of the run, by reference prefix; one that was listed twice is here twice.
    pub orders: Vec<OrderBody>,
    /// Orders that clients were told of and that belong to someone else's run.
    pub foreign: BTreeSet<Uuid>,
    /// Orders whose history was read.
    pub histories: usize,
}

/// Reads the run's orders of all cities with the history of at most `histories` of them (an even sample above that),
/// and looks up what clients were told of beyond them.
///
/// # Errors
/// [`ApiError`] when a page or an order cannot be read after some attempts.
pub async fn read(
    api: &Api,
    cities: &[String],
    prefix: &str,
    times: (DateTime<Utc>, DateTime<Utc>),
    told: &BTreeSet<Uuid>,
    histories: usize,
) -> Result<Stored, ApiError> {
    let mut stored = Stored::default();
    for city in cities {
        let mut page: Option<String> = None;
        loop {
            let next = again(|| api.orders(city, times.0, times.1, page.as_deref())).await?;
            let ours = |order: &OrderBody| order.external_ref.as_deref().is_some_and(|r| r.starts_with(prefix));
            stored.orders.extend(next.orders.into_iter().filter(ours));
            page = next.next;
            if page.is_none() {
                break;
            }
        }
    }
    let listed: BTreeSet<Uuid> = stored.orders.iter().map(|order| order.id).collect();
    for order in told.difference(&listed) {
        match again(|| api.order(*order)).await {
            Ok(body) if body.external_ref.as_deref().is_some_and(|r| r.starts_with(prefix)) => stored.orders.push(body),
            Ok(_) => {
                stored.foreign.insert(*order);
            }
            Err(ApiError::Refused { status: 404, .. }) => {}
            Err(e) => return Err(e),
        }
    }
    let step = stored.orders.len().div_ceil(histories.max(1)).max(1);
    let sample: Vec<Uuid> = stored.orders.iter().step_by(step).map(|order| order.id).collect();
    stored.histories = sample.len();
    let mut read = stream::iter(sample).map(|id| async move { again(|| api.order(id)).await }).buffered(PARALLEL);
    let mut bodies = BTreeMap::new();
    while let Some(body) = read.next().await {
        let body = body?;
        bodies.insert(body.id, body);
    }
    drop(read);
    for order in &mut stored.orders {
        if let Some(body) = bodies.remove(&order.id) {
            *order = body;
        }
    }
    Ok(stored)
}

/// Makes a request again while the engine asks for it.
async fn again<T, F: Future<Output = Result<T, ApiError>>>(request: impl Fn() -> F) -> Result<T, ApiError> {
    let mut attempt = 1;
    loop {
        match request().await {
            Err(e) if attempt < ATTEMPTS => match e.retry_after() {
                Some(wait) => tokio::time::sleep(wait * attempt).await,
                None => return Err(e),
            },
            answer => return answer,
        }
        attempt += 1;
    }
}

/// Every disagreement between the books and the store.
pub fn compare(books: &Books, stored: &Stored) -> Vec<Difference> {
    let mut found = books.contradictions();
    let mut differ = |kind, order: Uuid, detail: String| found.push(Difference { kind, order: Some(order), detail });

    let mut by_id: BTreeMap<Uuid, &OrderBody> = BTreeMap::new();
    let mut by_ref: BTreeMap<&str, Uuid> = BTreeMap::new();
    for order in &stored.orders {
        if by_id.insert(order.id, order).is_some() {
            differ("stored_twice", order.id, "listed twice".into());
        }
        let reference = order.external_ref.as_deref().unwrap_or_default();
        if let Some(other) = by_ref.insert(reference, order.id) {
            differ("reference_twice", order.id, format!("{reference} is also order {other}"));
        }
        match books.placed.get(reference) {
            None if !books.in_doubt.contains(reference) => {
                differ(
                    "unknown",
                    order.id,
                    format!("{reference} is stored, but its placement was refused or not made"),
                );
            }
            Some(told) if *told != order.id => {
                differ("other_id", order.id, format!("{reference} was told to be order {told}"));
            }
            _ => {}
        }
        for (kind, detail) in history(order) {
            differ(kind, order.id, detail);
        }
    }
    for (id, told) in &books.orders {
        match by_id.get(id) {
            Some(order) => {
                for (kind, detail) in standing(told, order) {
                    differ(kind, *id, detail);
                }
            }
            None if stored.foreign.contains(id) => {}
            None => {
                let name = told.placed_as.as_deref().unwrap_or("by a rider");
                differ("missing", *id, format!("told ({name}), but not stored"));
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// What was told of one order against what is stored: the stored state must be the told one or a later one.
fn standing(told: &Told, stored: &OrderBody) -> Vec<(&'static str, String)> {
    let mut found = vec![];
    if let Some((version, status)) = &told.latest {
        if stored.version < *version {
            found.push(("behind", format!("told version {version}, stored {}", stored.version)));
        } else if stored.version == *version && stored.status != *status {
            found.push(("other_status", format!("version {version}: told {status}, stored {}", stored.status)));
        }
    }
    if let Some(end) = &told.end
        && stored.status != *end
    {
        found.push(("other_end", format!("told {end}, stored {}", stored.status)));
    }
    let called_off = matches!(stored.status.as_str(), "cancelled" | "expired");
    if told.carried && !told.handed_over && called_off {
        found.push(("lost_goods", format!("told picked up, stored {}", stored.status)));
    }
    // Goods that were handed over have had several riders, and the last news of the former one may be old.
    let rider = told.ended_by.or(told.rider.filter(|_| !told.handed_over));
    if let Some(rider) = rider
        && !called_off
        && stored.rider_id != Some(rider)
    {
        found.push(("other_rider", format!("told {rider}, stored {:?}", stored.rider_id)));
    }
    found
}

/// An order's own history: numbered without a gap, versions never falling and ending where the order stands, an end with
/// its time and, where it is not a delivery, its reason.
fn history(order: &OrderBody) -> Vec<(&'static str, String)> {
    let mut found = vec![];
    if is_end(&order.status) {
        if order.ended_at.is_none() {
            found.push(("end_without_time", order.status.clone()));
        }
        if order.status != "delivered" && order.end_reason.is_none() {
            found.push(("end_without_reason", order.status.clone()));
        }
    }
    let Some(events) = &order.events else { return found };
    for (expected, event) in (1..).zip(events) {
        if event.seq != expected {
            found.push(("history_gap", format!("event {} where {expected} was due", event.seq)));
            break;
        }
    }
    if let Some(pair) = events.windows(2).find(|pair| pair[1].version < pair[0].version) {
        found.push(("history_falls", format!("version {} after {}", pair[1].version, pair[0].version)));
    }
    let last = events.last().map(|event: &OrderEventBody| event.version);
    if last != Some(order.version) {
        found.push(("history_ends_early", format!("last event {last:?}, order version {}", order.version)));
    }
    found
}

#[cfg(test)]
mod tests {
    use dispatch_engine::wire::{MoneyBody, PlaceBody, rest::OrderReceipt};

    use super::*;

    const A: Uuid = Uuid::from_u128(0xA);
    const ORDER: Uuid = Uuid::from_u128(1);

    fn event(seq: i32, version: i32) -> OrderEventBody {
        OrderEventBody {
            seq,
            version,
            kind: "queued".into(),
            actor_kind: "engine".into(),
            actor_id: None,
            reason: None,
            data: serde_json::Value::Null,
            at: DateTime::UNIX_EPOCH,
        }
    }

    fn body(status: &str, version: i32, rider: Option<Uuid>) -> OrderBody {
        let place = PlaceBody { lat: 1.0, lon: 1.0, hint: None };
        let money = MoneyBody { minor: 1, currency: "INR".into() };
        OrderBody {
            id: ORDER,
            city: "blr".into(),
            merchant_id: Uuid::nil(),
            external_ref: Some("lt-x-1".into()),
            store: None,
            status: status.into(),
            version,
            rider_id: rider,
            custody: "store".into(),
            pickup: place.clone(),
            drop: place,
            ready_at: DateTime::UNIX_EPOCH,
            promise_at: DateTime::UNIX_EPOCH,
            dispatch_at: None,
            due_at: None,
            assigned_at: None,
            picked_up_at: None,
            delivered_at: None,
            ended_at: is_end(status).then_some(DateTime::UNIX_EPOCH),
            end_reason: is_end(status).then(|| "why".into()),
            size_units: 1,
            vehicle_need: None,
            needs_tags: vec![],
            cash_to_collect: money.clone(),
            payout: money,
            offers_tried: 0,
            metadata: serde_json::Map::new(),
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
            priority: 0,
            hold: None,
            events: Some((1..=version).map(|v| event(v, v)).collect()),
            contact: None,
        }
    }

    fn told() -> Books {
        let mut books = Books::default();
        books.placed("lt-x-1", &OrderReceipt { id: ORDER, status: "queued".into(), version: 1 });
        books.assigned(A, ORDER, "assigned", 3);
        books
    }

    fn kinds(books: &Books, orders: Vec<OrderBody>) -> Vec<&'static str> {
        let stored = Stored { orders, ..Stored::default() };
        compare(books, &stored).into_iter().map(|d| d.kind).collect()
    }

    #[test]
    fn the_same_or_a_later_state_agrees() {
        assert!(kinds(&told(), vec![body("assigned", 3, Some(A))]).is_empty());
        assert!(kinds(&told(), vec![body("delivered", 7, Some(A))]).is_empty());
    }

    #[test]
    fn each_disagreement_has_its_name() {
        assert_eq!(kinds(&told(), vec![]), ["missing"]);
        assert_eq!(kinds(&told(), vec![body("assigned", 2, Some(A))]), ["behind"]);
        assert_eq!(kinds(&told(), vec![body("queued", 3, Some(A))]), ["other_status"]);
        assert_eq!(kinds(&told(), vec![body("assigned", 3, None)]), ["other_rider"]);
        assert_eq!(kinds(&Books::default(), vec![body("queued", 1, None)]), ["unknown"]);
        let order = body("assigned", 3, Some(A));
        assert_eq!(kinds(&told(), vec![order.clone(), order.clone()]), ["reference_twice", "stored_twice"]);
        let copy = OrderBody { id: Uuid::from_u128(2), ..order.clone() };
        assert_eq!(kinds(&told(), vec![order, copy]), ["other_id", "reference_twice"]);
    }

    #[test]
    fn an_end_that_was_told_stays() {
        let mut books = told();
        books.progressed(A, ORDER, "picked_up", Some(4), true);
        assert_eq!(kinds(&books, vec![body("expired", 9, Some(A))]), ["lost_goods"]);
        books.progressed(A, ORDER, "delivered", Some(5), false);
        assert!(kinds(&books, vec![body("delivered", 5, Some(A))]).is_empty());
        assert_eq!(kinds(&books, vec![body("returned", 9, Some(A))]), ["other_end"]);
    }

    #[test]
    fn a_history_has_no_holes() {
        let with = |events| vec![OrderBody { events: Some(events), ..body("assigned", 3, Some(A)) }];
        assert_eq!(kinds(&told(), with(vec![event(1, 1), event(3, 3)])), ["history_gap"]);
        assert_eq!(kinds(&told(), with(vec![event(1, 4), event(2, 3)])), ["history_falls"]);
        assert_eq!(kinds(&told(), with(vec![event(1, 1), event(2, 2)])), ["history_ends_early"]);
        let quiet = OrderBody { end_reason: None, ..body("cancelled", 4, Some(A)) };
        assert_eq!(kinds(&told(), vec![quiet]), ["end_without_reason"]);
    }

    #[test]
    fn doubt_and_other_runs_are_no_disagreement() {
        let mut books = Books::default();
        books.doubt("lt-x-1");
        assert!(kinds(&books, vec![body("queued", 1, None)]).is_empty());
        books.assigned(A, Uuid::from_u128(9), "assigned", 2);
        let stored = Stored { foreign: [Uuid::from_u128(9)].into(), ..Stored::default() };
        assert!(compare(&books, &stored).is_empty());
    }
}
