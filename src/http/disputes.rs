//! Disputes: reports of riders that contradict what is stored, and what operators make of them.

use actix_web::{get, post, web};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::{
    Deps,
    auth::{Caller, may_operate},
    body::Body,
    check, page,
    problem::{Code, Failure},
};
use crate::{
    actors::city::CityCallError,
    domain::{
        access::Principal,
        dispute::DisputeStatus,
        ids::{CityCode, DisputeId, OrderId, RiderId},
    },
    engine::command::{Command, Outcome, Refusal, Verdict},
    store::{
        self,
        disputes::{Decision, StoredDispute},
    },
    wire::{
        problem::Problem,
        rest::{CloseDispute, DisputeBody, DisputePage},
    },
};

/// Which disputes to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct DisputeQuery {
    /// `open`, `upheld` or `dismissed`; all of them when absent.
    pub status: Option<String>,
    /// Entries per page, at most 200; 50 when absent.
    pub limit: Option<u32>,
    /// The `next` of the page before; goes with the same filter.
    pub page: Option<String>,
}

/// Disputes of a city, newest first (operator of the city, admin).
#[utoipa::path(
    tag = "disputes",
    params(("code" = String, Path, description = "the city"), DisputeQuery),
    responses(
        (status = 200, description = "a page of disputes", body = DisputePage),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[get("/v1/cities/{code}/disputes")]
pub async fn list_disputes(
    deps: web::Data<Deps>,
    caller: Caller,
    code: web::Path<String>,
    query: web::Query<DisputeQuery>,
) -> Result<web::Json<DisputePage>, Failure> {
    let city = check::city(&code)?;
    may_operate(&caller.0, &city)?;
    let status = query.status.as_deref().map(DisputeStatus::parse).transpose();
    let status = status.map_err(|error| Failure::query(error.to_string()))?;
    let name = format!("disputes {city} {status:?}");
    let limit = page::size(&deps, query.limit)?;
    let below = query.page.as_deref().map_or(Ok(Uuid::max()), |token| deps.pages.after(&name, token))?;
    let mut found = store::disputes::list(&deps.db, &city, status, below, i64::from(limit) + 1).await?;
    let next = page::cut(&mut found, limit, |dispute| dispute.id).map(|last| deps.pages.token(&name, last));
    Ok(web::Json(DisputePage { disputes: found.into_iter().map(dispute_body).collect(), next }))
}

/// Decides a dispute (operator of its city, admin). `upheld`: the report holds. A live order goes where the rider says that
/// it is, unless another rider carries its goods; a rider who cannot take it in hand now is refused (`rider_busy`,
/// `rider_unavailable`), and the dispute stays open. An order that has ended keeps its state, and a delivery or a return is
/// paid as promised, unless somebody was paid for it before. `dismissed`: what is stored holds. Answered once it is stored;
/// the same decision may be sent again.
#[utoipa::path(
    tag = "disputes",
    params(("id" = Uuid, Path, description = "the dispute")),
    request_body = CloseDispute,
    responses(
        (status = 200, description = "decided", body = DisputeBody),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[post("/v1/disputes/{id}/close")]
pub async fn close_dispute(
    deps: web::Data<Deps>,
    caller: Caller,
    id: web::Path<Uuid>,
    body: Body<CloseDispute>,
) -> Result<web::Json<DisputeBody>, Failure> {
    let decided = match &*body.0.decision {
        "upheld" => DisputeStatus::Upheld,
        "dismissed" => DisputeStatus::Dismissed,
        _ => return Err(Failure::field("/decision", "must be upheld or dismissed")),
    };
    let reason = check::text("/reason", &body.0.reason, check::MAX_TEXT)?;
    if !matches!(caller.0, Principal::Operator { .. } | Principal::Admin { .. }) {
        return Err(Failure::new(Code::WrongRole));
    }
    let id = DisputeId(*id);
    let dispute = visible(&deps, &caller.0, id).await?;
    if dispute.status == DisputeStatus::Open.as_str() {
        let decision = Decision { status: decided, reason, actor: caller.0.actor() };
        decide(&deps, &dispute, decision).await?;
    }
    let dispute = visible(&deps, &caller.0, id).await?;
    if dispute.status == decided.as_str() {
        Ok(web::Json(dispute_body(dispute)))
    } else {
        Err(Failure::new(Code::DisputeClosed).because(format!("it was {}", dispute.status)))
    }
}

/// Closes an open dispute: through the city while it has the order, and in the store alone once the order has ended.
async fn decide(deps: &Deps, dispute: &StoredDispute, decision: Decision) -> Result<(), Failure> {
    let (order, rider) = (OrderId(dispute.order_id), RiderId(dispute.rider_id));
    let stored = store::orders::get(&deps.db, order).await?.ok_or_else(|| Failure::new(Code::UnknownOrder))?;
    let promised = store::disputes::promised(&deps.db, order, rider).await?;
    if !stored.status()?.is_end() {
        let (step, at) = dispute.reported()?;
        let verdict = Box::new(Verdict {
            dispute: DisputeId(dispute.id),
            rider,
            step,
            at,
            upheld: decision.status == DisputeStatus::Upheld,
            reason: decision.reason.clone(),
            payout_minor: promised,
        });
        let (city, actor) = (deps.router.city(&city_of(dispute)?)?, decision.actor.clone());
        let asked = city.ask(deps.options.ask(), move |reply| Command::CloseDispute { order, verdict, actor, reply });
        match asked.await {
            Ok(Outcome::Order { .. }) => return Ok(()),
            Ok(other) => return Err(Failure::internal(format!("a verdict was answered with {other:?}"))),
            // Another operator was faster: the second look says how it was decided.
            Err(CityCallError::Refused(Refusal::DisputeClosed)) => return Ok(()),
            // It ended between the two looks.
            Err(CityCallError::Refused(Refusal::UnknownOrder | Refusal::OrderEnded(_))) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let (transition, now) = (deps.clock.new_id(), deps.clock.now());
    // Where another operator was faster, the second look says how it was decided.
    let closed = store::disputes::close_ended(&deps.db, dispute, &decision, promised, transition, now).await?;
    if closed && let Ok(city) = deps.router.city(&city_of(dispute)?) {
        // A city that does not hear of it, or lives elsewhere, adds a later report to the closed dispute: the journal then
        // opens another one.
        let _ = city.tell(Command::DisputeClosed { order, rider, dispute: DisputeId(dispute.id) });
    }
    Ok(())
}

/// The dispute, for a caller who may see it; to everybody else there is no such dispute.
async fn visible(deps: &Deps, caller: &Principal, id: DisputeId) -> Result<StoredDispute, Failure> {
    let unknown = || Failure::new(Code::UnknownDispute);
    let dispute = store::disputes::get(&deps.db, id).await?.ok_or_else(unknown)?;
    if caller.may_operate(&city_of(&dispute)?) { Ok(dispute) } else { Err(unknown()) }
}

fn city_of(dispute: &StoredDispute) -> Result<CityCode, Failure> {
    CityCode::parse(&dispute.city).map_err(Failure::internal)
}

fn dispute_body(dispute: StoredDispute) -> DisputeBody {
    DisputeBody {
        id: dispute.id,
        order_id: dispute.order_id,
        city: dispute.city,
        rider_id: dispute.rider_id,
        kind: dispute.kind,
        report: dispute.report,
        status: dispute.status,
        opened_at: dispute.opened_at,
        closed_at: dispute.closed_at,
        closed_by: dispute.closed_by,
        close_reason: dispute.close_reason,
    }
}
