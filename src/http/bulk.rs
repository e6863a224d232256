//! One action on many orders. Every order has a result of its own: one that fails neither undoes nor stops the others.

use std::collections::BTreeSet;

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, post, web};
use futures_util::{StreamExt, stream};
use serde_json::json;
use uuid::Uuid;

use super::{
    Deps,
    auth::{Caller, may_operate},
    body::Body,
    check,
    keyed::Key,
    operate::{act, priority},
    problem::{Code, Failure},
};
use crate::{
    domain::{
        access::Principal,
        ids::{CityCode, OrderId},
    },
    engine::command::OperatorAction,
    wire::{
        operations::{BulkItem, BulkOperation, BulkResult, BulkResults},
        problem::Problem,
    },
};

/// Most orders of one request.
const MAX_ORDERS: usize = 200;
/// Orders that are with their city at once: enough to share the journal's transactions, few enough to leave room in the
/// city's queue.
const AT_ONCE: usize = 16;

/// Does one thing with up to 200 orders of a city (operator of the city, admin): `unassign`, `hold` (with `until`),
/// `release`, `cancel` or `priority` (with `priority`). The answer has one result per order, in the order of the request.
/// With an `Idempotency-Key` it may be sent again: what was done is answered as the first time, the rest is tried again.
#[utoipa::path(
    tag = "operators",
    params(("code" = String, Path, description = "the city's code"),
           ("Idempotency-Key" = Option<String>, Header, description = "the same request again does nothing twice")),
    request_body = BulkOperation,
    responses(
        (status = 207, description = "a result per order", body = BulkResults),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[post("/v1/cities/{code}/orders/bulk")]
pub async fn bulk_operate(
    deps: web::Data<Deps>,
    caller: Caller,
    request: HttpRequest,
    code: web::Path<String>,
    body: Body<BulkOperation>,
) -> Result<HttpResponse, Failure> {
    let code = check::city(&code)?;
    may_operate(&caller.0, &code)?;
    let given = body.0;
    let action = read(&given)?;
    let reason = check::text("/reason", &given.reason, check::MAX_TEXT)?;
    let different: BTreeSet<Uuid> = given.orders.iter().map(|item| item.id).collect();
    if given.orders.is_empty() || given.orders.len() > MAX_ORDERS || different.len() < given.orders.len() {
        return Err(Failure::field("/orders", format!("takes 1 to {MAX_ORDERS} different orders")));
    }
    let key = Key::of(&request, &caller.0, None, &json!(null))?;
    let items = given.orders.iter().map(|item| {
        let (key, reason) = (key.as_ref(), reason.clone());
        let what = json!({ "action": given.action, "reason": given.reason, "until": given.until,
                           "priority": given.priority, "order": item });
        let key = key.map(|key| key.part(&item.id.to_string(), &what));
        one(&deps, &caller.0, item, (action, reason), key, &code)
    });
    let results: Vec<BulkResult> = stream::iter(items).buffered(AT_ONCE).collect().await;
    let done = results.iter().filter(|result| result.problem.is_none()).count();
    let body = BulkResults { done, failed: results.len() - done, results };
    Ok(HttpResponse::build(StatusCode::MULTI_STATUS).json(body))
}

async fn one(
    deps: &Deps,
    caller: &Principal,
    item: &BulkItem,
    (action, reason): (OperatorAction, String),
    key: Option<Result<Key, Failure>>,
    city: &CityCode,
) -> BulkResult {
    let done = match key.transpose() {
        Ok(key) => act(deps, caller, OrderId(item.id), (action, reason, item.expected_version), key, Some(city)).await,
        Err(failure) => Err(failure),
    };
    match done {
        Ok(done) => {
            let (status, version) = (Some(done.receipt.status), Some(done.receipt.version));
            BulkResult { id: item.id, status, version, replayed: done.replayed, problem: None }
        }
        Err(failure) => {
            deps.figures.part_failed(&failure);
            let problem = Some(failure.problem());
            BulkResult { id: item.id, status: None, version: None, replayed: false, problem }
        }
    }
}

fn read(given: &BulkOperation) -> Result<OperatorAction, Failure> {
    let needed = |pointer: &str| Failure::new(Code::MissingField).at(pointer);
    Ok(match given.action.as_str() {
        "unassign" => OperatorAction::Unassign,
        "hold" => OperatorAction::Hold { until: given.until.ok_or_else(|| needed("/until"))?.into() },
        "release" => OperatorAction::Release,
        "cancel" => OperatorAction::Cancel,
        "priority" => {
            OperatorAction::SetPriority { level: priority(given.priority.ok_or_else(|| needed("/priority"))?)? }
        }
        _ => return Err(Failure::field("/action", "takes unassign, hold, release, cancel or priority")),
    })
}
