//! Reading, listing and changing orders.

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;
use uuid::Uuid;

use super::{
    Deps,
    auth::{Caller, may_operate},
    body::Body,
    change::change,
    check,
    convert::{event_body, order_body},
    keyed::Key,
    page,
    problem::{Code, Failure},
    storage,
};
use crate::{
    domain::{
        access::Principal,
        ids::{CityCode, OrderId, RiderId},
        order::OrderStatus,
        time::Timestamp,
    },
    engine::command::{Command, Refusal},
    store::{
        self,
        orders::{OrderFilter, StoredOrder, id_floor},
    },
    wire::{
        problem::Problem,
        rest::{CancelOrder, ChangeReady, Contact, OrderBody, OrderEventBody, OrderPage, OrderReceipt},
    },
};

/// Which orders to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct OrderQuery {
    /// Of one city. An operator of some cities must name one of them.
    pub city: Option<String>,
    /// In one of these states, separated by commas.
    pub status: Option<String>,
    /// Placed at this time or later (RFC 3339).
    pub from: Option<DateTime<Utc>>,
    /// Placed before this time (RFC 3339).
    pub to: Option<DateTime<Utc>>,
    /// Entries per page, at most 200; 50 when absent.
    pub limit: Option<u32>,
    /// The `next` of the page before; goes with the same filter.
    pub page: Option<String>,
}

