//! What stands between the bytes of a connection and a session: the change from HTTP to a socket, and its end.

use std::time::Duration;

use dispatch_engine::{actors::rider_session::Options, clock::Clock, wire::rider::SUBPROTOCOL_JSON};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use uuid::Uuid;

use crate::played_city::Stage;

/// Long enough for everything that happens at all.
const PATIENCE: Duration = Duration::from_secs(20);

fn request(path: &str, subprotocol: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    )
    .into_bytes()
}

/// A text frame of a client, with a mask that changes nothing.
fn text(payload: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u8::try_from(payload.len()) {
        Ok(length @ ..=125) => frame.push(0x80 | length),
        _ => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload.bytes());
    frame
}

fn hello() -> Vec<u8> {
    let at = Clock::wall().as_millis();
    text(
        &json!({"type": "hello", "device_id": "d", "app_version": "1", "boot_id": Uuid::new_v4(), "mono_ms": 1, "at": at})
            .to_string(),
    )
}

/// Reads until `wanted` has come; everything that came.
async fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut got = vec![];
    let reading = async {
        while !String::from_utf8_lossy(&got).contains(wanted) {
            assert_ne!(stream.read_buf(&mut got).await.unwrap(), 0, "ended: {}", String::from_utf8_lossy(&got));
        }
    };
    let outcome = timeout(PATIENCE, reading).await;
    let got = String::from_utf8_lossy(&got).into_owned();
    assert!(outcome.is_ok(), "no {wanted}: {got}");
    got
}

/// Reads to an orderly end; a reset is none.
async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut got = vec![];
    timeout(PATIENCE, stream.read_to_end(&mut got)).await.unwrap().unwrap();
    String::from_utf8_lossy(&got).into_owned()
}

#[actix_web::test]
async fn what_is_said_together_with_the_request_is_heard() {
    let stage = Stage::new().await;
    let mut stream = TcpStream::connect(stage.address).await.unwrap();
    let path = format!("/rider/{}", stage.rider().await);
    let ask = text(&json!({"type": "duty", "id": "d", "state": "break"}).to_string());
    stream.write_all(&[request(&path, SUBPROTOCOL_JSON), hello(), ask].concat()).await.unwrap();
    let got = read_until(&mut stream, "ping_interval_ms").await;
    assert!(got.starts_with("HTTP/1.1 101 "), "{got}");
    assert!(got.contains("not_welcome_yet"), "the second of two frames: {got}");
}

#[actix_web::test]
async fn requests_before_it_are_answered_first() {
    let stage = Stage::new().await;
    let mut stream = TcpStream::connect(stage.address).await.unwrap();
    let path = format!("/rider/{}", stage.rider().await);
    let first = b"GET /nowhere HTTP/1.1\r\nHost: here\r\n\r\n".to_vec();
    stream.write_all(&[first, request(&path, SUBPROTOCOL_JSON), hello()].concat()).await.unwrap();
    let got = read_until(&mut stream, "welcome").await;
    let (missing, socket) = (got.find("HTTP/1.1 404 "), got.find("HTTP/1.1 101 "));
    assert!(missing == Some(0) && socket.is_some(), "{got}");
}

#[actix_web::test]
async fn who_is_refused_hears_why_and_the_connection_ends() {
    let stage = Stage::new().await;
    let path = format!("/rider/{}", stage.rider().await);
    for (path, subprotocol, status, says) in [
        (path.as_str(), "dispatch.v0", "400", "subprotocol"),
        ("/rider/nobody", SUBPROTOCOL_JSON, "404", ""),
        ("/nowhere", SUBPROTOCOL_JSON, "404", ""),
    ] {
        let mut stream = TcpStream::connect(stage.address).await.unwrap();
        // The frame behind it is nobody's.
        stream.write_all(&[request(path, subprotocol), hello()].concat()).await.unwrap();
        let got = read_to_end(&mut stream).await;
        assert!(got.starts_with(&format!("HTTP/1.1 {status} ")) && got.contains(says), "{got}");
        assert!(got.to_lowercase().contains("connection: close"), "{got}");
    }
}

#[actix_web::test]
async fn a_client_that_never_stops_talking_hears_the_goodbye() {
    let stage = Stage::with(Options { max_bad_frames: 3, ..Options::default() }).await;
    let stream = TcpStream::connect(stage.address).await.unwrap();
    let path = format!("/rider/{}", stage.rider().await);
    let (mut reading, mut writing) = stream.into_split();
    writing.write_all(&[request(&path, SUBPROTOCOL_JSON), hello()].concat()).await.unwrap();
    let talk = tokio::spawn(async move {
        let nonsense = text("x").repeat(1_000);
        while writing.write_all(&nonsense).await.is_ok() {}
    });
    let mut got = vec![];
    let heard = async {
        while !String::from_utf8_lossy(&got).contains("too_many_bad_frames") {
            assert_ne!(reading.read_buf(&mut got).await.unwrap(), 0, "ended: {}", String::from_utf8_lossy(&got));
        }
    };
    timeout(PATIENCE, heard).await.expect("a goodbye");
    // It is not listened to for ever.
    timeout(PATIENCE, talk).await.unwrap().unwrap();
}

#[actix_web::test]
async fn a_frame_without_an_end_is_waited_for_and_a_hang_up_ends_it() {
    let stage = Stage::new().await;
    let mut stream = TcpStream::connect(stage.address).await.unwrap();
    let path = format!("/rider/{}", stage.rider().await);
    stream.write_all(&[request(&path, SUBPROTOCOL_JSON), hello()].concat()).await.unwrap();
    read_until(&mut stream, "welcome").await;
    let ask = text(&json!({"type": "duty", "id": "d", "state": "break"}).to_string());
    for byte in &ask[..ask.len() - 1] {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    // Half of the connection is closed: the session ends, and says so in order.
    stream.shutdown().await.unwrap();
    read_to_end(&mut stream).await;
    stage.until("the session to end", |_| stage.metrics.render().unwrap().contains("dispatch_rider_sessions 0")).await;
}
