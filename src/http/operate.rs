//! Operators step in: one route per action. Every action has a reason, is audited, and may name the version of the order
//! that the operator saw.

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Deps,
    auth::Caller,
    body::Body,
    change::{Changed, change},
    check,
    keyed::Key,
    orders::visible,
    problem::{Code, Failure},
};
use crate::{
    domain::{
        access::Principal,
        ids::{CityCode, OrderId, RiderId},
        order::OrderStatus,
        steering::Priority,
    },
    engine::command::{Command, OperatorAction},
    store::{self, audit::StoredAct, orders::StoredOrder},
    wire::{
        operations::{AuditBody, GiveOrder, HoldOrder, Operation, SetPriority},
        problem::Problem,
        rest::OrderReceipt,
    },
};

/// Lines of the audit log that are shown of one order; more than anybody does with one.
const MAX_ACTS: i64 = 1_000;

/// Gives a waiting order to a rider, unasked (operator of the city, admin). The rider must be on duty here, approved, with a
/// hand and room free; `force` passes over the vehicle and over nothing else. Open offers are taken back.
#[utoipa::path(
    tag = "operators",
    params(("id" = Uuid, Path, description = "the order"),
           ("Idempotency-Key" = Option<String>, Header, description = "the same request again gets the same answer")),
    request_body = GiveOrder,
    responses(
        (status = 200, description = "stored, or so already", body = OrderReceipt),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[post("/v1/orders/{id}/assign")]
pub async fn assign_order(
    deps: web::Data<Deps>,
    caller: Caller,
    request: HttpRequest,
    id: web::Path<Uuid>,
    body: Body<GiveOrder>,
) -> Result<HttpResponse, Failure> {
    give(&deps, &caller.0, &request, OrderId(*id), &body.0, |rider, force| OperatorAction::Assign { rider, force })
        .await
}

/// Gives an order whose goods are not picked up to another rider (operator of the city, admin); as for `assign`. Once they
/// are picked up it is refused with `picked_up`: a handover is the way.
#[utoipa::path(
    tag = "operators",
    params(("id" = Uuid, Path, description = "the order"),
           ("Idempotency-Key" = Option<String>, Header, description = "the same request again gets the same answer")),
    request_body = GiveOrder,
    responses(
        (status = 200, description = "stored, or so already", body = OrderReceipt),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[post("/v1/orders/{id}/reassign")]
pub async fn reassign_order(
    deps: web::Data<Deps>,
    caller: Caller,
    request: HttpRequest,
    id: web::Path<Uuid>,
    body: Body<GiveOrder>,
) -> Result<HttpResponse, Failure> {
    give(&deps, &caller.0, &request, OrderId(*id), &body.0, |rider, force| OperatorAction::Reassign { rider, force })
        .await
}

/// Takes an order whose goods are not picked up away from its rider; it waits for another one (operator of the city, admin).
#[utoipa::path(
    tag = "operators",
    params(("id" = Uuid, Path, description = "the order"),
           ("Idempotency-Key" = Option<String>, Header, description = "the same request again gets the same answer")),
    request_body = Operation,
    responses(
        (status = 200, description = "stored, or so already", body = OrderReceipt),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[post("/v1/orders/{id}/unassign")]
pub async fn unassign_order(
    deps: web::Data<Deps>,
    caller: Caller,
    request: HttpRequest,
    id: web::Path<Uuid>,
    body: Body<Operation>,
) -> Result<HttpResponse, Failure> {
    let asked = (OperatorAction::Unassign, body.0.reason.as_str(), body.0.expected_version);
    operate(&deps, &caller.0, &request, OrderId(*id), asked, &body.0).await
}

/// Keeps a waiting order from being offered until a time (operator of the city, admin). The hold is its operator's, who may
/// make it longer; anybody may release it; it ends by itself. Open offers are taken back.
#[utoipa::path(
    tag = "operators",
    params(("id" = Uuid, Path, description = "the order"),
           ("Idempotency-Key" = Option<String>, Header, description = "the same request again gets the same answer")),
    request_body = HoldOrder,
    responses(
        (status = 200, description = "stored, or so already", body = OrderReceipt),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[post("/v1/orders/{id}/hold")]
pub async fn hold_order(
    deps: web::Data<Deps>,
    caller: Caller,
    request: HttpRequest,
    id: web::Path<Uuid>,
    body: Body<HoldOrder>,
) -> Result<HttpResponse, Failure> {
    let given = body.0;
    let action = OperatorAction::Hold { until: given.until.into() };
    let asked = (action, given.reason.as_str(), given.expected_version);
    operate(&deps, &caller.0, &request, OrderId(*id), asked, &given).await
}

/// Ends a hold, whoever's it is: the order may be offered again (operator of the city, admin).
#[utoipa::path(
    tag = "operators",
    params(("id" = Uuid, Path, description = "the order"),
           ("Idempotency-Key" = Option<String>, Header, description = "the same request again gets the same answer")),
    request_body = Operation,
    responses(
        (status = 200, description = "stored, or so already", body = OrderReceipt),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[post("/v1/orders/{id}/release")]
pub async fn release_order(
    deps: web::Data<Deps>,
    caller: Caller,
    request: HttpRequest,
    id: web::Path<Uuid>,
    body: Body<Operation>,
) -> Result<HttpResponse, Failure> {
    let asked = (OperatorAction::Release, body.0.reason.as_str(), body.0.expected_version);
    operate(&deps, &caller.0, &request, OrderId(*id), asked, &body.0).await
}

/// Moves an order before or behind the others that are due (operator of the city, admin): of these, the higher priority
/// takes its rider first, whatever their times.
#[utoipa::path(
    tag = "operators",
    params(("id" = Uuid, Path, description = "the order"),
           ("Idempotency-Key" = Option<String>, Header, description = "the same request again gets the same answer")),
    request_body = SetPriority,
    responses(
        (status = 200, description = "stored, or so already", body = OrderReceipt),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[post("/v1/orders/{id}/priority")]
pub async fn prioritise_order(
    deps: web::Data<Deps>,
    caller: Caller,
    request: HttpRequest,
    id: web::Path<Uuid>,
    body: Body<SetPriority>,
) -> Result<HttpResponse, Failure> {
    let given = body.0;
    let action = OperatorAction::SetPriority { level: priority(given.priority)? };
    let asked = (action, given.reason.as_str(), given.expected_version);
    operate(&deps, &caller.0, &request, OrderId(*id), asked, &given).await
}

/// What operators did with an order, oldest first (operator of the city, admin).
#[utoipa::path(
    tag = "operators",
    params(("id" = Uuid, Path, description = "the order")),
    responses(
        (status = 200, description = "the lines of the audit log", body = Vec<AuditBody>),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[get("/v1/orders/{id}/audit")]
pub async fn get_audit(
    deps: web::Data<Deps>,
    caller: Caller,
    id: web::Path<Uuid>,
) -> Result<web::Json<Vec<AuditBody>>, Failure> {
    only_operators(&caller.0)?;
    visible(&deps, &caller.0, OrderId(*id)).await?;
    let acts = store::audit::of_order(&deps.db, OrderId(*id), MAX_ACTS).await?;
    Ok(web::Json(acts.into_iter().map(audit_body).collect()))
}

/// A priority of the wire.
pub fn priority(level: i64) -> Result<Priority, Failure> {
    Priority::new(level).map_err(|error| Failure::field("/priority", error.to_string()))
}

/// Lets operators and administrators pass.
pub fn only_operators(caller: &Principal) -> Result<(), Failure> {
    match caller {
        Principal::Operator { .. } | Principal::Admin { .. } => Ok(()),
        Principal::Rider(_) | Principal::Merchant(_) => Err(Failure::new(Code::WrongRole)),
    }
}

/// Does one action of an operator, who sees the orders of her own cities only; `within` names one of them.
///
/// # Errors
/// What the city refuses with, or what the caller may not do.
pub async fn act(
    deps: &Deps,
    caller: &Principal,
    order: OrderId,
    (action, reason, expected_version): (OperatorAction, String, Option<i32>),
    key: Option<Key>,
    within: Option<&CityCode>,
) -> Result<Changed, Failure> {
    let by = caller.actor();
    let cancels = matches!(action, OperatorAction::Cancel);
    let build = move |given, reply| Command::Operate { order, action, by, reason, given, reply };
    // What was called off stays called off.
    let settled = move |stored: &StoredOrder| cancels && stored.status == OrderStatus::Cancelled.as_str();
    change(deps, caller, order, expected_version, key, within, settled, build).await
}

/// Gives an order to the rider whom a body names.
async fn give(
    deps: &Deps,
    caller: &Principal,
    request: &HttpRequest,
    order: OrderId,
    given: &GiveOrder,
    action: fn(RiderId, bool) -> OperatorAction,
) -> Result<HttpResponse, Failure> {
    let action = action(RiderId(given.rider_id), given.force);
    operate(deps, caller, request, order, (action, &given.reason, given.expected_version), given).await
}

async fn operate(
    deps: &Deps,
    caller: &Principal,
    request: &HttpRequest,
    order: OrderId,
    (action, reason, expected_version): (OperatorAction, &str, Option<i32>),
    body: &impl Serialize,
) -> Result<HttpResponse, Failure> {
    only_operators(caller)?;
    let reason = check::text("/reason", reason, check::MAX_TEXT)?;
    let key = Key::of(request, caller, Some(request.path()), body)?;
    Ok(act(deps, caller, order, (action, reason, expected_version), key, None).await?.response())
}

fn audit_body(act: StoredAct) -> AuditBody {
    AuditBody {
        id: act.id,
        at: act.at,
        actor_kind: act.actor_kind,
        actor_id: act.actor_id,
        action: act.action,
        rider_id: act.rider_id,
        reason: act.reason,
        detail: act.detail,
    }
}
