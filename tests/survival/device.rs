//! A rider with a device: works, changes their mind, goes on while there is no network, and repeats under the same id
//! whatever was not answered.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use dispatch_engine::wire::{
    LatLon,
    rider::{Down, DutyWish, Ping, Progress, Up},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, interval, sleep},
};
use uuid::Uuid;

use crate::{
    belief::{Belief, note},
    ledger::{Ledger, Refused},
    socket::{Heard, Socket, now_ms},
    storm::Phase,
};

/// A request without an answer is sent again after this time.
const REPEAT: Duration = Duration::from_secs(2);
/// A connection on which nothing was heard for this time is dead; the engine's keep-alives come each second.
const DEAF: Duration = Duration::from_secs(4);
/// Between two points.
const PING: Duration = Duration::from_secs(1);

/// A request under way.
#[derive(Clone, Debug)]
struct Ask {
    id: String,
    frame: Up,
    about: About,
    first: Instant,
    /// When it was last sent on this connection.
    sent: Option<Instant>,
    sends: u32,
    /// Not before this time, after an answer that asks for patience.
    not_before: Instant,
}

#[derive(Clone, Debug, PartialEq)]
enum About {
    Duty,
    Seen,
    Accept { order: Uuid },
    Decline,
    Step { order: Uuid, step: &'static str },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Accept,
    Decline,
    Ignore,
    NeverSee,
}

/// A rider.
pub struct Device {
    rider: Uuid,
    address: SocketAddr,
    ledger: Arc<Ledger>,
    phase: watch::Receiver<Phase>,
    rng: ChaCha8Rng,
    boot: Uuid,
    seq: u64,
    requests: u32,
    belief: Belief,
    at: LatLon,
    ask: Option<Ask>,
    /// What the rider makes of the offer on the screen, and whether it was seen.
    mood: Option<(Uuid, Mood, bool)>,
    think_until: Instant,
    lost_at: Option<Instant>,
    next_ping: Instant,
}

/// Where a device stands, for whoever waits until all is quiet.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Connected, nothing asked, nothing in hand.
    pub quiet: bool,
    /// What it is about, for a report.
    pub about: String,
}

/// Why a session ended, as far as it matters for the next one.
enum End {
    Lost,
    Hint(Duration),
    Over,
}

impl Device {
    /// A rider at a place.
    pub fn new(
        rider: Uuid,
        address: SocketAddr,
        at: LatLon,
        seed: u64,
        ledger: Arc<Ledger>,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        let now = Instant::now();
        Self {
            rider,
            address,
            ledger,
            phase,
            rng: ChaCha8Rng::seed_from_u64(seed),
            boot: Uuid::new_v4(),
            seq: 0,
            requests: 0,
            belief: Belief { duty: "OFF".into(), ..Belief::default() },
            at,
            ask: None,
            mood: None,
            think_until: now,
            lost_at: None,
            next_ping: now,
        }
    }

    /// Lives until the end, and returns what it believes then.
    pub async fn live(mut self, standing: watch::Sender<Standing>) -> Belief {
        let mut backoff = Duration::from_millis(100);
        while *self.phase.borrow() != Phase::Over {
            let opened = Socket::open(self.address, self.rider, self.boot).await;
            let end = match opened {
                None => End::Lost,
                Some(mut socket) => match socket.welcome().await {
                    Err(hint) => hint.map_or(End::Lost, End::Hint),
                    Ok(welcome) => {
                        backoff = Duration::from_millis(100);
                        if let Some(since) = self.lost_at.take() {
                            self.ledger.waited(since);
                            self.ledger.count("reconnections");
                        }
                        self.hear(&Down::Welcome(welcome));
                        if let Some(ask) = &mut self.ask {
                            ask.sent = None;
                        }
                        self.session(&mut socket, &standing).await
                    }
                },
            };
            let wait = match end {
                End::Over => break,
                End::Hint(hint) => hint,
                End::Lost => {
                    backoff = (backoff * 2).min(Duration::from_secs(1));
                    backoff.mul_f64(self.rng.random_range(0.5..1.5))
                }
            };
            self.lost_at.get_or_insert_with(Instant::now);
            self.show(&standing, false);
            sleep(wait).await;
            // The rider goes on without a network.
            self.decide();
        }
        self.belief
    }

