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

/// The answer to a request that cannot become a socket that speaks `subprotocol`: 426 `websocket_expected` or 400
/// `unsupported_subprotocol`, as problem+json. A client that names subprotocols must name this one; a client that names
/// none gets it.
#[must_use]
pub fn refusal(req: &HttpRequest, subprotocol: &str) -> Option<HttpResponse> {
    let upgrade = req.headers().get(header::UPGRADE).and_then(|value| value.to_str().ok());
    if !upgrade.is_some_and(|value| value.to_ascii_lowercase().contains("websocket")) {
        return Some(problem(
            StatusCode::UPGRADE_REQUIRED,
            "websocket_expected",
            "This address takes websocket connections only",
            None,
        ));
    }
    let mut offered = req
        .headers()
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .peekable();
    if offered.peek().is_some() && !offered.any(|name| name == subprotocol) {
        return Some(problem(
            StatusCode::BAD_REQUEST,
            "unsupported_subprotocol",
            "None of the offered subprotocols is spoken here",
            Some(format!("supported: {subprotocol}")),
        ));
    }
    None
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
    fn only_our_subprotocol_or_none_is_taken() {
        let request = |protocols: Option<&str>| {
            let mut request = TestRequest::default().insert_header((header::UPGRADE, "websocket"));
            if let Some(protocols) = protocols {
                request = request.insert_header((header::SEC_WEBSOCKET_PROTOCOL, protocols));
            }
            request.to_http_request()
        };
        assert!(refusal(&request(None), "a.v1").is_none());
        assert!(refusal(&request(Some("b.v2, a.v1")), "a.v1").is_none());
        let refused = refusal(&request(Some("b.v2")), "a.v1").unwrap();
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        let plain = refusal(&TestRequest::default().to_http_request(), "a.v1").unwrap();
        assert_eq!(plain.status(), StatusCode::UPGRADE_REQUIRED);
    }
}
