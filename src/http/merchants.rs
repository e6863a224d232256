//! Merchants and 3PL partners.

use actix_web::{HttpResponse, get, http::header::LOCATION, post, web};
use uuid::Uuid;

use super::{
    Deps,
    auth::{Caller, only_admin},
    body::Body,
    check,
    convert::merchant_body,
    problem::{Code, Failure},
};
use crate::{
    domain::{access::Principal, ids::MerchantId},
    store,
    wire::{
        problem::Problem,
        rest::{MerchantBody, NewMerchant},
    },
};

/// Adds a merchant (admin).
#[utoipa::path(
    tag = "merchants",
    request_body = NewMerchant,
    responses(
        (status = 201, description = "added", body = MerchantBody),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[post("/v1/merchants")]
pub async fn create_merchant(
    deps: web::Data<Deps>,
    caller: Caller,
    body: Body<NewMerchant>,
) -> Result<HttpResponse, Failure> {
    only_admin(&caller.0)?;
    let name = check::text("/name", &body.0.name, check::MAX_TEXT)?;
    let id = MerchantId(deps.clock.new_id());
    let merchant = store::merchants::insert(&deps.db, id, &name, deps.clock.now()).await?;
    Ok(HttpResponse::Created().insert_header((LOCATION, format!("/v1/merchants/{id}"))).json(merchant_body(merchant)))
}

/// One merchant (itself, operators, admin).
#[utoipa::path(
    tag = "merchants",
    params(("id" = Uuid, Path, description = "the merchant")),
    responses(
        (status = 200, description = "the merchant", body = MerchantBody),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[get("/v1/merchants/{id}")]
pub async fn get_merchant(
    deps: web::Data<Deps>,
    caller: Caller,
    id: web::Path<Uuid>,
) -> Result<web::Json<MerchantBody>, Failure> {
    let id = MerchantId(*id);
    match &caller.0 {
        Principal::Admin { .. } | Principal::Operator { .. } => {}
        Principal::Merchant(own) if *own == id => {}
        Principal::Merchant(_) => return Err(Failure::new(Code::UnknownMerchant)),
        Principal::Rider(_) => return Err(Failure::new(Code::WrongRole)),
    }
    let merchant = store::merchants::get(&deps.db, id).await?.ok_or_else(|| Failure::new(Code::UnknownMerchant))?;
    Ok(web::Json(merchant_body(merchant)))
}