/// One order with its history. Merchants see their own, operators those of their cities, a rider the one in hand, with
/// the recipient.
#[utoipa::path(
    tag = "orders",
    params(("id" = Uuid, Path, description = "the order")),
    responses(
        (status = 200, description = "the order", body = OrderBody),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[get("/v1/orders/{id}")]
pub async fn get_order(
    deps: web::Data<Deps>,
    caller: Caller,
    id: web::Path<Uuid>,
) -> Result<web::Json<OrderBody>, Failure> {
    let id = OrderId(*id);
    let order = visible(&deps, &caller.0, id).await?;
    let contact = match caller.0 {
        Principal::Rider(_) => contact(&deps, id).await?,
        _ => None,
    };
    let events = store::orders::events(&deps.db, id).await?;
    let knows_the_fleet = matches!(caller.0, Principal::Operator { .. } | Principal::Admin { .. });
    let told = |event| if knows_the_fleet { event_body(event) } else { without_rivals(event_body(event)) };
    let events = Some(events.into_iter().map(told).collect());
    Ok(web::Json(OrderBody { events, contact, ..order_body(order, &caller.0) }))
}

/// An event for whom the fleet around a pickup is no business of.
fn without_rivals(mut event: OrderEventBody) -> OrderEventBody {
    if let Value::Object(data) = &mut event.data {
        data.remove("why");
    }
    event
}

/// Orders, newest first. Merchants see their own.
#[utoipa::path(
    tag = "orders",
    params(OrderQuery),
    responses(
        (status = 200, description = "a page of orders", body = OrderPage),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[get("/v1/orders")]
pub async fn list_orders(
    deps: web::Data<Deps>,
    caller: Caller,
    query: web::Query<OrderQuery>,
) -> Result<web::Json<OrderPage>, Failure> {
    let mut filter = filter(&caller.0, &query)?;
    let name = format!("orders {filter:?}");
    let limit = page::size(&deps, query.limit)?;
    if let Some(token) = &query.page {
        filter.below = filter.below.min(deps.pages.after(&name, token)?);
    }
    let mut orders = store::orders::list(&deps.db, &filter, i64::from(limit) + 1).await?;
    let next = page::cut(&mut orders, limit, |order| order.id).map(|last| deps.pages.token(&name, last));
    Ok(web::Json(OrderPage { orders: orders.into_iter().map(|order| order_body(order, &caller.0)).collect(), next }))
}

/// Calls an order off (its merchant, operator of its city, admin). After pickup the rider brings the goods back
/// (`returning`); while they wait for another rider to take over it is refused with `picked_up`. Answered once it is stored.
#[utoipa::path(
    tag = "orders",
    params(("id" = Uuid, Path, description = "the order"),
           ("Idempotency-Key" = Option<String>, Header, description = "the same request again gets the same answer")),
    request_body = CancelOrder,
    responses(
        (status = 200, description = "stored", body = OrderReceipt),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[post("/v1/orders/{id}/cancel")]
pub async fn cancel_order(
    deps: web::Data<Deps>,
    caller: Caller,
    request: HttpRequest,
    id: web::Path<Uuid>,
    body: Body<CancelOrder>,
) -> Result<HttpResponse, Failure> {
    let reason = check::text("/reason", &body.0.reason, check::MAX_TEXT)?;
    let key = Key::of(&request, &caller.0, Some(request.path()), &body.0)?;
    let (order, actor) = (OrderId(*id), caller.0.actor());
    // What was called off stays called off: the same wish again gets the same answer.
    let settled = |stored: &StoredOrder| stored.status == OrderStatus::Cancelled.as_str();
    let build = move |given, reply| Command::Cancel { order, actor, reason, reply, given };
    Ok(change(&deps, &caller.0, order, body.0.expected_version, key, None, settled, build).await?.response())
}

/// Says when the goods will be ready (its merchant, operator of its city, admin). Answered once it is stored.
#[utoipa::path(
    tag = "orders",
    params(("id" = Uuid, Path, description = "the order"),
           ("Idempotency-Key" = Option<String>, Header, description = "the same request again gets the same answer")),
    request_body = ChangeReady,
    responses(
        (status = 200, description = "stored", body = OrderReceipt),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[post("/v1/orders/{id}/ready")]
pub async fn change_ready(
    deps: web::Data<Deps>,
    caller: Caller,
    request: HttpRequest,
    id: web::Path<Uuid>,
    body: Body<ChangeReady>,
) -> Result<HttpResponse, Failure> {
    let (now, ready_at) = (deps.clock.now(), Timestamp::from(body.0.ready_at));
    let horizon = std::time::Duration::from_secs(u64::from(deps.options.horizon_s));
    if ready_at > now + horizon || ready_at + horizon < now {
        return Err(Failure::field("/ready_at", format!("must lie within {} s of now", deps.options.horizon_s)));
    }
    let key = Key::of(&request, &caller.0, Some(request.path()), &body.0)?;
    let (order, actor) = (OrderId(*id), caller.0.actor());
    let settled = move |stored: &StoredOrder| Timestamp::from(stored.ready_at) == ready_at;
    let build = move |given, reply| Command::ChangeReady { order, ready_at, actor, reply, given };
    Ok(change(&deps, &caller.0, order, body.0.expected_version, key, None, settled, build).await?.response())
}

/// The answer for an order that has ended: its receipt when the wish is `settled` in it; `None` for one that has not ended.
pub fn receipt_of_end(
    order: &StoredOrder,
    settled: &impl Fn(&StoredOrder) -> bool,
) -> Result<Option<OrderReceipt>, Failure> {
    let status = order.status()?;
    match (status.is_end(), settled(order)) {
        (false, _) => Ok(None),
        (true, true) => Ok(Some(OrderReceipt { id: order.id, status: order.status.clone(), version: order.version })),
        (true, false) => Err(Refusal::OrderEnded(status).into()),
    }
}

/// The city of an order.
pub fn city_of(order: &StoredOrder) -> Result<CityCode, Failure> {
    CityCode::parse(&order.city).map_err(Failure::internal)
}

/// The order, for a caller who may see it; to everybody else there is no such order.
pub async fn visible(deps: &Deps, caller: &Principal, id: OrderId) -> Result<StoredOrder, Failure> {
    let unknown = || Failure::new(Code::UnknownOrder);
    let order = storage::read(deps, store::orders::get(&deps.db, id)).await?.ok_or_else(unknown)?;
    let allowed = match caller {
        Principal::Admin { .. } => true,
        Principal::Operator { .. } => caller.may_operate(&city_of(&order)?),
        Principal::Merchant(own) => order.merchant_id == own.0,
        Principal::Rider(own) => has_in_hand(*own, &order)?,
    };
    if allowed { Ok(order) } else { Err(unknown()) }
}

fn has_in_hand(rider: RiderId, order: &StoredOrder) -> Result<bool, Failure> {
    Ok(order.rider_id == Some(rider.0) && order.status()?.has_rider())
}

async fn contact(deps: &Deps, id: OrderId) -> Result<Option<Contact>, Failure> {
    let Some(sealed) = store::contacts::find(&deps.db, id, deps.clock.now()).await? else { return Ok(None) };
    let text = deps.sealer.open(id, &sealed).map_err(Failure::internal)?;
    // The parser's message could quote the contact.
    let contact = serde_json::from_slice(&text).map_err(|_| Failure::internal("a sealed contact is no contact"))?;
    Ok(Some(contact))
}

fn filter(caller: &Principal, query: &OrderQuery) -> Result<OrderFilter, Failure> {
    let city = query.city.as_deref().map(check::city).transpose()?;
    let merchant = match (caller, &city) {
        (Principal::Rider(_), _) => return Err(Failure::new(Code::WrongRole)),
        (Principal::Merchant(own), _) => Some(*own),
        (_, Some(city)) => {
            may_operate(caller, city)?;
            None
        }
        (Principal::Operator { cities, .. }, None) if !cities.is_empty() => {
            return Err(Failure::query("an operator of some cities must name one of them"));
        }
        (_, None) => None,
    };
    let statuses = query.status.as_deref().map(|list| {
        let mut statuses = list.split(',').map(OrderStatus::parse).collect::<Result<Vec<_>, _>>()?;
        statuses.sort_unstable();
        statuses.dedup();
        Ok::<_, crate::domain::text::UnknownName>(statuses)
    });
    let from = query.from.map_or(Uuid::nil(), |at| id_floor(at.into()));
    let below = query.to.map_or(Uuid::max(), |at| id_floor(at.into()));
    if from > below {
        return Err(Failure::query("from must not lie after to"));
    }
    Ok(OrderFilter {
        city,
        merchant,
        statuses: statuses.transpose().map_err(|e| Failure::query(e.to_string()))?,
        from,
        below,
    })
}
