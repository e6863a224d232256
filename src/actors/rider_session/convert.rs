//! Between the wire and the engine, explicitly, in both directions.

use crate::{
    actors::city::CityCallError,
    domain::{
        device::{PushDevice, PushToken},
        duty::{Duty, DutyReason},
        ids::{BootId, CityCode, OfferId, OrderId, ReplyTo, RiderId, SessionId},
        money::Money,
        order::{Place, Step},
        otp::OtpDigest,
        ping::run::Run,
        position::Position,
        time::Timestamp,
    },
    engine::{
        answered::FrameKey,
        command::{Answer, Command, Outcome, Refusal, RiderSync, StepReport},
        view::{JobView, OfferView},
    },
    store::{contacts::Sealer, riders::StoredDuty},
    wire::{
        MoneyBody, PlaceBody,
        codes::frame,
        json,
        rider::{Down, DutyWish, Hello, Job, JobOrder, Offer, Progress, PushAddress, Stop, Up, Welcome},
    },
};

use super::{
    codec::{BadFrame, is_id},
    keys,
};

/// A frame of a live session, checked.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Another duty.
    Duty(Duty),
    /// The offer is on the screen.
    OfferSeen(OfferId),
    /// Yes or no.
    Answer(OfferId, Answer),
    /// A step of an order.
    Progress(Box<StepReport>),
}

impl Request {
    /// The command that carries it out.
    #[must_use]
    pub fn command(self, rider: RiderId, session: SessionId, reply: ReplyTo) -> Command {
        match self {
            Self::Duty(duty) => Command::SetDuty { rider, session, duty, reply },
            Self::OfferSeen(offer) => Command::OfferSeen { rider, session, offer, reply },
            Self::Answer(offer, answer) => Command::AnswerOffer { rider, session, offer, answer, reply },
            Self::Progress(report) => Command::Progress { rider, session, report, reply },
        }
    }

    /// The offer that it is about.
    #[must_use]
    pub const fn offer(&self) -> Option<OfferId> {
        match self {
            Self::OfferSeen(offer) | Self::Answer(offer, _) => Some(*offer),
            Self::Duty(_) | Self::Progress(_) => None,
        }
    }
}

/// How the device that says hello can be woken.
#[must_use]
pub fn push_device(rider: RiderId, hello: &Hello, now: Timestamp) -> Option<PushDevice> {
    hello.push.as_ref().map(|push| PushDevice {
        rider,
        device: hello.device_id.clone(),
        provider: push.provider.clone(),
        token: PushToken::new(push.token.clone()),
        app_version: hello.app_version.clone(),
        seen_at: now,
    })
}

/// The name of a frame's type, as a metric label.
#[must_use]
pub const fn type_of(up: &Up) -> &'static str {
    match up {
        Up::Hello(_) => "hello",
        Up::Duty { .. } => "duty",
        Up::Pings { .. } => "pings",
        Up::OfferSeen { .. } => "offer_seen",
        Up::OfferAccept { .. } => "offer_accept",
        Up::OfferDecline { .. } => "offer_decline",
        Up::Progress(_) => "progress",
    }
}

/// Checks the particulars of a `hello`.
///
/// # Errors
/// [`BadFrame`] `malformed_frame`.
pub fn check_hello(hello: &Hello) -> Result<(), BadFrame> {
    if !is_id(&hello.device_id) {
        return Err(BadFrame::new(frame::MALFORMED_FRAME, "device_id takes 1 to 64 characters, no control characters"));
    }
    if hello.app_version.chars().count() > 64 || hello.app_version.chars().any(char::is_control) {
        return Err(BadFrame::new(
            frame::MALFORMED_FRAME,
            "app_version takes at most 64 characters, no control characters",
        ));
    }
    if hello.push.as_ref().is_some_and(|push| !is_push_address(push)) {
        let detail = "push takes a provider of 1 to 32 and a token of 1 to 1024 visible ASCII characters";
        return Err(BadFrame::new(frame::MALFORMED_FRAME, detail));
    }
    check_oldest(hello.oldest)
}

/// Checks the lowest number that a device says it holds.
///
/// # Errors
/// [`BadFrame`] `malformed_frame`.
pub fn check_oldest(oldest: Option<u64>) -> Result<(), BadFrame> {
    if oldest.is_some_and(|oldest| oldest == 0 || i64::try_from(oldest).is_err()) {
        return Err(BadFrame::new(frame::MALFORMED_FRAME, "oldest is a number from 1, of at most 63 bits"));
    }
    Ok(())
}

/// The run of the device that says hello.
#[must_use]
pub fn run(rider: RiderId, hello: Hello) -> Run {
    Run { rider, device: hello.device_id, boot: BootId(hello.boot_id), oldest: hello.oldest }
}

fn is_push_address(push: &PushAddress) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=32).contains(&push.provider.len())
        && push.provider.bytes().all(is_word)
        && (1..=1_024).contains(&push.token.len())
        && push.token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A request with the key of its frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The device's name for it, and what it asks for.
    pub key: FrameKey,
    /// The request.
    pub request: Request,
}

