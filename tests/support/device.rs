//! A websocket client: a rider's device or an operator's page.

use std::net::SocketAddr;

use dispatch_engine::wire::{
    LatLon,
    frames::{Encoded, Encoding},
    msgpack,
    operator::SUBPROTOCOL_OPERATOR_JSON,
    rider::{Down, DutyWish, Hello, Offer, Ping, Progress, SUBPROTOCOL_JSON, Up, Welcome},
};
use futures_util::{SinkExt, StreamExt};
use serde::de::DeserializeOwned;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest, http::header},
};
use uuid::Uuid;

use super::{SOON, TestApp, token};

/// An open socket.
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
    /// Frames that nobody waited for when they came.
    passed: Vec<String>,
    /// The subprotocol that the server chose.
    pub subprotocol: String,
}

impl Socket {
    /// Opens one.
    pub async fn open(address: SocketAddr, path: &str, token: &str, subprotocol: &str) -> Result<Self, Error> {
        Self::over(TcpStream::connect(address).await?, path, token, subprotocol).await
    }

    /// Opens one over a connection that is there.
    pub async fn over(stream: TcpStream, path: &str, token: &str, subprotocol: &str) -> Result<Self, Error> {
        let mut request = format!("ws://{}{path}", stream.peer_addr()?).into_client_request()?;
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol.parse().unwrap());
        let (stream, response) = client_async(request, stream).await?;
        let chosen = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|name| name.to_str().ok());
        Ok(Self { stream, passed: Vec::new(), subprotocol: chosen.unwrap_or_default().to_owned() })
    }

    /// Sends a frame in the encoding of the subprotocol.
    pub async fn send_frame(&mut self, frame: &impl serde::Serialize) {
        let encoding = Encoding::of(&self.subprotocol).unwrap_or(Encoding::Json);
        match encoding.encode(frame).unwrap() {
            Encoded::Text(text) => self.send(Message::text(text)).await,
            Encoded::Binary(bytes) => self.send(Message::binary(bytes)).await,
        }
    }

    /// Sends a message of any kind.
    pub async fn send(&mut self, message: Message) {
        self.stream.send(message).await.unwrap();
    }

    /// Sends a text frame.
    pub async fn send_text(&mut self, text: impl Into<String>) {
        self.send(Message::text(text.into())).await;
    }

    /// Sends a text frame as far as the connection takes it.
    pub async fn try_send_text(&mut self, text: impl Into<String>) {
        drop(self.stream.send(Message::text(text.into())).await);
    }

    /// The next frame as a text, whatever its encoding; `None` when the server closed the connection.
    async fn next(&mut self) -> Option<String> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Some(text.to_string()),
                Some(Ok(Message::Binary(bytes))) => {
                    return Some(msgpack::from_slice::<serde_json::Value>(&bytes).unwrap().to_string());
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// The next frame, whatever it is; `None` when the server closed the connection.
    pub async fn next_frame<T: DeserializeOwned>(&mut self) -> Option<T> {
        let text = timeout(SOON, self.next()).await.expect("no frame came")?;
        Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    /// The first frame that `pick` takes, of those that came already and those that come; the others are kept.
    pub async fn wait_for<T: DeserializeOwned, R>(&mut self, mut pick: impl FnMut(&T) -> Option<R>) -> R {
        let mut look = |text: &str| pick(&serde_json::from_str(text).expect("a known frame"));
        let early = self.passed.iter().enumerate().find_map(|(index, text)| Some((index, look(text)?)));
        if let Some((index, found)) = early {
            self.passed.remove(index);
            return found;
        }
        let found = timeout(SOON, async {
            while let Some(text) = self.next().await {
                if let Some(found) = look(&text) {
                    return Some(found);
                }
                self.passed.push(text);
            }
            None
        });
        match found.await {
            Ok(Some(found)) => found,
            other => panic!("{}: {:#?}", if other.is_ok() { "closed" } else { "it did not come" }, self.passed),
        }
    }
}

/// A rider's device on its socket.
pub struct Device {
    /// Whose.
    pub rider: Uuid,
    /// Its socket.
    pub socket: Socket,
    boot: Uuid,
    seq: u64,
    requests: u32,
}

impl Device {
    /// Opens the socket and says hello; returns the welcome as well.
    pub async fn connect(app: &TestApp, rider: Uuid) -> (Self, Welcome) {
        let mut device = Self::hello(app, rider).await;
        let welcome = device.wait_for(|down| match down {
            Down::Welcome(welcome) => Some(welcome.clone()),
            _ => None,
        });
        let welcome = welcome.await;
        (device, welcome)
    }

    /// Opens the socket and says hello.
    pub async fn hello(app: &TestApp, rider: Uuid) -> Self {
        let token = token("rider", &rider.to_string());
        let socket = Socket::open(app.address, "/v1/rider/socket", &token, SUBPROTOCOL_JSON).await.unwrap();
        let mut device = Self { rider, socket, boot: Uuid::new_v4(), seq: 0, requests: 0 };
        let hello = Hello {
            device_id: format!("device-of-{rider}"),
            app_version: "1.0".into(),
            boot_id: device.boot,
            mono_ms: 1,
            at: app.clock.now().as_millis(),
            battery: None,
            push: None,
            oldest: None,
        };
        device.send(&Up::Hello(hello)).await;
        device
    }

    /// A new rider of a city on duty at a position.
    pub async fn on_duty(app: &TestApp, city: &str, at: LatLon) -> Self {
        let (mut device, _) = Self::connect(app, app.rider(city).await).await;
        device.duty(DutyWish::On).await;
        device.ping(app, at).await;
        device
    }

    /// Sends a frame.
    pub async fn send(&mut self, up: &Up) {
        self.socket.send_text(serde_json::to_string(up).unwrap()).await;
    }

    /// The first frame that `pick` takes.
    pub async fn wait_for<R>(&mut self, pick: impl FnMut(&Down) -> Option<R>) -> R {
        self.socket.wait_for(pick).await
    }

    /// A new id for a request.
    pub fn request(&mut self) -> String {
        self.requests += 1;
        // Never used again by this rider, whatever the connection.
        format!("{}-{}", self.boot.simple(), self.requests)
    }

    /// Asks for a duty and waits for it.
    pub async fn duty(&mut self, state: DutyWish) {
        let id = self.request();
        self.send(&Up::Duty { id: id.clone(), state }).await;
        self.wait_for(|down| matches!(down, Down::DutyChanged { re: Some(re), .. } if *re == id).then_some(())).await;
    }

    /// Reports a position and waits until it is received.
    pub async fn ping(&mut self, app: &TestApp, at: LatLon) {
        self.seq += 1;
        let seq = self.seq;
        let ping = Ping {
            seq,
            at: app.clock.now().as_millis(),
            lat: at.lat,
            lon: at.lon,
            accuracy_m: Some(5.0),
            speed_mps: None,
            heading_deg: None,
            mock: false,
        };
        self.send(&Up::Pings { pings: vec![ping], oldest: None, sent_at: None }).await;
        let received =
            |down: &Down| matches!(down, Down::PingsAck { received_to, .. } if *received_to >= seq).then_some(());
        self.wait_for(received).await;
    }

    /// Waits for an offer, shows it and takes it; returns it once the job is this rider's.
    pub async fn take_offer(&mut self) -> Offer {
        let offer = self.wait_for(|down| match down {
            Down::Offer(offer) if offer.re.is_none() => Some(offer.clone()),
            _ => None,
        });
        let offer = offer.await;
        let id = self.request();
        self.send(&Up::OfferSeen { id: id.clone(), offer: offer.offer }).await;
        self.wait_for(|down| matches!(down, Down::Offer(Offer { re: Some(re), .. }) if *re == id).then_some(())).await;
        let id = self.request();
        self.send(&Up::OfferAccept { id: id.clone(), offer: offer.offer }).await;
        self.wait_for(|down| matches!(down, Down::Assigned { re: Some(re), .. } if *re == id).then_some(())).await;
        offer
    }

    /// Reports a step of an order and waits until it is stored.
    pub async fn progress(&mut self, app: &TestApp, order: Uuid, step: &str, at: LatLon) -> String {
        let id = self.request();
        let at_ms = app.clock.now().as_millis();
        let step = step.to_owned();
        let reason = matches!(&*step, "attempt_failed" | "handover").then(|| "nobody there".to_owned());
        let report = Progress { id: id.clone(), order, step, at: at_ms, position: Some(at), reason, proof: None };
        self.send(&Up::Progress(report)).await;
        self.wait_for(|down| match down {
            Down::OrderChanged { re: Some(re), status, .. } if *re == id => Some(status.clone()),
            Down::Error { re: Some(re), code, .. } if *re == id => Some(code.clone()),
            _ => None,
        })
        .await
    }
}

/// An operator's page.
pub async fn watch(app: &TestApp, city: &str) -> Socket {
    let path = format!("/v1/operator/cities/{city}/socket");
    Socket::open(app.address, &path, &token("operator", "olga"), SUBPROTOCOL_OPERATOR_JSON).await.unwrap()
}
