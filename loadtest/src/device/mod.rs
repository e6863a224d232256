//! A simulated rider device: one task with a real websocket. The shell here connects, waits and writes; every decision
//! is in `behaviour`, `hearing` and `work`, which are pure.

pub mod behaviour;
#[cfg(test)]
mod behaviour_tests;
pub mod diary;
#[cfg(test)]
mod fixtures;
pub mod frames;
mod hearing;
mod lies;
pub mod link;
mod moods;
mod outcome;
pub mod pings;
#[cfg(test)]
mod socket_tests;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use dispatch_engine::{
    replay::{
        device::encoding::{Encoding, Unreadable, Written},
        manners::{Manners, NEVER, Outage},
        scenario::Shift,
    },
    wire::rider::{Down, DutyWish},
};
use futures_util::{SinkExt, StreamExt};
use rand::RngExt;
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, MissedTickBehavior},
};
use tokio_tungstenite::tungstenite::Message;

use self::{
    behaviour::Rider,
    link::{Endpoint, Socket, heard_takeover},
    outcome::{Ending, Out},
};
use crate::{
    clock::{ServerClock, millis},
    ledger::Ledger,
    stats::{Stats, count},
};

/// Real time between keep-alives of a device.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Real time without any frame after which a device believes that its connection is dead.
const DEAF: Duration = Duration::from_secs(60);

/// Real time that a write may take.
const WRITE: Duration = Duration::from_secs(10);

/// Real time that a device takes at the end of the run to go off duty and to see its points stored.
const PARTING: Duration = Duration::from_secs(15);

/// The same on the engine's clock, at most: who has work in hand is silent meanwhile, and an engine whose clock runs fast
/// would give the work to somebody else.
const PARTING_CLOCK: Duration = Duration::from_secs(300);

/// Attempts to connect are this far apart at first, and at most; real time.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// What all devices of a run share.
#[derive(Debug)]
pub struct Shared {
    /// The engine's clock.
    pub clock: ServerClock,
    /// How riders behave.
    pub manners: Manners,
    /// Figures.
    pub stats: Stats,
    /// What clients were told.
    pub ledger: Ledger,
    /// Where to connect.
    pub endpoint: Endpoint,
    /// Handshakes at the same time.
    pub handshakes: Semaphore,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Riders come on duty.
    Warmup,
    /// Orders are placed, or worked off; times of a plan count from `t0` of the engine's clock.
    Running {
        /// The start of the plan.
        t0: i64,
    },
    /// Everyone goes home.
    Closing,
}

/// Lives one rider's part of the run.
pub async fn live(mut rider: Rider, shift: Shift, shared: Arc<Shared>, mut phase: watch::Receiver<Phase>) {
    if !wait_for_shift(shift, &shared, &mut phase).await {
        return;
    }
    let mut device = Device { rider: &mut rider, shift, shared: &shared, phase, parting: None, held: None };
    device.run().await;
    let now = shared.clock.now();
    rider.leave(now, &shared);
    rider.account(now, &shared);
}

/// Waits for the start of the shift; `false` when the run is over before it.
async fn wait_for_shift(shift: Shift, shared: &Shared, phase: &mut watch::Receiver<Phase>) -> bool {
    loop {
        let now = *phase.borrow_and_update();
        match now {
            Phase::Closing => return false,
            _ if shift.on <= 0 => return true,
            Phase::Warmup => {
                if phase.changed().await.is_err() {
                    return false;
                }
            }
            Phase::Running { t0 } => tokio::select! {
                () = shared.clock.sleep_until(t0 + shift.on) => return true,
                changed = phase.changed() => if changed.is_err() { return false },
            },
        }
    }
}

struct Device<'a> {
    rider: &'a mut Rider,
    shift: Shift,
    shared: &'a Arc<Shared>,
    phase: watch::Receiver<Phase>,
    /// When to leave in any case, once everyone goes home.
    parting: Option<Instant>,
    /// A socket that fell silent; the next one takes over from it.
    held: Option<Socket>,
}

