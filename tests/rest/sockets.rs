//! Who may open a socket. What is said on one is tested with the sessions.

use reqwest::{Method, RequestBuilder, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use uuid::Uuid;

use crate::{
    harness::{Rest, start},
    support::{client::answer, token, token_for},
};

/// A handshake as a client makes it.
fn handshake(rest: &Rest, path: &str, subprotocol: &str) -> RequestBuilder {
    rest.client
        .request(Method::GET, format!("{}{path}", rest.base))
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Protocol", subprotocol)
}

#[actix_web::test]
async fn a_rider_opens_its_socket_and_nobody_else_does() {
    let rest = start().await;
    let rider = token("rider", &Uuid::new_v4().to_string());
    let path = "/v1/rider/socket";
    let open = || handshake(&rest, path, "dispatch.v1.json");
    answer(open()).await.problem(401, "token_missing");
    answer(open().bearer_auth("x")).await.problem(401, "token_malformed");
    answer(open().query(&[("access_token", "x")])).await.problem(401, "token_malformed");
    answer(open().bearer_auth(rest.admin())).await.problem(403, "wrong_role");
    let plain = rest.get(path, &rider).await;
    plain.problem(426, "websocket_expected");
    assert_eq!(plain.headers["upgrade"], "websocket");
    let foreign = handshake(&rest, path, "chat").bearer_auth(&rider);
    let refused = answer(foreign).await;
    let detail = &refused.problem(400, "unsupported_subprotocol")["detail"];
    assert_eq!(detail, "supported: dispatch.v1.json, dispatch.v1.msgpack");
    // A handshake is a GET.
    let head = handshake(&rest, path, "dispatch.v1.json").bearer_auth(&rider).build().unwrap();
    let head = rest.client.request(Method::HEAD, head.url().clone()).headers(head.headers().clone());
    assert_eq!(head.send().await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
    // A compressed refusal of a handshake could not be read.
    let packed = answer(open().header("Accept-Encoding", "gzip")).await;
    packed.problem(401, "token_missing");
    let no_key = rest.request(Method::GET, path, &rider).header("Connection", "Upgrade").header("Upgrade", "websocket");
    answer(no_key).await.problem(400, "bad_request");
    for request in [open().bearer_auth(&rider), open().query(&[("access_token", &rider)])] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers()["sec-websocket-protocol"], "dispatch.v1.json");
    }
}

#[actix_web::test]
async fn a_handshake_with_a_body_in_chunks_is_refused() {
    let rest = start().await;
    let rider = token("rider", &Uuid::new_v4().to_string());
    let mut stream = TcpStream::connect(rest.base.trim_start_matches("http://")).await.unwrap();
    let request = format!(
        "GET /v1/rider/socket HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: dispatch.v1.json\r\nAuthorization: Bearer {rider}\r\n\
         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = vec![0; 64];
    stream.read_exact(&mut head).await.unwrap();
    assert!(head.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&head));
}

#[actix_web::test]
async fn an_operator_watches_its_own_cities() {
    let rest = start().await;
    let path = format!("/v1/operator/cities/{}/socket", rest.city);
    let open = |path: &str, token: &str| handshake(&rest, path, "dispatch.operator.v1.json").bearer_auth(token);
    let rider = token("rider", &Uuid::new_v4().to_string());
    answer(open(&path, &rider)).await.problem(403, "wrong_role");
    let stranger = token_for("operator", "otto", &["elsewhere"]);
    answer(open(&path, &stranger)).await.problem(403, "wrong_city");
    let nowhere = "/v1/operator/cities/atlantis/socket";
    answer(open(nowhere, &rest.admin())).await.problem(404, "unknown_city");
    let olga = token_for("operator", "olga", &[&rest.city]);
    rest.get(&path, &olga).await.problem(426, "websocket_expected");
    let response = open(&path, &olga).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let figures = rest.get("/metrics", &olga).await.body.as_str().unwrap().to_owned();
    assert!(!figures.contains(&olga) && figures.contains("code=\"websocket_expected\"} 1"));
}
