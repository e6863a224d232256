//! What other parts of the program say to a city.

use actix::Message;
use tokio::sync::oneshot;

use super::live::LivePoints;
use crate::domain::ids::TransitionId;
use crate::{
    actors::{gate::Permit, operator_session::OperatorOutbox, rider_session::RiderOutbox},
    domain::{
        ids::{ReplyTo, RiderId, SessionId},
        rider::RiderProfile,
    },
    engine::{
        command::{Command, Outcome, Refusal, RejectReason},
        nearby::{NearbyQuery, NearbyRider, Whereabouts},
        view::CitySnapshot,
    },
};

/// Builds a command once the city has given the caller a number.
pub type BuildCommand = Box<dyn FnOnce(ReplyTo) -> Command + Send>;

/// Everything that reaches a city; each message holds its place in the city's queue.
#[derive(Message)]
#[rtype(result = "()")]
pub struct CityMessage {
    /// The place in the queue, given back once handled.
    pub permit: Permit,
    /// What it is.
    pub body: CityBody,
}

/// The kinds of message.
pub enum CityBody {
    /// A command without an answer.
    Tell(Command),
    /// A command whose answer somebody waits for.
    Ask {
        /// Builds the command.
        build: BuildCommand,
        /// Where the answer goes; a dropped receiver is fine.
        answer: oneshot::Sender<Result<Outcome, Refusal>>,
    },
    /// A rider session joins: the city keeps its outbox until it disconnects or is superseded.
    Join {
        /// The rider as the store knows one now.
        rider: RiderProfile,
        /// The session.
        session: SessionId,
        /// Where notices go.
        outbox: RiderOutbox,
        /// Answered with `Outcome::Connected`.
        answer: oneshot::Sender<Result<Outcome, Refusal>>,
    },
    /// Live positions of one lane, shared with the location log.
    Points(LivePoints),
    /// The journal's results, in the order in which they were stored.
    Journal(Vec<(TransitionId, Result<(), RejectReason>)>),
    /// An operator session wants a snapshot now and deltas from then on.
    Watch(OperatorOutbox),
    /// Somebody wants the whole city once.
    Snapshot(oneshot::Sender<CitySnapshot>),
    /// The launcher ends the city; answered when nothing more will be handled.
    Stop(oneshot::Sender<()>),
    /// The launcher found that another process holds the city.
    Fence,
    /// A test or a drill makes the city fail.
    #[cfg(feature = "fault-injection")]
    Fault(Fault),
    /// Somebody wants to know who could be offered work around a place.
    Nearby(NearbyQuery, oneshot::Sender<Vec<NearbyRider>>),
    /// Somebody wants to know where a rider is; `None` for one who is not live here.
    Whereabouts(RiderId, oneshot::Sender<Option<Whereabouts>>),
}

/// How a city can be made to fail.
#[cfg(feature = "fault-injection")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its handler panics, as a bug would make it.
    Panic,
}
