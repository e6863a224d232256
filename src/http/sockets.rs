//! Socket upgrades: who calls is checked here, all that follows is said on the socket.

use actix_web::{HttpRequest, HttpResponse, get, http::StatusCode, web};

use super::{
    Deps,
    auth::{SocketCaller, may_operate},
    check,
    problem::{Code, Failure},
    server::hand_over,
};
use crate::{
    actors::{operator_session, rider_session},
    domain::access::Principal,
    wire::{frames::Encoding, operator::SUBPROTOCOL_OPERATOR_JSON, problem::Problem},
};

/// The socket of a rider's device, subprotocol `dispatch.v1.json` or `dispatch.v1.msgpack` (rider).
#[utoipa::path(
    tag = "sockets",
    params(("access_token" = Option<String>, Query, description = "the token, where no header can be set")),
    responses(
        (status = 101, description = "the socket"),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[get("/v1/rider/socket")]
pub async fn rider_socket(
    deps: web::Data<Deps>,
    caller: SocketCaller,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let Principal::Rider(rider) = caller.0 else { return Err(Failure::new(Code::WrongRole).into()) };
    let response = rider_session::upgrade(&request, payload, rider, &deps.rider_sockets)?;
    Ok(accepted(&request, response, &Encoding::SUBPROTOCOLS)?)
}

/// The live view of a city, subprotocol `dispatch.operator.v1.json` (operator of the city, or admin).
#[utoipa::path(
    tag = "sockets",
    params(
        ("code" = String, Path, description = "the city's code"),
        ("access_token" = Option<String>, Query, description = "the token, where no header can be set"),
    ),
    responses(
        (status = 101, description = "the socket"),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[get("/v1/operator/cities/{code}/socket")]
pub async fn operator_socket(
    deps: web::Data<Deps>,
    caller: SocketCaller,
    code: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let code = check::city(&code)?;
    may_operate(&caller.0, &code)?;
    let city = deps.router.city(&code).map_err(Failure::from)?;
    let response = operator_session::upgrade(&request, payload, city, &deps.operator_sockets)?;
    Ok(accepted(&request, response, &[SUBPROTOCOL_OPERATOR_JSON])?)
}

/// The sessions answer a request that is no handshake of theirs; as a failure it is counted like every other one.
fn accepted(request: &HttpRequest, response: HttpResponse, subprotocols: &[&str]) -> Result<HttpResponse, Failure> {
    match response.status() {
        StatusCode::UPGRADE_REQUIRED => Err(Failure::new(Code::WebsocketExpected)),
        StatusCode::BAD_REQUEST => {
            Err(Failure::new(Code::UnsupportedSubprotocol).because(format!("supported: {}", subprotocols.join(", "))))
        }
        _ => hand_over(request, response)
            .ok_or_else(|| Failure::new(Code::BadRequest).because("a handshake has no body".to_owned())),
    }
}
