//! Devices that come back and ping, and note what they are offered.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dispatch_engine::wire::rider::{Down, Ping, Up};
use tokio::{
    sync::watch,
    time::{Instant, interval, sleep},
};
use uuid::Uuid;

use crate::{
    socket::{Heard, Socket, now_ms},
    support::world::KITCHEN,
};

/// What devices noted.
#[derive(Debug, Default)]
pub struct Notes {
    /// When the first `welcome` came.
    pub welcomed: Option<Instant>,
    /// When the first new offer came.
    pub offered: Option<Instant>,
    /// Devices on their sockets.
    pub online: usize,
    /// Connections that were opened.
    pub connections: usize,
    /// Why connections ended.
    pub ends: BTreeMap<String, usize>,
    /// Offers that came.
    pub offers: usize,
    /// Riders who were told that they are off duty.
    pub sent_home: usize,
    /// Offers that were accepted, and are the rider's.
    pub assigned: usize,
    /// Offers that were accepted and were not open any more, and what was said.
    pub stale: Vec<String>,
}

/// The notes of all devices.
pub type Shared = Arc<Mutex<Notes>>;

/// Writes something down.
pub fn note<R>(notes: &Shared, change: impl FnOnce(&mut Notes) -> R) -> R {
    change(&mut notes.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Comes back as often as needed, pings every five seconds, and takes offers while `takes` says so.
pub async fn live(address: SocketAddr, rider: Uuid, number: usize, takes: watch::Receiver<bool>, notes: Shared) {
    let boot = Uuid::new_v4();
    let mut seq = 0;
    loop {
        let Some(mut socket) = Socket::open(address, rider, boot).await else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        let Ok(_) = socket.welcome().await else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        note(&notes, |notes| {
            notes.welcomed.get_or_insert_with(Instant::now);
            notes.online += 1;
            notes.connections += 1;
        });
        let why = session(&mut socket, number, &mut seq, &takes, &notes).await;
        note(&notes, |notes| {
            notes.online -= 1;
            *notes.ends.entry(why).or_default() += 1;
        });
    }
}

async fn session(
    socket: &mut Socket,
    number: usize,
    seq: &mut u64,
    takes: &watch::Receiver<bool>,
    notes: &Shared,
) -> String {
    let mut beat = interval(Duration::from_secs(5));
    loop {
        let sent = tokio::select! {
            _ = beat.tick() => {
                *seq += 1;
                let step = f64::from(u32::try_from(number % 500).unwrap_or(0)) * 0.00001;
                let (lat, lon) = (KITCHEN.lat + step, KITCHEN.lon - step);
                let ping = Ping { seq: *seq, at: now_ms(), lat, lon, accuracy_m: Some(5.0), speed_mps: None,
                    heading_deg: None, mock: false };
                socket.send(&Up::Pings { pings: vec![ping], oldest: None, sent_at: None }).await
            }
            heard = socket.next() => match heard {
                Heard::Closed => return "closed".to_owned(),
                Heard::Beat => true,
                Heard::Frame(down) => match *down {
                    Down::Bye { why, .. } => return why,
                    Down::Offer(offer) if offer.re.is_none() => {
                        note(notes, |notes| {
                            notes.offered.get_or_insert_with(Instant::now);
                            notes.offers += 1;
                        });
                        if *takes.borrow() {
                            let (id, of) = (offer.offer.to_string(), offer.offer);
                            socket.send(&Up::OfferAccept { id, offer: of }).await
                        } else {
                            true
                        }
                    }
                    Down::Assigned { re: Some(_), .. } => note(notes, |notes| { notes.assigned += 1; true }),
                    Down::Error { re: Some(_), code, .. } => note(notes, |notes| { notes.stale.push(code); true }),
                    Down::DutyChanged { duty, .. } if duty == "AUTO_OFF" => {
                        note(notes, |notes| { notes.sent_home += 1; true })
                    }
                    _ => true,
                },
            },
        };
        if !sent {
            return "took no more".to_owned();
        }
    }
}
