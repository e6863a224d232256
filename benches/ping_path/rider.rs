//! One rider's device, as lean as a real client can be: it opens a socket, goes on duty, rides, and hears how far its
//! points came. Before the echo server it sends the very same frames.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, Interval, interval_at},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Error, Message, client::IntoClientRequest, http::header, protocol::WebSocketConfig},
};
use uuid::Uuid;

use crate::support::token;

/// The middle of the city, and how far riders go from it.
const CENTRE: (f64, f64) = (12.975, 77.60);
const HALF_DEGREES: f64 = 0.06;
const METRES_PER_DEGREE: f64 = 111_195.0;
const SPEED_MPS: f64 = 6.1;

/// How frames are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Json,
    MsgPack,
}

impl Encoding {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::MsgPack => "msgpack",
        }
    }

    pub fn named(name: &str) -> Result<Self> {
        let all = [Self::Json, Self::MsgPack];
        all.into_iter().find(|encoding| encoding.name() == name).with_context(|| format!("no encoding {name}"))
    }

    fn encode(self, frame: &impl Serialize) -> Result<Message> {
        Ok(match self {
            Self::Json => Message::text(serde_json::to_string(frame)?),
            Self::MsgPack => Message::binary(rmp_serde::to_vec_named(frame)?),
        })
    }

    fn decode(message: &Message) -> Result<Option<Heard>> {
        Ok(match message {
            Message::Text(text) => Some(serde_json::from_str(text)?),
            Message::Binary(bytes) => Some(rmp_serde::from_slice(bytes)?),
            Message::Close(why) => bail!("closed: {why:?}"),
            _ => None,
        })
    }
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Engine,
    Echo,
}

/// What all riders do until told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Hold the connection.
    Rest,
    /// Send a frame so often, with so many points of the time since the last one.
    Ride { every: Duration, points: u32 },
}

/// What all riders of a process did and heard.
#[derive(Debug, Default)]
pub struct Tally {
    pub ready: AtomicU64,
    pub frames: AtomicU64,
    pub points: AtomicU64,
    /// Bytes of all frames sent, without the headers of the socket.
    pub bytes: AtomicU64,
    /// Acks, or echoes.
    pub heard: AtomicU64,
    /// Points that their devices may forget.
    pub settled: AtomicU64,
    pub refused: AtomicU64,
}

/// One rider.
pub struct Rider {
    pub peer: Peer,
    pub encoding: Encoding,
    pub number: u32,
    pub of: u32,
    pub tally: Arc<Tally>,
    pub orders: watch::Receiver<Order>,
}

/// The id of a rider of the benchmark.
pub fn id_of(number: u32) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 | u128::from(number))
}

#[derive(Serialize)]
struct Hello {
    r#type: &'static str,
    device_id: String,
    app_version: &'static str,
    boot_id: String,
    mono_ms: u64,
    at: i64,
    oldest: u64,
}

#[derive(Serialize)]
struct Duty {
    r#type: &'static str,
    id: &'static str,
    state: &'static str,
}

#[derive(Serialize)]
struct Pings {
    r#type: &'static str,
    oldest: u64,
    sent_at: i64,
    pings: Vec<Point>,
}

#[derive(Serialize)]
struct Point {
    seq: u64,
    at: i64,
    lat: f64,
    lon: f64,
    accuracy_m: f32,
    speed_mps: f32,
    heading_deg: f32,
}

/// The part of the engine's frames that a rider of the benchmark cares for.
#[derive(Debug, Deserialize)]
struct Heard {
    r#type: String,
    #[serde(default)]
    duty: String,
    #[serde(default)]
    stored_to: u64,
    #[serde(default)]
    refused: Vec<IgnoredAny>,
    #[serde(default)]
    why: String,
    #[serde(default)]
    code: String,
}

/// An open connection whose rider is on duty.
pub struct Riding {
    rider: Rider,
    socket: WebSocketStream<TcpStream>,
    way: Way,
    seq: u64,
    stored: u64,
}

impl Rider {
    /// Opens the socket; before the engine the rider then goes on duty and sends one point.
    pub async fn start(self, address: SocketAddr) -> Result<Riding> {
        let path = if self.peer == Peer::Engine { "/v1/rider/socket" } else { "/" };
        let mut request = format!("ws://{address}{path}").into_client_request()?;
        if self.peer == Peer::Engine {
            let bearer = format!("Bearer {}", token("rider", &id_of(self.number).to_string()));
            request.headers_mut().insert(header::AUTHORIZATION, bearer.parse()?);
            let protocol = format!("dispatch.v1.{}", self.encoding.name());
            request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol.parse()?);
        }
        // Tens of thousands of default buffers would be gigabytes.
        let config = WebSocketConfig::default().read_buffer_size(2_048).write_buffer_size(0);
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let socket = match client_async_with_config(request, stream, Some(config)).await {
            Ok((socket, _)) => socket,
            Err(Error::Http(answer)) if answer.status() == 400 => bail!("unsupported subprotocol"),
            Err(error) => return Err(error.into()),
        };
        let way = Way::of(self.number);
        let mut riding = Riding { rider: self, socket, way, seq: 0, stored: 0 };
        if riding.rider.peer == Peer::Engine {
            riding.go_on_duty().await?;
            riding.ride(Duration::from_secs(1), 1).await?;
        }
        riding.rider.tally.ready.fetch_add(1, Relaxed);
        Ok(riding)
    }
}

