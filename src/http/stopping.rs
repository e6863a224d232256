//! The end of the program, as its clients see it: what was asked before is answered, what comes after on connections that
//! are still open is refused, and every answer closes its connection, so that nobody waits for clients that say nothing.

use actix_web::{
    Error,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::ConnectionType,
    middleware::Next,
    web,
};

use super::{
    Deps,
    problem::{Code, Failure},
};

/// The middleware.
///
/// # Errors
/// Never by itself: a refusal is a response.
pub async fn refuse<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let deps = request.app_data::<web::Data<Deps>>().cloned();
    let is_stopping = || deps.as_ref().is_some_and(|deps| *deps.stopping.borrow());
    // Whoever watches the process may watch its end.
    let is_watched = request.path().starts_with("/health/") || request.path() == "/metrics";
    let mut response = if is_stopping() && !is_watched {
        request.error_response(Failure::new(Code::ServerStopping)).map_into_right_body()
    } else {
        next.call(request).await?.map_into_left_body()
    };
    let head = response.response_mut().head_mut();
    if is_stopping() && !head.upgrade() {
        head.set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}
