//! A device's connection, with the patience of a real one: everything ends when it takes too long.

use std::{net::SocketAddr, time::Duration};

use dispatch_engine::wire::rider::{Down, Hello, SUBPROTOCOL_JSON, Up, Welcome};
use futures_util::{SinkExt, StreamExt};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, http::header},
};
use uuid::Uuid;

use crate::support::token;

/// The longest that opening, a write or the way to `welcome` may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// An open connection.
pub struct Socket(WebSocketStream<TcpStream>);

/// What came.
pub enum Heard {
    /// A frame.
    Frame(Box<Down>),
    /// A sign of life.
    Beat,
    /// The end.
    Closed,
}

impl Socket {
    /// Opens one and says hello; `None` when that does not work.
    pub async fn open(address: SocketAddr, rider: Uuid, boot: Uuid) -> Option<Self> {
        let opened = async {
            let mut request = format!("ws://{address}/v1/rider/socket").into_client_request().ok()?;
            let bearer = format!("Bearer {}", token("rider", &rider.to_string()));
            request.headers_mut().insert(header::AUTHORIZATION, bearer.parse().ok()?);
            request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL_JSON.parse().ok()?);
            let stream = TcpStream::connect(address).await.ok()?;
            Some(Self(client_async(request, stream).await.ok()?.0))
        };
        let mut socket = timeout(PATIENCE, opened).await.ok().flatten()?;
        let hello = Hello {
            device_id: format!("device-{}", rider.simple()),
            app_version: "1.0".into(),
            boot_id: boot,
            mono_ms: 1,
            at: now_ms(),
            battery: None,
            push: None,
            oldest: None,
        };
        socket.send(&Up::Hello(hello)).await.then_some(socket)
    }

    /// Whether the connection took the frame.
    pub async fn send(&mut self, up: &Up) -> bool {
        let text = serde_json::to_string(up).unwrap();
        matches!(timeout(PATIENCE, self.0.send(Message::text(text))).await, Ok(Ok(())))
    }

    /// The next thing that comes. A frame that nobody knows fails the test.
    pub async fn next(&mut self) -> Heard {
        match self.0.next().await {
            Some(Ok(Message::Text(text))) => {
                let frame = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
                Heard::Frame(Box::new(frame))
            }
            Some(Ok(Message::Close(_)) | Err(_)) | None => Heard::Closed,
            Some(Ok(_)) => Heard::Beat,
        }
    }

    /// The `welcome`, or why it did not come: the hint of a `bye`, if any.
    pub async fn welcome(&mut self) -> Result<Welcome, Option<Duration>> {
        let waited = async {
            loop {
                match self.next().await {
                    Heard::Frame(frame) => match *frame {
                        Down::Welcome(welcome) => return Ok(welcome),
                        Down::Bye { reconnect_after_ms, .. } => {
                            return Err(reconnect_after_ms.map(Duration::from_millis));
                        }
                        _ => {}
                    },
                    Heard::Beat => {}
                    Heard::Closed => return Err(None),
                }
            }
        };
        timeout(PATIENCE, waited).await.unwrap_or(Err(None))
    }
}

/// The device's clock, milliseconds since 1970.
pub fn now_ms() -> i64 {
    dispatch_engine::clock::Clock::wall().as_millis()
}
