//! What answers where no handler does: unknown paths, other methods, path and query parameters that do not parse.

use actix_web::{
    HttpRequest,
    error::{PathError, QueryPayloadError},
    http::header::HeaderValue,
    web,
};
use utoipa::openapi::{OpenApi, path::PathItem};

use super::problem::{Code, Failure};

/// Answers every request that no route took: 405 where the path takes another method, 404 elsewhere.
pub async fn unmatched(request: HttpRequest) -> Result<String, Failure> {
    if !request.resource_map().has_resource(request.path()) {
        return Err(Failure::new(Code::NoSuchRoute));
    }
    let template = request.resource_map().match_pattern(request.path());
    let methods = request
        .app_data::<web::Data<OpenApi>>()
        .zip(template)
        .and_then(|(document, template)| document.paths.paths.get(&template).map(methods))
        .and_then(|methods| HeaderValue::from_str(&methods).ok());
    Err(Failure::new(Code::MethodNotAllowed).allowing(methods))
}

fn methods(item: &PathItem) -> String {
    let head = ("HEAD", &item.get);
    [
        ("GET", &item.get),
        head,
        ("POST", &item.post),
        ("PUT", &item.put),
        ("PATCH", &item.patch),
        ("DELETE", &item.delete),
    ]
    .into_iter()
    .filter(|(_, operation)| operation.is_some())
    .map(|(method, _)| method)
    .collect::<Vec<_>>()
    .join(", ")
}

/// Path parameters that do not parse.
pub fn path_config() -> web::PathConfig {
    web::PathConfig::default().error_handler(|error, _| {
        let detail = match &error {
            PathError::Deserialize(inner) => inner.to_string(),
            other => other.to_string(),
        };
        Failure::new(Code::BadPath).because(detail).into()
    })
}

/// Query parameters that do not parse.
pub fn query_config() -> web::QueryConfig {
    web::QueryConfig::default().error_handler(|error, _| {
        let detail = match &error {
            QueryPayloadError::Deserialize(inner) => inner.to_string(),
            other => other.to_string(),
        };
        Failure::query(detail).into()
    })
}
