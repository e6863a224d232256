//! A device that streams points, whatever happens to its connection: it records on and on, keeps what is not settled, and
//! writes down what it was told.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use dispatch_engine::{
    replay::device::keeper::{Keeper, Limits},
    wire::{
        codes::ping::DUPLICATE,
        rider::{Down, DutyWish, Ping, RefusedPing, Up},
    },
};
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use tokio::{
    sync::watch,
    time::{Instant, interval, sleep},
};
use uuid::Uuid;

use super::{
    diary::{Diary, Entry},
    kinds::Kind,
};
use crate::{
    ledger::Ledger,
    socket::{Heard, Opening, Socket, now_ms},
    storm::Phase,
};

/// Milliseconds between two points.
const EVERY_MS: i64 = 100;
/// Between two looks at what is due.
const LOOK: Duration = Duration::from_millis(50);
/// A duty that was not answered is asked for again after this time.
const REPEAT: Duration = Duration::from_secs(2);
/// A connection on which nothing was heard for this time is dead; the engine's keep-alives come each second.
const DEAF: Duration = Duration::from_secs(4);
/// Looks between two dead zones, on average.
const DEAD_ZONE_EVERY: u32 = 200;
/// How long one is, milliseconds.
const DEAD_ZONE_MS: std::ops::Range<u64> = 300..4_000;

/// Small frames and a small window, so that every bound is met.
const LIMITS: Limits = Limits { kept: 100_000, per_frame: 20, window: 100, hesitate_ms: 200 };

/// Where a device stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    /// Whether it was told that it is on duty.
    pub on_duty: bool,
    /// Points that it keeps.
    pub kept: usize,
    /// When the newest point that is settled was recorded, milliseconds since 1970.
    pub settled_at: i64,
    /// How many are settled.
    pub settled: u64,
}

/// Why a connection ended.
enum End {
    Lost,
    Hint(Duration),
    DeadZone,
    Over,
}

/// A device.
pub struct Client {
    address: SocketAddr,
    ledger: Arc<Ledger>,
    phase: watch::Receiver<Phase>,
    rng: ChaCha8Rng,
    number: usize,
    keeper: Keeper,
    diary: Diary,
    next_at: i64,
    duty_asked: Option<Instant>,
    /// A repeated request would be answered as before: another wish takes another id.
    wishes: u32,
    standing: Standing,
}

impl Client {
    /// The device with a number, which decides its kind.
    pub fn new(
        rider: Uuid,
        number: usize,
        address: SocketAddr,
        seed: u64,
        ledger: Arc<Ledger>,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        let (kind, boot) = (Kind::of(number), Uuid::new_v4());
        let keeper = Keeper::new(boot, kind.order, LIMITS);
        let diary = Diary { rider, boot, kind, entries: Vec::new(), kept: 0, tally: Default::default() };
        Self {
            address,
            ledger,
            phase,
            rng: ChaCha8Rng::seed_from_u64(seed),
            number,
            keeper,
            diary,
            next_at: i64::MAX,
            duty_asked: None,
            wishes: 0,
            standing: Standing::default(),
        }
    }

    /// Lives until the end, and hands in its diary.
    pub async fn live(mut self, standing: watch::Sender<Standing>) -> Diary {
        while self.phase() != Phase::Over {
            let kind = self.diary.kind;
            let (boot, oldest) = (self.diary.boot, self.keeper.oldest());
            let opening = Opening { boot, encoding: kind.encoding, oldest, at: kind.clock.shows(now_ms()) };
            let end = match Socket::open_as(self.address, self.diary.rider, opening).await {
                None => End::Lost,
                Some(mut socket) => match socket.welcome().await {
                    Err(hint) => hint.map_or(End::Lost, End::Hint),
                    Ok(welcome) => {
                        self.on_duty(welcome.duty == "ON");
                        self.record();
                        self.keeper.connected(now_ms());
                        let end = self.session(&mut socket, &standing).await;
                        self.keeper.disconnected();
                        end
                    }
                },
            };
            let wait = match end {
                End::Over => break,
                End::Hint(hint) => hint,
                End::Lost => Duration::from_millis(self.rng.random_range(100..1_000)),
                End::DeadZone => {
                    self.ledger.count("dead zones");
                    Duration::from_millis(self.rng.random_range(DEAD_ZONE_MS))
                }
            };
            self.record();
            self.show(&standing);
            sleep(wait).await;
        }
        let (kept, tally) = (self.keeper.backlog(), self.keeper.tally().clone());
        Diary { kept, tally, ..self.diary }
    }

    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    async fn session(&mut self, socket: &mut Socket, standing: &watch::Sender<Standing>) -> End {
        let (mut beat, mut heard) = (interval(LOOK), Instant::now());
        self.duty_asked = None;
        loop {
            tokio::select! {
                came = socket.next() => {
                    heard = Instant::now();
                    match came {
                        Heard::Closed => return End::Lost,
                        Heard::Beat => {}
                        Heard::Frame(down) => if let Some(end) = self.hear(*down) { return end },
                    }
                }
                _ = beat.tick() => {
                    if self.phase() == Phase::Storm && self.rng.random_ratio(1, DEAD_ZONE_EVERY) {
                        return End::DeadZone;
                    }
                }
            }
            if self.phase() == Phase::Over {
                return End::Over;
            }
            if heard.elapsed() > DEAF {
                return End::Lost;
            }
            self.record();
            for up in self.frames() {
                if !socket.send(&up).await {
                    return End::Lost;
                }
            }
            self.show(standing);
        }
    }

