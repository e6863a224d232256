//! How the rest of the program talks to a city: plain methods, bounded.

use std::{ops::Deref, sync::Arc, time::Duration};

use actix::Recipient;
use tokio::sync::oneshot;

use super::{
    life::{Ending, Lifeline},
    live::LivePoints,
    messages::{CityBody, CityMessage},
    rules::{PingRules, RuleBoard},
};
use crate::domain::ids::TransitionId;
use crate::{
    actors::{gate::Gate, operator_session::OperatorOutbox, order_journal::Availability, rider_session::RiderOutbox},
    domain::{
        ids::{CityCode, ReplyTo, RiderId, SessionId},
        rider::RiderProfile,
    },
    engine::{
        command::{Command, Outcome, Refusal, RejectReason},
        nearby::{NearbyQuery, NearbyRider, Whereabouts},
        view::CitySnapshot,
    },
};

/// How often a patient caller looks whether the database is away.
const LOOK_AT_STORAGE: Duration = Duration::from_millis(500);

/// A city that runs in this process. Cheap to clone; all clones share one bound. A handle outlives its city: when the
/// city has stopped, every call answers [`CityCallError::Gone`], and the router knows the new incarnation.
#[derive(Clone)]
pub struct CityHandle {
    code: CityCode,
    inbox: Recipient<CityMessage>,
    gate: Gate,
    life: Lifeline,
    rules: RuleBoard,
}

