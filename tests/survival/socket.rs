//! A device's connection, with the patience of a real one: everything ends when it takes too long.

use std::{net::SocketAddr, time::Duration};

use dispatch_engine::{
    replay::device::encoding::{Encoding, Written},
    wire::rider::{Down, Hello, Up, Welcome},
};
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
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
    encoding: Encoding,
}

/// What a device says of itself when it connects.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// The run of its app.
    pub boot: Uuid,
    /// How it writes its frames.
    pub encoding: Encoding,
    /// The lowest number of a point that it holds, when it says so.
    pub oldest: Option<u64>,
    /// What its clock shows.
    pub at: i64,
}

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
    /// Opens one in JSON and says hello; `None` when that does not work.
    pub async fn open(address: SocketAddr, rider: Uuid, boot: Uuid) -> Option<Self> {
        let opening = Opening { boot, encoding: Encoding::Json, oldest: None, at: now_ms() };
        Self::open_as(address, rider, opening).await
    }

    /// The same, as a device of any kind.
    pub async fn open_as(address: SocketAddr, rider: Uuid, opening: Opening) -> Option<Self> {
        let Opening { boot, encoding, oldest, at } = opening;
        let opened = async {
            let mut request = format!("ws://{address}/v1/rider/socket").into_client_request().ok()?;
            let bearer = format!("Bearer {}", token("rider", &rider.to_string()));
            request.headers_mut().insert(header::AUTHORIZATION, bearer.parse().ok()?);
            request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, encoding.subprotocol().parse().ok()?);
            let stream = TcpStream::connect(address).await.ok()?;
            stream.set_nodelay(true).ok()?;
            Some(Self { stream: client_async(request, stream).await.ok()?.0, encoding })
        };
        let mut socket = timeout(PATIENCE, opened).await.ok().flatten()?;
        let hello = Hello {
            device_id: format!("device-{}", rider.simple()),
            app_version: "1.0".into(),
            boot_id: boot,
            mono_ms: 1,
            at,
            battery: None,
            push: None,
            oldest,
        };
        socket.send(&Up::Hello(hello)).await.then_some(socket)
    }

    /// Whether the connection took the frame.
    pub async fn send(&mut self, up: &Up) -> bool {
        let message = match self.encoding.write(up).unwrap() {
            Written::Text(text) => Message::text(text),
            Written::Binary(bytes) => Message::binary(bytes),
        };
        matches!(timeout(PATIENCE, self.stream.send(message)).await, Ok(Ok(())))
    }

    /// The next thing that comes. A frame that nobody knows fails the test.
    pub async fn next(&mut self) -> Heard {
        let frame = match self.stream.next().await {
            Some(Ok(Message::Text(text))) => self.encoding.read_text(&text),
            Some(Ok(Message::Binary(bytes))) => self.encoding.read_binary(&bytes),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Heard::Closed,
            Some(Ok(_)) => return Heard::Beat,
        };
        Heard::Frame(Box::new(frame.unwrap_or_else(|error| panic!("{error}"))))
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
