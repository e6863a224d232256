//! The extractors that turn a request's token into a caller, and the questions that handlers ask about one.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header::AUTHORIZATION, web};
use serde::Deserialize;

use super::token::AuthError;
use crate::{
    domain::{access::Principal, ids::CityCode},
    http::{
        Deps,
        problem::{Code, Failure},
    },
};

/// A caller whose token stood in the `Authorization` header and was checked.
#[derive(Clone, Debug)]
pub struct Caller(pub Principal);

/// As [`Caller`], for socket upgrades: a browser cannot set headers on them, so the query parameter `access_token`
/// is read where there is no header.
#[derive(Clone, Debug)]
pub struct SocketCaller(pub Principal);

#[derive(Deserialize)]
struct AccessToken {
    access_token: String,
}

fn bearer(request: &HttpRequest) -> Result<&str, AuthError> {
    let value = request.headers().get(AUTHORIZATION).ok_or(AuthError::Missing)?;
    let text = value.to_str().map_err(|_| AuthError::Malformed)?;
    let (scheme, token) = text.split_once(' ').ok_or(AuthError::Malformed)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(AuthError::Malformed) }
}

fn verify(request: &HttpRequest, token: &str) -> Result<Principal, Failure> {
    let deps = request.app_data::<web::Data<Deps>>().ok_or_else(|| Failure::internal("the app has no Deps"))?;
    Ok(deps.tokens.verify(token)?)
}

impl FromRequest for Caller {
    type Error = Failure;
    type Future = Ready<Result<Self, Failure>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(bearer(request).map_err(Failure::from).and_then(|token| verify(request, token)).map(Self))
    }
}

impl FromRequest for SocketCaller {
    type Error = Failure;
    type Future = Ready<Result<Self, Failure>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let principal = match bearer(request) {
            Ok(token) => verify(request, token),
            Err(AuthError::Missing) => web::Query::<AccessToken>::from_query(request.query_string())
                .map_err(|_| Failure::from(AuthError::Missing))
                .and_then(|query| verify(request, &query.access_token)),
            Err(error) => Err(error.into()),
        };
        ready(principal.map(Self))
    }
}

/// Lets administrators pass.
///
/// # Errors
/// `wrong_role` for everybody else.
pub fn only_admin(caller: &Principal) -> Result<(), Failure> {
    match caller {
        Principal::Admin { .. } => Ok(()),
        _ => Err(Failure::new(Code::WrongRole)),
    }
}

/// Lets administrators and the operators of a city pass.
///
/// # Errors
/// `wrong_city` for another city's operator, `wrong_role` for everybody else.
pub fn may_operate(caller: &Principal, city: &CityCode) -> Result<(), Failure> {
    if caller.may_operate(city) {
        return Ok(());
    }
    Err(Failure::new(match caller {
        Principal::Operator { .. } => Code::WrongCity,
        _ => Code::WrongRole,
    }))
}
