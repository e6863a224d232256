//! The OpenAPI document: `routes.rs` fills in the paths; this is the frame around them.

use actix_web::{get, web};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        self,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};

use crate::wire::problem::Problem;

#[derive(OpenApi)]
#[openapi(
    info(title = "Dispatch engine", version = "1", description = "REST interface, version 1. Errors are RFC 9457 problems."),
    components(schemas(Problem)),
    modifiers(&Bearer),
    security(("bearer" = []))
)]
struct Base;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let scheme = Http::builder().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// The document without its paths.
pub fn base() -> openapi::OpenApi {
    Base::openapi()
}

/// This document.
#[utoipa::path(tag = "meta", security(()), responses((status = 200, description = "the OpenAPI document")))]
#[get("/openapi.json")]
pub async fn get_document(document: web::Data<openapi::OpenApi>) -> web::Json<openapi::OpenApi> {
    web::Json(document.get_ref().clone())
}
