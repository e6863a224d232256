//! What the two kinds of session share: the negotiation of a subprotocol, the guard of the incoming bytes, the count
//! of silent beats, and the way out (jittered reconnects). Nothing here names the websocket crate.

mod assembler;
mod guard;
mod silence;

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
};

pub use assembler::{Assembled, Assembler};
pub use guard::{FrameGuard, OVERSIZED};
pub use silence::Silence;

use crate::wire::problem::Problem;

/// The subprotocol of a request that can become a socket: the first that the client names and that is spoken here, or the
/// first of `supported` when it names none.
///
/// # Errors
/// Otherwise the answer, as problem+json: 426 `websocket_expected` or 400 `unsupported_subprotocol`.
pub fn negotiate(req: &HttpRequest, supported: &[&'static str]) -> Result<&'static str, Box<HttpResponse>> {
    let upgrade = req.headers().get(header::UPGRADE).and_then(|value| value.to_str().ok());
    if !upgrade.is_some_and(|value| value.to_ascii_lowercase().contains("websocket")) {
        return Err(Box::new(problem(
            StatusCode::UPGRADE_REQUIRED,
            "websocket_expected",
            "This address takes websocket connections only",
            None,
        )));
    }
    let mut offered = req
        .headers()
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .peekable();
    let chosen = match offered.peek() {
        None => supported.first(),
        Some(_) => offered.find_map(|name| supported.iter().find(|known| **known == name)),
    };
    chosen.copied().ok_or_else(|| {
        let detail = format!("supported: {}", supported.join(", "));
        let title = "None of the offered subprotocols is spoken here";
        Box::new(problem(StatusCode::BAD_REQUEST, "unsupported_subprotocol", title, Some(detail)))
    })
}

/// A refusal before the upgrade.
pub(super) fn problem(
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: Option<String>,
) -> HttpResponse {
    HttpResponse::build(status).content_type("application/problem+json").json(Problem {
        kind: format!("urn:dispatch:problem:{code}"),
        title: title.to_owned(),
        status: status.as_u16(),
        code: code.to_owned(),
        detail,
        pointer: None,
        current: None,
    })
}

/// A time to come back, between `after` and three times that (real time): clients that were sent away together do not
/// come back together.
#[must_use]
pub fn jittered_ms(after: Duration) -> u64 {
    let least = u64::try_from(after.as_millis()).unwrap_or(u64::MAX / 4);
    rand::random_range(least..=least.saturating_mul(3))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_client_chooses_among_the_subprotocols_that_are_spoken() {
        let request = |protocols: Option<&str>| {
            let mut request = TestRequest::default().insert_header((header::UPGRADE, "websocket"));
            if let Some(protocols) = protocols {
                request = request.insert_header((header::SEC_WEBSOCKET_PROTOCOL, protocols));
            }
            request.to_http_request()
        };
        let negotiated = |protocols| negotiate(&request(protocols), &["a.v1", "b.v1"]).map_err(|no| no.status());
        assert_eq!(negotiated(None), Ok("a.v1"));
        assert_eq!(negotiated(Some("b.v2, a.v1")), Ok("a.v1"));
        assert_eq!(negotiated(Some("b.v1,a.v1")), Ok("b.v1"), "in the order of the client");
        assert_eq!(negotiated(Some("b.v2")), Err(StatusCode::BAD_REQUEST));
        let plain = negotiate(&TestRequest::default().to_http_request(), &["a.v1"]).map_err(|no| no.status());
        assert_eq!(plain, Err(StatusCode::UPGRADE_REQUIRED));
    }
}