    async fn session(&mut self, socket: &mut Socket, standing: &watch::Sender<Standing>) -> End {
        let mut beat = interval(Duration::from_millis(50));
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                came = socket.next() => {
                    heard = Instant::now();
                    match came {
                        Heard::Closed => return End::Lost,
                        Heard::Beat => {}
                        Heard::Frame(down) => {
                            if let Down::Bye { why, reconnect_after_ms } = &*down {
                                if reconnect_after_ms.is_none() {
                                    self.ledger.complain(format!("{} was sent away for good: {why}", self.rider));
                                }
                                self.ledger.count(&format!("bye {why}"));
                                return End::Hint(Duration::from_millis(reconnect_after_ms.unwrap_or(500)));
                            }
                            if !self.hear(&down) {
                                return End::Lost;
                            }
                        }
                    }
                }
                _ = beat.tick() => {}
            }
            if *self.phase.borrow() == Phase::Over {
                return End::Over;
            }
            if heard.elapsed() > DEAF {
                return End::Lost;
            }
            self.decide();
            self.show(standing, true);
            if !self.speak(socket).await {
                return End::Lost;
            }
        }
    }

    fn show(&self, standing: &watch::Sender<Standing>, online: bool) {
        let quiet = online && self.ask.is_none() && self.belief.orders.is_empty() && self.belief.offer.is_none();
        let quiet = quiet && self.belief.duty == "ON";
        let about = format!("{} online {online}, {:?}, asks {:?}", self.rider, self.belief, self.ask);
        standing.send_replace(Standing { quiet, about });
    }

    /// Sends what is due; `false` when the connection does not take it.
    async fn speak(&mut self, socket: &mut Socket) -> bool {
        let now = Instant::now();
        if let Some(ask) = &mut self.ask
            && now >= ask.not_before
            && ask.sent.is_none_or(|sent| now - sent > REPEAT)
        {
            (ask.sent, ask.sends) = (Some(now), ask.sends + 1);
            // An impatient thumb.
            let times = if self.rng.random_bool(0.05) { 2 } else { 1 };
            let frame = ask.frame.clone();
            for _ in 0..times {
                if !socket.send(&frame).await {
                    return false;
                }
            }
        }
        if self.belief.duty == "ON" && now >= self.next_ping {
            self.next_ping = now + PING.mul_f64(self.rng.random_range(0.8..1.2));
            self.seq += 1;
            let ping = Ping {
                seq: self.seq,
                at: now_ms(),
                lat: self.at.lat,
                lon: self.at.lon,
                accuracy_m: Some(5.0),
                speed_mps: None,
                heading_deg: None,
                mock: false,
            };
            return socket.send(&Up::Pings { pings: vec![ping], oldest: None, sent_at: None }).await;
        }
        true
    }

    fn ask(&mut self, about: About, frame: impl FnOnce(String) -> Up) {
        self.requests += 1;
        let (now, id) = (Instant::now(), format!("{}-{}", self.boot.as_fields().0, self.requests));
        let frame = frame(id.clone());
        self.ask = Some(Ask { id, frame, about, first: now, sent: None, sends: 0, not_before: now });
    }

    fn think(&mut self, ms: std::ops::Range<u64>) {
        self.think_until = Instant::now() + Duration::from_millis(self.rng.random_range(ms));
    }

    fn calm(&self) -> bool {
        *self.phase.borrow() != Phase::Storm
    }

    /// What the rider does next, if it is time.
    fn decide(&mut self) {
        if self.ask.is_some() || Instant::now() < self.think_until {
            return;
        }
        let calm = self.calm();
        if let Some((offer, order)) = self.belief.offer {
            let (mood, seen) = match self.mood.filter(|(of, ..)| *of == offer) {
                // Whoever has time takes what comes.
                Some((_, _, seen)) if calm => (Mood::Accept, seen),
                Some((_, mood, seen)) => (mood, seen),
                None => (self.consider(), false),
            };
            self.mood = Some((offer, mood, seen));
            return match (mood, seen) {
                (Mood::NeverSee, _) | (Mood::Ignore, true) => {}
                (_, false) => self.ask(About::Seen, |id| Up::OfferSeen { id, offer }),
                (Mood::Accept, true) => self.ask(About::Accept { order }, |id| Up::OfferAccept { id, offer }),
                (Mood::Decline, true) => {
                    let reason = "too far".to_owned();
                    self.ask(About::Decline, |id| Up::OfferDecline { id, offer, reason });
                }
            };
        }
        if let Some((order, held)) = self.belief.orders.iter().next() {
            let (order, held) = (*order, held.clone());
            return self.step(order, &held.status, held.stop, calm);
        }
        let wish = match self.belief.duty.as_str() {
            "ON" if calm || self.belief.next_duty.is_some() => None,
            "ON" => match self.rng.random_range(0..2_000) {
                0 => Some(DutyWish::Off),
                1 => Some(DutyWish::Break),
                _ => None,
            },
            _ => Some(DutyWish::On),
        };
        if let Some(state) = wish {
            self.ask(About::Duty, |id| Up::Duty { id, state });
        }
    }

    fn consider(&mut self) -> Mood {
        match self.rng.random_range(0..100) {
            _ if self.calm() => Mood::Accept,
            0..84 => Mood::Accept,
            84..92 => Mood::Decline,
            92..96 => Mood::Ignore,
            _ => Mood::NeverSee,
        }
    }

    fn step(&mut self, order: Uuid, status: &str, stop: Option<(f64, f64)>, calm: bool) {
        let dice = if calm { 0 } else { self.rng.random_range(0..100) };
        let step = match (status, dice) {
            ("assigned", 0..80) => "at_pickup",
            ("assigned" | "at_pickup", _) => "picked_up",
            ("picked_up", 0..75) => "at_dropoff",
            ("picked_up" | "at_dropoff", 97..) => "handover",
            ("picked_up" | "at_dropoff", 92..97) => "attempt_failed",
            ("picked_up" | "at_dropoff", _) => "delivered",
            ("attempt_failed", 0..50) => "at_dropoff",
            ("attempt_failed", _) => "returning",
            ("returning", _) => "returned",
            // A state that this device does not know: a newer engine has it.
            _ => return,
        };
        if let Some((lat, lon)) = stop {
            self.at = LatLon { lat, lon };
        }
        let reason = matches!(step, "attempt_failed" | "handover" | "returning").then(|| "nobody there".to_owned());
        let proof = (step == "delivered").then(|| json!({ "photo": "a.jpg" }));
        let (at, position) = (now_ms(), Some(self.at));
        let step_name = step.to_owned();
        self.ask(About::Step { order, step }, |id| {
            Up::Progress(Progress { id, order, step: step_name, at, position, reason, proof })
        });
    }

    /// Takes a frame in; `false` when the device had better begin anew.
    fn hear(&mut self, down: &Down) -> bool {
        note(&self.ledger, self.rider, down);
        let changed = !matches!(down, Down::PingsAck { .. } | Down::PingInterval { .. });
        let before = self.belief.offer;
        self.belief.hear(down);
        if changed && before != self.belief.offer {
            self.think(50..400);
        }
        let re = match down {
            Down::Offer(offer) => offer.re.as_deref(),
            Down::OfferClosed { re, .. }
            | Down::Assigned { re, .. }
            | Down::OrderChanged { re, .. }
            | Down::DutyChanged { re, .. }
            | Down::Error { re, .. } => re.as_deref(),
            _ => None,
        };
        let Some(ask) = self.ask.take_if(|ask| Some(ask.id.as_str()) == re) else { return true };
        self.answered(ask, down)
    }

    fn answered(&mut self, ask: Ask, down: &Down) -> bool {
        let Down::Error { code, .. } = down else {
            if ask.sends > 1 {
                self.ledger.waited(ask.first);
                self.ledger.count("requests repeated by devices");
            }
            self.settled(&ask);
            return true;
        };
        self.ledger.count(&format!("{code} to devices"));
        match code.as_str() {
            // For now.
            "storage_busy"
            | "storage_unavailable"
            | "order_busy"
            | "version_conflict"
            | "city_busy"
            | "city_full"
            | "city_unavailable"
            | "city_deadline"
            | "city_moved"
            | "city_paused"
            | "too_many_requests" => {
                let pause = Duration::from_millis(self.rng.random_range(100..500));
                self.ask = Some(Ask { not_before: Instant::now() + pause, sent: None, ..ask });
                true
            }
            code => {
                self.refused(&ask, code);
                // What it believed was not so: the truth comes with the next `welcome`.
                false
            }
        }
    }

    fn settled(&mut self, ask: &Ask) {
        match ask.about {
            About::Seen => {
                if let Some((_, _, seen)) = &mut self.mood {
                    *seen = true;
                }
                self.think(50..500);
            }
            About::Accept { .. } | About::Step { .. } => self.think(100..700),
            About::Decline => self.think(50..200),
            About::Duty => self.think(200..1_500),
        }
    }

    fn refused(&mut self, ask: &Ask, code: &str) {
        let rider = self.rider;
        match &ask.about {
            // The answer to a repeated acceptance is the first one: the job.
            About::Accept { order } if self.belief.orders.contains_key(order) => {
                self.ledger.complain(format!("{rider} holds {order} and its repeated acceptance was refused: {code}"));
            }
            About::Step { order, step } => {
                let (order, step, code) = (*order, (*step).to_owned(), code.to_owned());
                self.ledger.notes().refused.push(Refused { rider, order, step, code });
            }
            _ => {}
        }
        if let Some((offer, _)) = self.belief.offer
            && matches!(ask.about, About::Seen | About::Accept { .. } | About::Decline)
        {
            self.mood = Some((offer, Mood::NeverSee, false));
        }
        self.think(100..300);
    }
}
