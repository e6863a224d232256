//! The connection of a device.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use dispatch_engine::replay::device::encoding::Encoding;
use futures_util::StreamExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        ClientRequestBuilder, Error,
        http::{Uri, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::WebSocketConfig,
    },
};
use uuid::Uuid;

use crate::token::{Minter, Role};

/// An open socket.
pub type Socket = WebSocketStream<TcpStream>;

/// Real time that a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(15);

/// Real time that a superseded socket is given to hear its `bye`.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why the engine ends a connection whose device has opened another one.
const TAKEN_OVER: &[u8] = b"taken_over";

/// Buffers of a device are small: its frames are, and there are many devices.
const BUFFER: usize = 4 * 1024;

/// Where and how to connect.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The engine's socket address.
    pub address: SocketAddr,
    /// `ws://host:port/v1/rider/socket`.
    pub uri: Uri,
    /// Local addresses to connect from.
    pub sources: u8,
    /// Makes the tokens.
    pub minter: Minter,
}

/// Why a connection was not made.
#[derive(Debug)]
pub struct NotConnected {
    /// A stable word: `http_<status>`, `timeout`, `refused`, ...
    pub reason: String,
    /// Whether another attempt would end the same way.
    pub for_good: bool,
}

impl From<Error> for NotConnected {
    fn from(error: Error) -> Self {
        let (reason, for_good) = match &error {
            Error::Http(answer) => {
                let status = answer.status().as_u16();
                (format!("http_{status}"), matches!(status, 400 | 401 | 403 | 404))
            }
            Error::Io(e) => (format!("io_{}", e.kind()).replace(' ', "_"), false),
            _ => ("handshake".to_owned(), false),
        };
        Self { reason, for_good }
    }
}

impl Endpoint {
    /// Opens the socket of a rider; `index` spreads the riders over the local addresses.
    ///
    /// # Errors
    /// [`NotConnected`] with its reason.
    pub async fn connect(&self, rider: Uuid, index: usize, encoding: Encoding) -> Result<Socket, NotConnected> {
        match tokio::time::timeout(HANDSHAKE, Box::pin(self.open(rider, index, encoding))).await {
            Ok(result) => result,
            Err(_) => Err(NotConnected { reason: "timeout".to_owned(), for_good: false }),
        }
    }

    async fn open(&self, rider: Uuid, index: usize, encoding: Encoding) -> Result<Socket, NotConnected> {
        let stream = self.dial(index).await.map_err(Error::Io)?;
        let token = self.minter.mint(Role::Rider(rider));
        let token = token.map_err(|_| NotConnected { reason: "token".to_owned(), for_good: true })?;
        let request = ClientRequestBuilder::new(self.uri.clone())
            .with_header("Authorization", format!("Bearer {token}"))
            .with_sub_protocol(encoding.subprotocol());
        let config = WebSocketConfig::default().read_buffer_size(BUFFER).write_buffer_size(BUFFER);
        let (socket, answer) = client_async_with_config(request, stream, Some(config)).await?;
        let spoken = answer.headers().get(SEC_WEBSOCKET_PROTOCOL).map(|v| v.as_bytes());
        if spoken != Some(encoding.subprotocol().as_bytes()) {
            return Err(NotConnected { reason: "wrong_subprotocol".to_owned(), for_good: true });
        }
        Ok(socket)
    }

    async fn dial(&self, index: usize) -> std::io::Result<TcpStream> {
        let socket = if self.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if self.sources > 1 && self.address.ip().is_loopback() {
            let last = u8::try_from(index % usize::from(self.sources)).unwrap_or(0) + 1;
            socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0))?;
        }
        socket.set_nodelay(true)?;
        socket.connect(self.address).await
    }
}

/// Listens on a socket whose device has opened another one; answers whether it heard a `bye` because of that.
pub async fn heard_takeover(mut old: Socket) -> bool {
    let listen = async {
        while let Some(Ok(message)) = old.next().await {
            // The word stands in the frame as it is, in either encoding.
            if message.into_data().windows(TAKEN_OVER.len()).any(|part| part == TAKEN_OVER) {
                return true;
            }
        }
        false
    };
    tokio::time::timeout(FAREWELL, listen).await.unwrap_or(false)
}