    fn show(&mut self, standing: &watch::Sender<Standing>) {
        self.standing.kept = self.keeper.backlog();
        standing.send_replace(self.standing);
    }

    fn on_duty(&mut self, on: bool) {
        self.standing.on_duty = on;
        self.wishes += u32::from(!on);
        if on && self.next_at == i64::MAX {
            self.next_at = now_ms();
        }
    }

    /// Records the points that are due, connected or not. They do not begin before the rider is on duty.
    fn record(&mut self) {
        let now = now_ms();
        while self.phase() == Phase::Storm && self.next_at <= now {
            let entry = self.point(self.next_at);
            self.next_at += EVERY_MS;
            let seq = self.keeper.record(entry.ping.clone());
            let ping = Ping { seq, ..entry.ping };
            self.diary.entries.push(Entry { ping, ..entry });
        }
    }

    /// A ride of 2 m a second, to the north; every point lies somewhere else. Seven digits survive every encoding.
    fn point(&mut self, true_at: i64) -> Entry {
        let step = self.diary.entries.len() as f64;
        let degrees = |degrees: f64| (degrees * 1e7).round() / 1e7;
        let mut ping = Ping {
            seq: 0,
            at: self.diary.kind.clock.shows(true_at),
            lat: degrees(12.93 + step * 1.8e-6),
            lon: degrees(77.55 + self.number as f64 * 1e-3),
            accuracy_m: Some(self.rng.random_range(1..40_u8).into()),
            speed_mps: Some(2.0),
            heading_deg: Some(self.rng.random_range(0..720_u16).into()).map(|half: f32| half / 2.0),
            mock: self.rng.random_ratio(1, 50),
        };
        let mut lie = None;
        if self.diary.kind.liar && self.rng.random_ratio(1, 20) {
            let spoilt =
                if self.rng.random_bool(0.5) { (91.0, ping.lon, "out_of_world") } else { (0.0, 0.0, "null_island") };
            (ping.lat, ping.lon) = (spoilt.0, spoilt.1);
            lie = Some(spoilt.2);
        }
        Entry { ping, true_at, lie, sends: 0, duplicates: 0, settled: false, refused: None }
    }

    /// What there is to send now.
    fn frames(&mut self) -> Vec<Up> {
        if !self.standing.on_duty {
            let due = self.duty_asked.is_none_or(|asked| asked.elapsed() > REPEAT);
            self.duty_asked = if due { Some(Instant::now()) } else { self.duty_asked };
            let id = format!("{}-{}", self.diary.boot.as_fields().0, self.wishes);
            return due.then_some(Up::Duty { id, state: DutyWish::On }).into_iter().collect();
        }
        let now = now_ms();
        let sent_at = self.diary.kind.clock.shows(now);
        let mut frames: Vec<Up> = std::iter::from_fn(|| self.keeper.next_frame(now, sent_at)).collect();
        if self.diary.kind.shuffles {
            frames.shuffle(&mut self.rng);
        }
        if self.diary.kind.stutters && self.rng.random_ratio(1, 20) {
            frames.extend(self.keeper.stutter(5, sent_at));
        }
        for up in &frames {
            let Up::Pings { pings, .. } = up else { continue };
            for ping in pings {
                if let Some(entry) = self.diary.entry(ping.seq) {
                    entry.sends += 1;
                }
            }
        }
        frames
    }

    fn hear(&mut self, down: Down) -> Option<End> {
        match down {
            Down::DutyChanged { duty, .. } => self.on_duty(duty == "ON"),
            Down::PingsAck { received_to, stored_to, refused } => self.acked(received_to, stored_to, &refused),
            Down::Bye { why, reconnect_after_ms } => {
                self.ledger.count(&format!("bye {why}"));
                return Some(End::Hint(Duration::from_millis(reconnect_after_ms.unwrap_or(500))));
            }
            Down::Error { code, .. } => self.ledger.count(&format!("{code} to devices")),
            _ => {}
        }
        None
    }

    fn acked(&mut self, received_to: u64, stored_to: u64, refused: &[RefusedPing]) {
        if stored_to > received_to {
            self.complain(&format!("stored to {stored_to}, received to {received_to}"));
        }
        for RefusedPing { seq, .. } in refused.iter().filter(|refused| refused.reason == DUPLICATE) {
            let Some(entry) = self.diary.entry(*seq) else { continue };
            entry.duplicates += 1;
            if entry.duplicates >= entry.sends {
                let what =
                    format!("{seq} was told {} times to be there already, sent {}", entry.duplicates, entry.sends);
                self.complain(&what);
            }
        }
        let acked = self.keeper.acked(received_to, stored_to, refused);
        for seq in acked.settled {
            let Some(entry) = self.diary.entry(seq) else { continue };
            entry.settled = true;
            let at = entry.true_at;
            self.standing.settled += 1;
            self.standing.settled_at = self.standing.settled_at.max(at);
        }
        for (seq, reason) in acked.refused {
            let Some(entry) = self.diary.entry(seq) else { continue };
            let expected = entry.lie;
            entry.refused = Some(reason.clone());
            if expected != Some(reason.as_str()) {
                self.complain(&format!("{seq} was refused: {reason}, expected {expected:?}"));
            }
        }
    }

    fn complain(&self, what: &str) {
        self.ledger.complain(format!("device {} ({:?}): {what}", self.number, self.diary.kind));
    }
}