/// Why a call to a city failed before the city could answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CityCallError {
    /// No such city.
    #[error("no such city")]
    Unknown,
    /// The city is not running now (starting, being rebuilt, fenced or quarantined).
    #[error("the city is not being served now")]
    Gone,
    /// Its queue is full.
    #[error("the city's queue is full")]
    Full,
    /// It did not answer in time; the command may still take effect.
    #[error("the city did not answer in time")]
    Deadline,
    /// It answered with a refusal.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl CityHandle {
    /// Wraps the inbox of a running city.
    #[must_use]
    pub fn new(code: CityCode, inbox: Recipient<CityMessage>, gate: Gate, life: Lifeline, rules: RuleBoard) -> Self {
        Self { code, inbox, gate, life, rules }
    }

    /// The rules by which the points of its riders are judged.
    #[must_use]
    pub fn rules(&self) -> impl Deref<Target = Arc<PingRules>> {
        self.rules.read()
    }

    /// Whether another handle is of this very incarnation.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.life.is_same_as(&other.life)
    }

    /// Which city.
    #[must_use]
    pub fn code(&self) -> &CityCode {
        &self.code
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.inbox.connected()
    }

    /// Waits until this incarnation has ended, and says why. Whoever waits for an answer of it hears that it is gone at
    /// the same time; messages to it are dropped from then on.
    pub fn ended(&self) -> impl Future<Output = Ending> + Send + use<> {
        self.life.clone().ended()
    }

    /// Sends a command without waiting.
    ///
    /// # Errors
    /// [`CityCallError::Full`] or [`CityCallError::Gone`].
    pub fn tell(&self, command: Command) -> Result<(), CityCallError> {
        self.send(CityBody::Tell(command))
    }

    /// Sends live positions, which are put together only when there is a place for them; the lane decides what to do when
    /// the city is full.
    ///
    /// # Errors
    /// [`CityCallError::Full`] or [`CityCallError::Gone`].
    pub fn points(&self, points: impl FnOnce() -> LivePoints) -> Result<(), CityCallError> {
        self.send_with(|| CityBody::Points(points()))
    }

    /// How full its queue is, 0 to 1.
    #[must_use]
    pub fn fill(&self) -> f64 {
        self.gate.fill()
    }

    /// Asks and waits up to a real-time deadline.
    ///
    /// # Errors
    /// Any [`CityCallError`].
    pub async fn ask(
        &self,
        deadline: Duration,
        build: impl FnOnce(ReplyTo) -> Command + Send + 'static,
    ) -> Result<Outcome, CityCallError> {
        let (answer, received) = oneshot::channel();
        self.send(CityBody::Ask { build: Box::new(build), answer })?;
        Self::within(deadline, received).await?.map_err(CityCallError::Refused)
    }

    /// Asks and waits up to a real-time deadline that holds only while the database answers: what waits for an outage to
    /// end is answered once it is stored, and the deadline begins anew after it.
    ///
    /// # Errors
    /// Any [`CityCallError`].
    pub async fn ask_through_outages(
        &self,
        deadline: Duration,
        storage: Availability,
        build: impl FnOnce(ReplyTo) -> Command + Send + 'static,
    ) -> Result<Outcome, CityCallError> {
        let (answer, mut received) = oneshot::channel();
        self.send(CityBody::Ask { build: Box::new(build), answer })?;
        let mut left = deadline;
        loop {
            let step = left.min(LOOK_AT_STORAGE);
            match tokio::time::timeout(step, &mut received).await {
                Ok(Ok(answer)) => return answer.map_err(CityCallError::Refused),
                Ok(Err(_dropped)) => return Err(CityCallError::Gone),
                Err(_elapsed) if !storage.is_up() => left = deadline,
                Err(_elapsed) if left <= step => return Err(CityCallError::Deadline),
                Err(_elapsed) => left -= step,
            }
        }
    }

    /// Brings a rider session to the city.
    ///
    /// # Errors
    /// Any [`CityCallError`].
    pub async fn join(
        &self,
        deadline: Duration,
        rider: RiderProfile,
        session: SessionId,
        outbox: RiderOutbox,
    ) -> Result<Outcome, CityCallError> {
        let (answer, received) = oneshot::channel();
        self.send(CityBody::Join { rider, session, outbox, answer })?;
        Self::within(deadline, received).await?.map_err(CityCallError::Refused)
    }

    /// Subscribes an operator session.
    ///
    /// # Errors
    /// [`CityCallError::Full`] or [`CityCallError::Gone`].
    pub fn watch(&self, outbox: OperatorOutbox) -> Result<(), CityCallError> {
        self.send(CityBody::Watch(outbox))
    }

    /// The whole city, once.
    ///
    /// # Errors
    /// Any [`CityCallError`] but a refusal.
    pub async fn snapshot(&self, deadline: Duration) -> Result<CitySnapshot, CityCallError> {
        let (answer, received) = oneshot::channel();
        self.send(CityBody::Snapshot(answer))?;
        Self::within(deadline, received).await
    }

    /// The riders around a place who may be offered work now, nearest first.
    ///
    /// # Errors
    /// Any [`CityCallError`] but a refusal.
    pub async fn nearby(&self, deadline: Duration, query: NearbyQuery) -> Result<Vec<NearbyRider>, CityCallError> {
        let (answer, received) = oneshot::channel();
        self.send(CityBody::Nearby(query, answer))?;
        Self::within(deadline, received).await
    }

    /// Where a rider is; `None` for one who is not live here.
    ///
    /// # Errors
    /// Any [`CityCallError`] but a refusal.
    pub async fn whereabouts(&self, deadline: Duration, rider: RiderId) -> Result<Option<Whereabouts>, CityCallError> {
        let (answer, received) = oneshot::channel();
        self.send(CityBody::Whereabouts(rider, answer))?;
        Self::within(deadline, received).await
    }

    /// Brings the journal's results back. They always get through: a city that could not hear of its commits would be
    /// stuck, and their number is bounded by the journal's own gate.
    pub fn journal_results(&self, results: Vec<(TransitionId, Result<(), RejectReason>)>) {
        // A city that is gone has no use for them: its next incarnation reads the store.
        self.push(CityBody::Journal(results));
    }

    /// Ends the city because another process holds it, however full its queue is.
    pub(in crate::actors) fn fence(&self) {
        self.push(CityBody::Fence);
    }

    /// Makes the city fail, once it comes to this message.
    ///
    /// # Errors
    /// [`CityCallError::Full`] or [`CityCallError::Gone`].
    #[cfg(feature = "fault-injection")]
    pub fn inject(&self, fault: super::Fault) -> Result<(), CityCallError> {
        self.send(CityBody::Fault(fault))
    }

    /// Ends the city, however full its queue is, and waits until it has ended.
    pub(in crate::actors) async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        self.push(CityBody::Stop(done));
        // A city that is gone drops the message.
        let _ = stopped.await;
    }

    /// Past the bound, for what must get through.
    fn push(&self, body: CityBody) {
        if let Some(permit) = Gate::unmetered(1).enter() {
            self.inbox.do_send(CityMessage { permit, body });
        }
    }

    fn send(&self, body: CityBody) -> Result<(), CityCallError> {
        self.send_with(|| body)
    }

    fn send_with(&self, body: impl FnOnce() -> CityBody) -> Result<(), CityCallError> {
        if !self.inbox.connected() {
            return Err(CityCallError::Gone);
        }
        let permit = self.gate.enter().ok_or(CityCallError::Full)?;
        self.inbox.do_send(CityMessage { permit, body: body() });
        Ok(())
    }

    async fn within<T>(deadline: Duration, received: oneshot::Receiver<T>) -> Result<T, CityCallError> {
        match tokio::time::timeout(deadline, received).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_dropped)) => Err(CityCallError::Gone),
            Err(_elapsed) => Err(CityCallError::Deadline),
        }
    }
}

impl std::fmt::Debug for CityHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CityHandle({}, {} inside)", self.code, self.gate.inside())
    }
}
