//! Faults on purpose, for tests and drills: only in binaries that were built with the feature `fault-injection`.

use actix_web::{HttpResponse, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Deps,
    auth::{Caller, only_admin},
    body::Body,
    check,
    problem::Failure,
};
use crate::{actors::city::Fault, wire::problem::Problem};

/// What is to go wrong.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFault {
    /// `panic`: the city's actor panics in its handler, as a bug would make it.
    pub kind: String,
}

/// Makes a city fail (admin). The answer says that the fault was handed over, not that it has come. Served only by a
/// binary that was built for it.
#[utoipa::path(
    tag = "faults",
    request_body = NewFault,
    params(("code" = String, Path, description = "the city's code")),
    responses(
        (status = 202, description = "what was handed over", body = NewFault),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[post("/v1/cities/{code}/faults")]
pub async fn inject_fault(
    deps: web::Data<Deps>,
    caller: Caller,
    code: web::Path<String>,
    body: Body<NewFault>,
) -> Result<HttpResponse, Failure> {
    only_admin(&caller.0)?;
    let code = check::city(&code)?;
    let fault = match body.0.kind.as_str() {
        "panic" => Fault::Panic,
        _ => return Err(Failure::field("/kind", "must be `panic`")),
    };
    deps.router.city(&code)?.inject(fault)?;
    tracing::warn!(city = %code, ?fault, "a fault was injected");
    Ok(HttpResponse::Accepted().json(body.0))
}
