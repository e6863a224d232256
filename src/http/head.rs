//! HEAD is answered wherever GET is (RFC 9110, 9.1), by the same handlers: the request goes on as a GET, and the connection,
//! which knows what was asked, sends the headers alone.

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, header::UPGRADE},
    middleware::Next,
};

/// The middleware. What is around it still sees a HEAD on the way in.
///
/// # Errors
/// Those of the handlers.
pub async fn as_get<B: MessageBody>(mut request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error> {
    // A handshake is a GET (RFC 6455, 4.1), and nothing else becomes one.
    if request.method() == Method::HEAD && !request.headers().contains_key(UPGRADE) {
        request.head_mut().method = Method::GET;
    }
    next.call(request).await
}
