//! Why an order went to whom it went: its stored story, and how it stands this moment by its city's word.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::{get, web};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Deps,
    auth::{Caller, may_operate},
    convert::event_body,
    orders::city_of,
    problem::{Code, Failure},
};
use crate::{
    actors::{city::CityCallError, operator_session::order_row},
    domain::{
        access::Principal,
        ids::{CityCode, OrderId},
    },
    engine::{
        command::{Command, Outcome, Refusal},
        view::OrderExplained,
    },
    store,
    wire::{
        explain::{ExplainBody, ExplainedNow},
        problem::Problem,
        rest::OrderEventBody,
    },
};

/// Events between an order and the riders.
const TOLD: [&str; 9] = [
    "offered",
    "offer_declined",
    "offer_expired",
    "offer_withdrawn",
    "not_assigned",
    "assigned",
    "unassigned",
    "handover",
    "expired",
];

/// Why an order went to whom it went, and why it waits (operator of its city, or admin).
#[utoipa::path(
    tag = "orders",
    params(("id" = Uuid, Path, description = "the order")),
    responses(
        (status = 200, description = "the explanation", body = ExplainBody),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[get("/v1/orders/{id}/explain")]
pub async fn explain_order(
    deps: web::Data<Deps>,
    caller: Caller,
    id: web::Path<Uuid>,
) -> Result<web::Json<ExplainBody>, Failure> {
    if matches!(caller.0, Principal::Merchant(_) | Principal::Rider(_)) {
        return Err(Failure::new(Code::WrongRole));
    }
    let id = OrderId(*id);
    let order = store::orders::get(&deps.db, id).await?.ok_or_else(|| Failure::new(Code::UnknownOrder))?;
    let city = city_of(&order)?;
    // To the operators of other cities there is no such order.
    may_operate(&caller.0, &city).map_err(|_| Failure::new(Code::UnknownOrder))?;
    let events = store::orders::events(&deps.db, id).await?.into_iter();
    let story: Vec<OrderEventBody> =
        events.filter(|event| TOLD.contains(&event.kind.as_str())).map(event_body).collect();
    let now = if order.status()?.is_end() { Ok(None) } else { ask(&deps, &city, id).await };
    let (now, now_problem) = match now {
        Ok(now) => (now, None),
        // The story is true without the city.
        Err(failure) => (None, Some(failure.code().as_str().to_owned())),
    };
    let mut ids: BTreeSet<Uuid> = order.rider_id.into_iter().collect();
    story.iter().for_each(|event| named_in(&event.data, &mut ids));
    now.iter().filter_map(|now| now.why.as_ref()).for_each(|why| named_in(why, &mut ids));
    ids.extend(now.as_ref().and_then(|now| now.order.rider));
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let riders: BTreeMap<Uuid, String> = store::riders::names(&deps.db, &ids).await?;
    Ok(web::Json(ExplainBody {
        id: id.0,
        status: order.status,
        version: order.version,
        rider_id: order.rider_id,
        story,
        now,
        now_problem,
        riders,
    }))
}

/// How the order stands by its city's word; `None` when it has ended meanwhile.
async fn ask(deps: &Deps, city: &CityCode, order: OrderId) -> Result<Option<ExplainedNow>, Failure> {
    let city = deps.router.city(city)?;
    match city.ask(deps.options.ask(), move |reply| Command::Explain { order, reply }).await {
        Ok(Outcome::Explained(explained)) => Ok(Some(explained_now(*explained))),
        Ok(other) => Err(Failure::internal(format!("a question about an order was answered with {other:?}"))),
        Err(CityCallError::Refused(Refusal::OrderEnded(_) | Refusal::UnknownOrder)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn explained_now(explained: OrderExplained) -> ExplainedNow {
    ExplainedNow { at: explained.at.as_millis(), order: order_row(&explained.order), why: explained.why }
}

/// The ids that stand in particulars: riders are found among them by their names.
fn named_in(value: &Value, ids: &mut BTreeSet<Uuid>) {
    match value {
        Value::String(text) => ids.extend(text.parse::<Uuid>().ok()),
        Value::Array(items) => items.iter().for_each(|item| named_in(item, ids)),
        Value::Object(fields) => fields.values().for_each(|field| named_in(field, ids)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