/// Reads a request; `skew_ms` is what must be added to device time.
///
/// # Errors
/// [`BadFrame`] with the code of what is wrong: `malformed_frame`, `unknown_step`, or the code of a position.
pub fn request(mut up: Up, now: Timestamp, skew_ms: i64, sealer: &Sealer) -> Result<Asked, BadFrame> {
    let code = match &mut up {
        Up::Progress(progress) => {
            keys::take_code(progress, sealer).map_err(|bad| BadFrame { re: Some(progress.id.clone()), ..bad })?
        }
        _ => None,
    };
    let digest = keys::digest(&up, code);
    let (id, request) = match up {
        Up::Duty { id, state } => (id, Ok(Request::Duty(duty(state)))),
        Up::OfferSeen { id, offer } => (id, Ok(Request::OfferSeen(OfferId(offer)))),
        Up::OfferAccept { id, offer } => (id, Ok(Request::Answer(OfferId(offer), Answer::Accept))),
        Up::OfferDecline { id, offer, reason } => {
            let answer = text("reason", reason).map(|reason| Answer::Decline { reason });
            (id, answer.map(|answer| Request::Answer(OfferId(offer), answer)))
        }
        Up::Progress(mut progress) => {
            let id = std::mem::take(&mut progress.id);
            (id, report(progress, code, now, skew_ms).map(|report| Request::Progress(Box::new(report))))
        }
        Up::Hello(_) | Up::Pings { .. } => {
            return Err(BadFrame::new(frame::MALFORMED_FRAME, "this frame is no request"));
        }
    };
    if !is_id(&id) {
        return Err(BadFrame::new(frame::MALFORMED_FRAME, "id takes 1 to 64 characters, no control characters"));
    }
    match request {
        Ok(request) => Ok(Asked { key: FrameKey { id, digest }, request }),
        Err(bad) => Err(BadFrame { re: Some(id), ..bad }),
    }
}

const fn duty(wish: DutyWish) -> Duty {
    match wish {
        DutyWish::On => Duty::On,
        DutyWish::Break => Duty::Break,
        DutyWish::Off => Duty::Off,
    }
}

fn report(progress: Progress, code: Option<OtpDigest>, now: Timestamp, skew_ms: i64) -> Result<StepReport, BadFrame> {
    let step =
        Step::parse(&progress.step).map_err(|unknown| BadFrame::new(frame::UNKNOWN_STEP, unknown.to_string()))?;
    let position = progress.position.map(|at| Position::new(at.lat, at.lon)).transpose();
    let position = position.map_err(|error| BadFrame::new(error.code(), error.to_string()))?;
    let proof = progress.proof.filter(|proof| !proof.is_null());
    // Postgres holds no NUL, in text or in JSON.
    if proof.as_ref().is_some_and(|proof| proof.to_string().len() > 2_048 || json::nul(proof).is_some()) {
        return Err(BadFrame::new(frame::MALFORMED_FRAME, "proof takes at most 2 KiB as JSON, without NUL"));
    }
    Ok(StepReport {
        order: OrderId(progress.order),
        step,
        // What a device reports has happened; its clock may still run ahead.
        at: Timestamp::from_millis(progress.at.saturating_add(skew_ms)).min(now),
        position,
        reason: progress.reason.map(|reason| text("reason", reason)).transpose()?,
        proof,
        otp: code,
    })
}

fn text(field: &str, text: String) -> Result<String, BadFrame> {
    if text.chars().count() > 200 || text.contains('\0') {
        return Err(BadFrame::new(
            frame::MALFORMED_FRAME,
            format!("{field} takes at most 200 characters, without NUL"),
        ));
    }
    Ok(text)
}

/// The answer to `hello`.
#[must_use]
pub fn welcome(sync: &RiderSync, now: Timestamp, clock_speed: f64, city: &CityCode) -> Welcome {
    Welcome {
        server_time: now.as_millis(),
        clock_speed,
        ping_interval_ms: sync.ping_interval_ms,
        city: city.to_string(),
        duty: sync.duty.to_string(),
        next_duty: sync.next_duty.map(|duty| duty.to_string()),
        plan: sync.jobs.iter().map(job).collect(),
        open_offer: sync.open_offer.as_ref().map(|view| offer(view, now)),
        // Only the session knows how many there are.
        reconnect_within_ms: 0,
        duty_why: sync.duty_why.map(|why| why.to_string()),
    }
}

/// A city forgets who is away and off duty, and why: to a rider whom it met just now the stored word says more.
pub fn add_stored_duty(sync: &mut RiderSync, stored: StoredDuty) {
    let off = |duty| matches!(duty, Duty::Off | Duty::AutoOff);
    if sync.duty_why.is_none() && off(sync.duty) && off(stored.duty) {
        (sync.duty, sync.duty_why) = (stored.duty, stored.why);
    }
}

