//! The connection: frames in, reconnecting by itself.

use std::time::Duration;

use anyhow::Context;
use futures_util::StreamExt;
use tokio::sync::mpsc::Sender;
use tokio_tungstenite::{
    connect_async_with_config,
    tungstenite::{
        self, Message,
        client::IntoClientRequest,
        http::{HeaderValue, header},
        protocol::WebSocketConfig,
    },
};

use crate::wire::{
    operator::{OperatorDown, SUBPROTOCOL_OPERATOR_JSON},
    problem::Problem,
};

/// What comes from the engine.
#[derive(Debug)]
pub enum Feed {
    /// The socket is open; a snapshot follows.
    Connected,
    /// A frame.
    Frame(Box<OperatorDown>),
    /// The socket is gone, and will be tried again.
    Lost(String),
    /// It would be refused again.
    Refused(String),
}

/// The engine pings every 15 s; a connection that is silent for longer than this is dead.
const SILENCE: Duration = Duration::from_secs(60);
/// The whole of a large city comes in one frame.
const MAX_MESSAGE: usize = 256 << 20;

/// The socket's address from the engine's.
///
/// # Errors
/// When the engine's address has another scheme than http or ws, or the code has other characters than a code has.
pub fn address(url: &str, city: &str) -> anyhow::Result<String> {
    let (scheme, rest) = url.split_once("://").context("the address must begin with http:// or ws://")?;
    let scheme = match scheme {
        "http" | "ws" => "ws",
        other => anyhow::bail!("`{other}` is not spoken here; use http or ws"),
    };
    let city = crate::domain::ids::CityCode::parse(city)?;
    Ok(format!("{scheme}://{}/v1/operator/cities/{city}/socket", rest.trim_end_matches('/')))
}

/// Follows a city until nobody listens or the engine refuses for good.
pub async fn follow(address: String, token: String, sender: Sender<Feed>) {
    let mut failures = 0_u32;
    loop {
        let (last, wait) = match connection(&address, &token, &sender, &mut failures).await {
            Ok(End::Lost { why, wait }) => (Feed::Lost(why), wait),
            Ok(End::Unheard) => return,
            Err(refused) => (Feed::Refused(refused), None),
        };
        let over = matches!(last, Feed::Refused(_));
        if sender.send(last).await.is_err() || over {
            return;
        }
        failures += 1;
        let backoff = Duration::from_millis(500 << failures.min(4)).mul_f64(rand::random_range(0.5..1.0));
        tokio::time::sleep(wait.unwrap_or(backoff)).await;
    }
}

enum End {
    Lost { why: String, wait: Option<Duration> },
    Unheard,
}

async fn connection(address: &str, token: &str, sender: &Sender<Feed>, failures: &mut u32) -> Result<End, String> {
    let lost = |why: String| Ok(End::Lost { why, wait: None });
    let mut request = address.into_client_request().map_err(|error| error.to_string())?;
    let bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|error| error.to_string())?;
    request.headers_mut().insert(header::AUTHORIZATION, bearer);
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL_OPERATOR_JSON));
    let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    let mut socket = match connect_async_with_config(request, Some(config), true).await {
        Ok((socket, _)) => socket,
        // 408 and 429 ask to come again.
        Err(tungstenite::Error::Http(answer))
            if answer.status().is_client_error() && ![408, 429].contains(&answer.status().as_u16()) =>
        {
            let problem = answer.body().as_deref().and_then(|body| serde_json::from_slice::<Problem>(body).ok());
            return Err(match problem {
                Some(problem) => format!("{} ({})", problem.title, problem.code),
                None => answer.status().to_string(),
            });
        }
        Err(tungstenite::Error::Url(error)) => return Err(error.to_string()),
        Err(error) => return lost(error.to_string()),
    };
    *failures = 0;
    if sender.send(Feed::Connected).await.is_err() {
        return Ok(End::Unheard);
    }
    loop {
        let text = match tokio::time::timeout(SILENCE, socket.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => text,
            Ok(Some(Ok(Message::Close(_))) | None) => return lost("the engine closed the connection".to_owned()),
            Ok(Some(Ok(_))) => continue,
            Ok(Some(Err(error))) => return lost(error.to_string()),
            Err(_) => return lost("the engine is silent".to_owned()),
        };
        match serde_json::from_str::<OperatorDown>(&text) {
            Ok(OperatorDown::Bye { why, reconnect_after_ms }) => {
                return Ok(End::Lost { why, wait: reconnect_after_ms.map(Duration::from_millis) });
            }
            Ok(frame) => {
                if sender.send(Feed::Frame(Box::new(frame))).await.is_err() {
                    return Ok(End::Unheard);
                }
            }
            Err(error) => return lost(format!("a frame cannot be read: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::SinkExt;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        sync::mpsc,
    };
    use tokio_tungstenite::{
        accept_hdr_async,
        tungstenite::handshake::server::{Request, Response},
    };

    use super::*;
    use crate::wire::operator::{CityCounts, CityState};

    #[test]
    fn the_address_is_made_from_the_engines() {
        let expected = "ws://127.0.0.1:8080/v1/operator/cities/blr/socket";
        assert_eq!(address("http://127.0.0.1:8080/", "blr").unwrap(), expected);
        assert!(address("https://example.org", "blr").is_err());
        assert!(address("http://example.org", "../admin").is_err());
    }

    /// Plays the engine: a snapshot and a goodbye on the first connection, a dropped second one, then a refusal.
    async fn engine(listener: TcpListener) {
        let (stream, _) = listener.accept().await.unwrap();
        #[expect(clippy::result_large_err, reason = "the handshake's own signature")]
        let greet = |request: &Request, mut response: Response| {
            assert_eq!(request.headers()["authorization"], "Bearer secret");
            response
                .headers_mut()
                .insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL_OPERATOR_JSON));
            Ok(response)
        };
        let mut socket = accept_hdr_async(stream, greet).await.unwrap();
        let state = CityState {
            city: "blr".to_owned(),
            at: 1,
            clock_speed: 1.0,
            counts: CityCounts::default(),
            orders: vec![],
            riders: vec![],
        };
        let bye = OperatorDown::Bye { why: "city_moved".to_owned(), reconnect_after_ms: Some(1) };
        for frame in [OperatorDown::Snapshot(state), bye] {
            socket.send(Message::text(serde_json::to_string(&frame).unwrap())).await.unwrap();
        }
        drop(listener.accept().await.unwrap());
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4_096]).await.unwrap();
        let body = r#"{"type":"urn:x","title":"Not yours","status":403,"code":"forbidden"}"#;
        let answer = format!("HTTP/1.1 403 Forbidden\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    }

    #[tokio::test]
    async fn it_comes_back_by_itself_and_stops_where_it_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = address(&format!("http://{}", listener.local_addr().unwrap()), "blr").unwrap();
        let (sender, mut feed) = mpsc::channel(8);
        tokio::join!(engine(listener), follow(address, "secret".to_owned(), sender), async {
            assert!(matches!(feed.recv().await, Some(Feed::Connected)));
            assert!(
                matches!(feed.recv().await, Some(Feed::Frame(frame)) if matches!(*frame, OperatorDown::Snapshot(_)))
            );
            assert!(matches!(feed.recv().await, Some(Feed::Lost(why)) if why == "city_moved"));
            assert!(matches!(feed.recv().await, Some(Feed::Lost(_))));
            let Some(Feed::Refused(why)) = feed.recv().await else { panic!("not refused") };
            assert_eq!(why, "Not yours (forbidden)");
            assert!(feed.recv().await.is_none());
        });
    }
}
