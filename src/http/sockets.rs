//! The socket upgrades: who may open which socket. Everything further is said on the socket itself.

use actix_web::{HttpRequest, HttpResponse, get, web};

use super::{Deps, auth::SocketCaller, auth::may_operate, check, problem::Code, problem::Failure};
use crate::{
    actors::{
        operator_session::{self, OperatorSocketDeps},
        rider_session::{self, RiderSocketDeps},
    },
    domain::access::Principal,
    wire::problem::Problem,
};

/// The socket of a rider's device.
#[utoipa::path(
    tag = "sockets",
    responses(
        (status = 101, description = "subprotocol dispatch.v1.json"),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[get("/v1/rider/socket")]
pub async fn open_rider_socket(
    req: HttpRequest,
    payload: web::Payload,
    caller: SocketCaller,
    sockets: web::Data<RiderSocketDeps>,
) -> Result<HttpResponse, actix_web::Error> {
    match caller.0 {
        Principal::Rider(rider) => rider_session::upgrade(&req, payload, rider, &sockets),
        _ => Err(Failure::new(Code::WrongRole).into()),
    }
}

/// The socket of an operator who watches a city.
#[utoipa::path(
    tag = "sockets",
    params(("code" = String, Path, description = "the city's code")),
    responses(
        (status = 101, description = "subprotocol dispatch.operator.v1.json"),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[get("/v1/operator/cities/{code}/socket")]
pub async fn open_operator_socket(
    req: HttpRequest,
    payload: web::Payload,
    caller: SocketCaller,
    code: web::Path<String>,
    deps: web::Data<Deps>,
    sockets: web::Data<OperatorSocketDeps>,
) -> Result<HttpResponse, actix_web::Error> {
    let code = check::city(&code)?;
    may_operate(&caller.0, &code)?;
    let city = deps.router.city(&code).map_err(Failure::from)?;
    operator_session::upgrade(&req, payload, city, &sockets)
}