/// The good answer to a request. `open_offer` is the offer that the device holds; an offer that was seen is told again
/// with the time that is left.
#[must_use]
pub fn outcome(id: &str, request: &Request, outcome: &Outcome, open_offer: Option<&Offer>, now: Timestamp) -> Down {
    let re = Some(id.to_owned());
    match (outcome, request.offer()) {
        (Outcome::Duty { duty, next }, _) => Down::DutyChanged {
            re,
            duty: duty.to_string(),
            next: next.map(|duty| duty.to_string()),
            why: DutyReason::Rider.to_string(),
        },
        (Outcome::OfferSeen { expires_in_ms }, Some(seen)) => match open_offer.filter(|open| open.offer == seen.0) {
            Some(open) => {
                Down::Offer(Offer { re, expires_in_ms: *expires_in_ms, sent_at: now.as_millis(), ..open.clone() })
            }
            // Its end overtook the answer.
            None => error(re, frame::OFFER_CLOSED, "the offer is closed"),
        },
        (Outcome::Accepted(view), _) => Down::Assigned { re, job: job(view) },
        (Outcome::Declined, Some(offer)) => Down::OfferClosed { re, offer: offer.0, why: "declined".to_owned() },
        (Outcome::Stepped { order, status, version, job: in_hand }, _) => Down::OrderChanged {
            re,
            order: order.0,
            status: status.to_string(),
            version: Some(*version),
            why: "progress".to_owned(),
            job: in_hand.as_deref().map(job),
        },
        (
            Outcome::Connected(_)
            | Outcome::Replayed(_)
            | Outcome::Order { .. }
            | Outcome::OfferSeen { .. }
            | Outcome::Declined
            | Outcome::Explained(_),
            _,
        ) => error(re, frame::INTERNAL, "the city gave an answer to another question"),
    }
}

/// The bad answer to a request. That another rider was faster is no error of anybody: the offer is closed.
#[must_use]
pub fn failure(id: &str, request: &Request, failed: &CityCallError) -> Down {
    if let (CityCallError::Refused(Refusal::OfferTaken), Some(offer)) = (failed, request.offer()) {
        return Down::OfferClosed { re: Some(id.to_owned()), offer: offer.0, why: "taken".to_owned() };
    }
    error(Some(id.to_owned()), code(failed), &failed.to_string())
}

/// The stable code of a failed call.
#[must_use]
pub const fn code(failed: &CityCallError) -> &'static str {
    match failed {
        CityCallError::Unknown => frame::UNKNOWN_CITY,
        CityCallError::Gone => frame::CITY_UNAVAILABLE,
        CityCallError::Full => frame::CITY_BUSY,
        CityCallError::Deadline => frame::CITY_DEADLINE,
        // On this socket `storage_unavailable` is said of requests that wait; this one was refused.
        CityCallError::Refused(Refusal::StorageUnavailable) => Refusal::StorageBusy.code(),
        CityCallError::Refused(refusal) => refusal.code(),
    }
}

/// Whether the same request would get the same answer later.
#[must_use]
pub const fn is_lasting(result: &Result<Outcome, CityCallError>) -> bool {
    match result {
        Ok(_) => true,
        Err(CityCallError::Refused(refusal)) => !matches!(
            refusal,
            Refusal::OrderBusy
                | Refusal::CityPaused
                | Refusal::CityFull(_)
                | Refusal::Conflict
                | Refusal::Fenced
                | Refusal::StorageBusy
                | Refusal::StorageUnavailable
                | Refusal::FrameIdReused
        ),
        Err(_) => false,
    }
}

/// An error frame.
#[must_use]
pub fn error(re: Option<String>, code: &str, detail: &str) -> Down {
    Down::Error { re, code: code.to_owned(), detail: detail.to_owned() }
}

/// An offer, put on the wire now.
#[must_use]
pub fn offer(view: &OfferView, now: Timestamp) -> Offer {
    Offer {
        re: None,
        offer: view.offer.0,
        expires_in_ms: view.expires_in_ms,
        job: job(&view.job),
        pickup_eta_ms: u64::try_from(view.pickup_eta.as_millis()).unwrap_or(u64::MAX),
        pickup_distance_m: view.pickup_distance_m,
        payout: money(view.payout),
        sent_at: now.as_millis(),
    }
}

/// A job.
#[must_use]
pub fn job(view: &JobView) -> Job {
    let order = |order: &crate::engine::view::JobOrder| JobOrder {
        order: order.order.0,
        status: order.status.to_string(),
        version: order.version,
        merchant: order.merchant.0,
        external_ref: order.external_ref.clone(),
        store: order.store.clone(),
        ready_at: order.ready_at.as_millis(),
        promise_at: order.promise_at.as_millis(),
        cash_to_collect: money(order.cash_to_collect),
        needs_otp: order.needs_otp,
    };
    let stop = |stop: &crate::engine::view::Stop| Stop {
        kind: stop.kind.to_string(),
        order: stop.order.0,
        place: place(&stop.place),
        at: stop.at.as_millis(),
    };
    Job {
        job: view.job.0,
        orders: view.orders.iter().map(order).collect(),
        stops: view.stops.iter().map(stop).collect(),
    }
}

fn money(money: Money) -> MoneyBody {
    MoneyBody { minor: money.minor, currency: money.currency.to_string() }
}

fn place(place: &Place) -> PlaceBody {
    PlaceBody { lat: place.position.lat(), lon: place.position.lon(), hint: place.hint.clone() }
}