impl Riding {
    async fn go_on_duty(&mut self) -> Result<()> {
        let hello = Hello {
            r#type: "hello",
            device_id: format!("device-{:08}", self.rider.number),
            app_version: "1.0",
            boot_id: Uuid::new_v4().to_string(),
            mono_ms: 1,
            at: now_ms(),
            oldest: 1,
        };
        self.say(&hello).await?;
        loop {
            let message = self.socket.next().await.context("hung up before the welcome")??;
            let Some(heard) = Encoding::decode(&message)? else { continue };
            match (heard.r#type.as_str(), heard.duty.as_str()) {
                ("welcome" | "duty_changed", "ON") => return Ok(()),
                ("welcome", _) => self.say(&Duty { r#type: "duty", id: "on", state: "on" }).await.map(drop)?,
                ("error" | "bye", _) => bail!("not on duty: {heard:?}"),
                _ => {}
            }
        }
    }

    async fn say(&mut self, frame: &impl Serialize) -> Result<u64> {
        let message = self.rider.encoding.encode(frame)?;
        let bytes = message.len() as u64;
        self.socket.send(message).await?;
        Ok(bytes)
    }

    /// Follows the orders until the connection ends, which is a failure.
    pub async fn live(mut self) -> Result<()> {
        let mut due: Option<(Interval, Duration, u32)> = None;
        loop {
            tokio::select! {
                changed = self.rider.orders.changed() => {
                    changed?;
                    due = match *self.rider.orders.borrow_and_update() {
                        Order::Rest => None,
                        Order::Ride { every, points } => {
                            // Spread evenly over one interval; who comes late catches up: the load is an open loop.
                            let first = Instant::now() + every * self.rider.number / self.rider.of;
                            Some((interval_at(first, every), every, points))
                        }
                    };
                }
                (every, points) = next(&mut due) => self.ride(every, points).await?,
                message = self.socket.next() => {
                    let message = message.context("hung up")??;
                    self.hear(&message)?;
                }
            }
        }
    }

    async fn ride(&mut self, every: Duration, points: u32) -> Result<()> {
        let now = now_ms();
        let apart = every / points;
        let apart_ms = i64::try_from(apart.as_millis())?;
        let oldest = self.stored + 1;
        let pings = (1..=points)
            .map(|nth| {
                self.seq += 1;
                self.way.point(self.seq, now - apart_ms * i64::from(points - nth), apart)
            })
            .collect();
        let bytes = self.say(&Pings { r#type: "pings", oldest, sent_at: now, pings }).await?;
        let tally = &self.rider.tally;
        tally.frames.fetch_add(1, Relaxed);
        tally.points.fetch_add(u64::from(points), Relaxed);
        tally.bytes.fetch_add(bytes, Relaxed);
        Ok(())
    }

    fn hear(&mut self, message: &Message) -> Result<()> {
        let tally = &self.rider.tally;
        if self.rider.peer == Peer::Echo {
            if message.is_text() || message.is_binary() {
                tally.heard.fetch_add(1, Relaxed);
            }
            return Ok(());
        }
        let Some(heard) = Encoding::decode(message)? else { return Ok(()) };
        match heard.r#type.as_str() {
            "pings_ack" => {
                tally.heard.fetch_add(1, Relaxed);
                tally.refused.fetch_add(heard.refused.len() as u64, Relaxed);
                tally.settled.fetch_add(heard.stored_to.saturating_sub(self.stored), Relaxed);
                self.stored = self.stored.max(heard.stored_to);
            }
            "error" | "bye" => bail!("the engine said {} {} {}", heard.r#type, heard.why, heard.code),
            _ => {}
        }
        Ok(())
    }
}

/// The next time at which a frame is due; never, while nothing is.
async fn next(due: &mut Option<(Interval, Duration, u32)>) -> (Duration, u32) {
    match due {
        Some((interval, every, points)) => {
            interval.tick().await;
            (*every, *points)
        }
        None => std::future::pending().await,
    }
}

/// The device's clock, milliseconds since 1970.
fn now_ms() -> i64 {
    dispatch_engine::clock::Clock::wall().as_millis()
}

/// Where a rider goes: on with a turn now and then, and back towards the middle at the edge.
struct Way {
    rng: ChaCha8Rng,
    at: (f64, f64),
    heading: f64,
}

impl Way {
    fn of(number: u32) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(number.into());
        let mut somewhere = || rng.random_range(-HALF_DEGREES..HALF_DEGREES);
        let at = (CENTRE.0 + somewhere(), CENTRE.1 + somewhere());
        let heading = rng.random_range(0.0..std::f64::consts::TAU);
        Self { rng, at, heading }
    }

    fn point(&mut self, seq: u64, at: i64, span: Duration) -> Point {
        if self.rng.random_range(0..20) == 0 {
            self.heading += self.rng.random_range(-1.6..1.6);
        }
        let (north, east) = (self.at.0 - CENTRE.0, self.at.1 - CENTRE.1);
        if north.abs() > HALF_DEGREES || east.abs() > HALF_DEGREES {
            self.heading = (-east).atan2(-north);
        }
        let degrees = SPEED_MPS * span.as_secs_f64() / METRES_PER_DEGREE;
        self.at.0 += degrees * self.heading.cos();
        self.at.1 += degrees * self.heading.sin();
        // As many digits as phones send.
        let micro = |value: f64| (value * 1e6).round() / 1e6;
        #[expect(clippy::cast_possible_truncation, reason = "an angle below 360")]
        let heading_deg = self.heading.to_degrees().rem_euclid(360.0).round() as f32;
        Point {
            seq,
            at,
            lat: micro(self.at.0),
            lon: micro(self.at.1),
            accuracy_m: f32::from(self.rng.random_range(30_u8..120)) / 10.0,
            speed_mps: 6.1,
            heading_deg,
        }
    }
}