impl Device<'_> {
    async fn run(&mut self) {
        let mut backoff = BACKOFF.0;
        let mut first = true;
        self.look_at_phase();
        while !self.over() {
            let socket = self.connect().await;
            let ending = match socket {
                Ok(mut socket) => {
                    backoff = BACKOFF.0;
                    if !std::mem::take(&mut first) {
                        self.shared.stats.reconnects.fetch_add(1, Relaxed);
                    }
                    if let Some(old) = self.held.take() {
                        let shared = Arc::clone(self.shared);
                        tokio::spawn(async move {
                            let heard = heard_takeover(old).await;
                            shared.stats.event(if heard { "takeover_told" } else { "takeover_not_told" });
                        });
                    }
                    self.shared.stats.connected.fetch_add(1, Relaxed);
                    let ending = self.session(&mut socket).await;
                    self.shared.stats.connected.fetch_sub(1, Relaxed);
                    self.rider.disconnected();
                    match &ending {
                        Some(Ending::Outage(Outage::Silent, _)) => self.held = Some(socket),
                        Some(Ending::Outage(Outage::Restart, _)) => self.rider.restart(self.shared),
                        Some(Ending::Outage(Outage::Cut, _)) => {}
                        _ => drop(tokio::time::timeout(WRITE, socket.close(None)).await),
                    }
                    ending
                }
                Err(for_good) if for_good => return,
                Err(_) => {
                    let wait = backoff.mul_f64(self.rider.rng.random_range(0.5..1.5));
                    backoff = (backoff * 2).min(BACKOFF.1);
                    self.offline_for(wait).await;
                    continue;
                }
            };
            match ending {
                None => return,
                Some(Ending::Outage(_, until)) => self.offline(self.shared.clock.instant(until)).await,
                Some(Ending::Resync) => {
                    self.shared.stats.event("resync");
                    let wait = BACKOFF.0.mul_f64(self.rider.rng.random_range(0.5..1.5));
                    self.offline_for(wait).await;
                }
                Some(Ending::Bye(Some(back))) => {
                    // Not all at once: the engine may have said so to everyone.
                    let spread = back.mul_f64(self.rider.rng.random_range(1.0..1.5));
                    self.offline_for(spread.max(Duration::from_millis(50))).await;
                }
                Some(Ending::Bye(None)) => {
                    self.shared.stats.event("stopped_by_bye");
                    return;
                }
            }
        }
    }

    /// `Err(true)` when another attempt would end the same way.
    async fn connect(&mut self) -> Result<Socket, bool> {
        let Ok(_turn) = self.shared.handshakes.acquire().await else { return Err(true) };
        let character = &self.rider.character;
        let result = self.shared.endpoint.connect(character.rider, character.index, character.encoding).await;
        result.map_err(|failure| {
            count(&mut self.shared.stats.sums().connect_errors, &failure.reason);
            failure.for_good
        })
    }

    /// Whether the device ends: its shift is over and stored, or the run is and patience with it.
    fn over(&self) -> bool {
        let parted = self.parting.is_some_and(|parting| Instant::now() >= parting);
        parted || (self.rider.finished() && self.rider.all_stored())
    }

    fn look_at_phase(&mut self) {
        let phase = *self.phase.borrow_and_update();
        match phase {
            Phase::Warmup => {}
            Phase::Running { t0 } => self.rider.shift_end = self.shift.off.map_or(NEVER, |off| t0 + off),
            Phase::Closing => {
                self.rider.wish = DutyWish::Off;
                self.rider.closing = true;
                let silence = Duration::from_micros(self.shared.clock.real_micros(millis(PARTING_CLOCK)));
                self.parting.get_or_insert(Instant::now() + PARTING.min(silence));
            }
        }
    }

    async fn offline_for(&mut self, wait: Duration) {
        self.offline(Instant::now() + wait).await;
    }

    /// Without a connection: the rider goes on, and points and reports pile up for later.
    async fn offline(&mut self, until: Instant) {
        while !self.over() && Instant::now() < until {
            let due = self.shared.clock.instant(self.rider.next_due()).min(until);
            tokio::select! {
                () = tokio::time::sleep_until(due) => {
                    drop(self.rider.on_time(self.shared.clock.now(), self.shared));
                }
                changed = self.phase.changed() => {
                    self.look_at_phase();
                    if changed.is_err() || self.parting.is_some() {
                        return;
                    }
                }
            }
        }
    }

    /// One connection from hello to its end; `None` when the device has nothing more to do.
    async fn session(&mut self, socket: &mut Socket) -> Option<Ending> {
        let hello = self.rider.hello(self.shared.clock.now());
        let encoding = self.rider.character.encoding;
        if !write(socket, encoding, Out { frames: vec![hello], ..Out::default() }).await {
            return Some(Ending::Resync);
        }
        let mut keep_alive = tokio::time::interval(KEEP_ALIVE);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        while !self.over() {
            let mut due = self.shared.clock.instant(self.rider.next_due());
            if let Some(parting) = self.parting {
                due = due.min(parting);
            }
            let mut out = tokio::select! {
                message = socket.next() => {
                    heard = Instant::now();
                    match message {
                        Some(Ok(Message::Text(text))) => self.hear(encoding.read_text(text.as_str())),
                        Some(Ok(Message::Binary(bytes))) => self.hear(encoding.read_binary(&bytes)),
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return Some(self.lost()),
                        Some(Ok(_)) => continue,
                    }
                }
                // Before `welcome` there is nothing to say.
                () = tokio::time::sleep_until(due), if self.rider.online() => Out::default(),
                _ = keep_alive.tick() => {
                    if heard.elapsed() > DEAF || (!self.rider.online() && heard.elapsed() > WRITE) {
                        return Some(self.lost());
                    }
                    Out { raw: vec![Message::Ping(Default::default())], ..Out::default() }
                }
                changed = self.phase.changed() => {
                    self.look_at_phase();
                    if changed.is_err() {
                        return None;
                    }
                    Out::default()
                }
            };
            if out.ending.is_none() && self.rider.online() {
                out.append(self.rider.on_time(self.shared.clock.now(), self.shared));
            }
            let ending = out.ending.take();
            if !write(socket, encoding, out).await {
                return Some(self.lost());
            }
            if ending.is_some() {
                return ending;
            }
        }
        None
    }

    fn lost(&mut self) -> Ending {
        self.shared.stats.event("connection_lost");
        // It may have happened to everyone.
        let spread = self.rider.back_within.mul_f64(self.rider.rng.random_range(0.0..1.0));
        Ending::Bye(Some(BACKOFF.0 + spread))
    }

    fn hear(&mut self, frame: Result<Down, Unreadable>) -> Out {
        let now = self.shared.clock.now();
        match frame {
            Ok(frame) => self.rider.on_frame(now, frame, self.shared),
            Err(_) => {
                self.shared.stats.event("unreadable_frame");
                Out::default()
            }
        }
    }
}

/// Writes what was decided; `false` when the connection does not take it.
async fn write(socket: &mut Socket, encoding: Encoding, out: Out) -> bool {
    if out.frames.is_empty() && out.raw.is_empty() {
        return true;
    }
    let write = async {
        for frame in &out.frames {
            match encoding.write(frame) {
                Ok(Written::Text(text)) => socket.feed(Message::text(text)).await?,
                Ok(Written::Binary(bytes)) => socket.feed(Message::binary(bytes)).await?,
                Err(_) => {}
            }
        }
        for message in out.raw {
            socket.feed(message).await?;
        }
        socket.flush().await
    };
    matches!(tokio::time::timeout(WRITE, write).await, Ok(Ok(())))
}
