//! The actor of one city. It gives every message to the engine, with the time, and carries out what the engine wants
//! done. It holds no rule about orders or riders, and never waits.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use actix::{Actor, ActorContext, ArbiterHandle, AsyncContext, Context, Handler, WrapFuture};
use prometheus::IntCounter;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    CityBody, CityHandle, CityMessage, Ending, Engaged, Figures, Life, Options, RuleBoard, rounds::Round,
    watchers::Watchers,
};
use crate::{
    actors::{
        mirror::{MirrorHandle, Published},
        operator_session::Watched,
        order_journal::JournalHandle,
        push::PushHandle,
        rider_session::RiderOutbox,
    },
    clock::Clock,
    domain::{
        self,
        ids::{CityCode, ReplyTo, RiderId, SessionId, TransitionId},
    },
    engine::{
        City, CityImage,
        command::{Command, Outcome, Refusal, RejectReason},
        effect::{Effect, Notice},
        view::{CitySnapshot, Counts},
    },
};

/// No tick comes sooner after another than this, in real time, however fast the clock runs.
const SHORTEST_TICK: Duration = Duration::from_millis(20);

/// What every city of an app shares. Cheap to clone.
#[derive(Clone)]
pub struct CityDeps {
    /// The time.
    pub clock: Clock,
    /// Where writes go.
    pub journal: JournalHandle,
    /// Where the city is published for other programs.
    pub mirror: MirrorHandle,
    /// Figures, registered once per app.
    pub figures: Figures,
    /// Settings.
    pub options: Options,
    /// Where devices are woken.
    pub push: PushHandle,
    /// Where the city shows for whom somebody waits.
    pub engaged: Engaged,
}

/// One life of a city: its epoch is claimed, and what the store knew after that is loaded.
pub(in crate::actors) struct Incarnation {
    pub settings: domain::city::City,
    pub epoch: i64,
    pub image: CityImage,
}

/// The last message of an incarnation, to its launcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::actors) struct Ended {
    pub city: CityCode,
    pub epoch: i64,
    pub why: Ending,
}

/// Reports when it is dropped. A panic in a handler drops the actor without a word (the supervisor of actix does not
/// notice it), so whoever did not say otherwise has panicked. It goes last of all that an actor holds: whoever waits
/// for an answer hears that the city is gone before anybody hears of its end.
pub(in crate::actors) struct EndReport {
    city: CityCode,
    epoch: i64,
    life: Life,
    /// One message per incarnation: bounded by the number of cities.
    launcher: mpsc::UnboundedSender<Ended>,
}

impl EndReport {
    pub fn new(city: CityCode, epoch: i64, launcher: mpsc::UnboundedSender<Ended>) -> Self {
        Self { city, epoch, life: Life::begin(), launcher }
    }
}

impl Drop for EndReport {
    fn drop(&mut self) {
        // A launcher that is gone starts nothing any more.
        let _ = self.launcher.send(Ended { city: self.city.clone(), epoch: self.epoch, why: self.life.why() });
    }
}

/// Starts an incarnation on an arbiter.
pub(in crate::actors) fn start(
    arbiter: &ArbiterHandle,
    deps: CityDeps,
    incarnation: Incarnation,
    report: EndReport,
) -> CityHandle {
    let code = incarnation.settings.code.clone();
    let gate = deps.figures.gate(&code, deps.options.inbox);
    let life = report.life.line();
    let rules = RuleBoard::new((&incarnation.settings).into());
    let (its_gate, its_line, its_rules) = (gate.clone(), life.clone(), rules.clone());
    let address = CityActor::start_in_arbiter(arbiter, move |ctx| {
        let Incarnation { settings, epoch, image } = incarnation;
        let code = settings.code.clone();
        let (engine, effects) = City::restore(settings, rand::random(), deps.clock.now(), image);
        // Before the first device comes back.
        deps.engaged.replace(&engine.snapshot(deps.clock.now()));
        let mut city = CityActor {
            handle: CityHandle::new(code.clone(), ctx.address().recipient(), its_gate, its_line, its_rules.clone()),
            rules: its_rules,
            messages: deps.figures.messages(&code),
            code,
            epoch,
            engine,
            deps,
            replies: BTreeMap::new(),
            last_reply: 0,
            sessions: BTreeMap::new(),
            watchers: Watchers::default(),
            mirror_follows: false,
            shown: Counts::default(),
            in_turn: 0,
            report,
            session_round: Round::default(),
            reply_round: Round::default(),
        };
        city.carry_out(effects);
        city
    });
    CityHandle::new(code, address.recipient(), gate, life, rules)
}

struct CityActor {
    code: CityCode,
    epoch: i64,
    engine: City,
    deps: CityDeps,
    /// This city's own handle: the journal answers to it.
    handle: CityHandle,
    /// Where it shows what its sessions need to know.
    rules: RuleBoard,
    /// Who waits for an answer.
    replies: BTreeMap<ReplyTo, oneshot::Sender<Result<Outcome, Refusal>>>,
    last_reply: u64,
    /// The sockets of riders, until they end or are superseded.
    sessions: BTreeMap<SessionId, (RiderId, RiderOutbox)>,
    watchers: Watchers,
    /// Whether the mirror has the whole city and every change since.
    mirror_follows: bool,
    /// The figures of the last delta.
    shown: Counts,
    /// Messages handled in this turn.
    in_turn: usize,
    messages: IntCounter,
    report: EndReport,
    session_round: Round<SessionId>,
    reply_round: Round<ReplyTo>,
}

impl CityActor {
    fn handle_body(&mut self, body: CityBody, ctx: &mut Context<Self>) {
        match body {
            CityBody::Tell(command) => {
                match &command {
                    Command::Disconnect { session, .. } => drop(self.sessions.remove(session)),
                    Command::SetCity(settings) => self.rules.show(settings.as_ref().into()),
                    _ => {}
                }
                self.run(command);
            }
            CityBody::Ask { build, answer } => {
                let reply = self.expect(answer);
                self.run(build(reply));
            }
            CityBody::Join { rider, session, outbox, answer } => {
                // Before the command, because its effects may already speak to the session.
                self.sessions.insert(session, (rider.id, outbox));
                let reply = self.expect(answer);
                self.run(Command::Connect { rider, session, reply });
            }
            CityBody::Points(points) => {
                let effects = self.engine.locate(self.deps.clock.now(), points.fixes());
                self.carry_out(effects);
                self.deps.figures.to_index.observe(points.arrived.elapsed().as_secs_f64());
            }
            CityBody::Journal(results) => self.journal_answered(results, ctx),
            CityBody::Watch(outbox) => {
                let snapshot = self.engine.snapshot(self.deps.clock.now());
                self.watchers.add(outbox, snapshot);
            }
            CityBody::Snapshot(answer) => {
                // Whoever asked may have stopped waiting.
                let _ = answer.send(self.engine.snapshot(self.deps.clock.now()));
            }
            CityBody::Stop(done) => {
                self.end(Ending::Stopped, ctx);
                let _ = done.send(());
            }
            CityBody::Fence => self.fenced(ctx),
            #[cfg(feature = "fault-injection")]
            CityBody::Fault(super::Fault::Panic) => panic!("the city {} was told to panic", self.code),
            CityBody::Nearby(query, answer) => {
                let _ = answer.send(self.engine.nearby(self.deps.clock.now(), &query));
            }
            CityBody::Whereabouts(rider, answer) => {
                let _ = answer.send(self.engine.whereabouts(self.deps.clock.now(), rider));
            }
        }
    }

    /// Remembers who waits, and gives the command its number.
    fn expect(&mut self, answer: oneshot::Sender<Result<Outcome, Refusal>>) -> ReplyTo {
        self.last_reply += 1;
        let reply = ReplyTo(self.last_reply);
        self.replies.insert(reply, answer);
        reply
    }

    fn run(&mut self, command: Command) {
        let effects = self.engine.apply(self.deps.clock.now(), command);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut writes = Vec::new();
        for effect in effects {
            match effect {
                Effect::Persist(write) => writes.push(*write),
                Effect::Reply { to, result } => {
                    if let Some(answer) = self.replies.remove(&to) {
                        // Whoever asked may have stopped waiting.
                        let _ = answer.send(result);
                    }
                }
                Effect::Notify { session, notice, .. } => self.notify(session, notice),
                Effect::Alert(alert) => {
                    self.deps.figures.alert(&self.code, &alert);
                    self.watchers.alert(&alert);
                }
                Effect::Measure(measure) => self.deps.figures.measure(&self.code, measure),
                Effect::Wake(wake) => self.deps.push.wake(wake),
            }
        }
        if writes.is_empty() {
            return;
        }
        let refused = self.deps.journal.submit(&self.handle, self.epoch, writes);
        if !refused.is_empty() {
            // As a message, like every answer of the journal: the engine has finished with this command by then.
            self.handle.journal_results(refused.into_iter().map(|(write, why)| (write, Err(why))).collect());
        }
    }

    fn notify(&mut self, session: SessionId, notice: Notice) {
        let superseded = notice == Notice::TakenOver;
        if let Some((_, outbox)) = self.sessions.get(&session) {
            outbox.deliver(notice);
        }
        if superseded {
            self.sessions.remove(&session);
        }
    }

    fn journal_answered(&mut self, results: Vec<(TransitionId, Result<(), RejectReason>)>, ctx: &mut Context<Self>) {
        let (mut fenced, mut diverged) = (false, false);
        for (transition, result) in results {
            fenced |= result == Err(RejectReason::Fenced);
            diverged |= result == Err(RejectReason::Conflict);
            self.run(match result {
                Ok(()) => Command::Committed { transition },
                Err(why) => Command::Rejected { transition, why },
            });
        }
        if fenced {
            self.fenced(ctx);
        } else if diverged {
            // What is remembered can no longer be trusted; the next incarnation reads what is true.
            tracing::error!(city = %self.code, epoch = self.epoch, "the store holds other versions; the city is rebuilt");
            self.end(Ending::Diverged, ctx);
        }
    }

    fn fenced(&mut self, ctx: &mut Context<Self>) {
        // The launcher, who hears of it, says so in the log.
        self.end(Ending::Fenced, ctx);
    }

    /// Time passes.
    fn tick(&mut self) {
        let started = Instant::now();
        // Sockets that ended without a word that arrived here, and callers who gave up.
        for session in self.session_round.over(&self.sessions, |(_, outbox)| !outbox.is_open()) {
            if let Some((rider, _)) = self.sessions.remove(&session) {
                self.run(Command::Disconnect { rider, session });
            }
        }
        for reply in self.reply_round.over(&self.replies, oneshot::Sender::is_closed) {
            self.replies.remove(&reply);
        }
        self.run(Command::Tick);
        self.deps.figures.tick.observe(started.elapsed().as_secs_f64());
    }

    /// Shows the city to operators, to the mirror and to the metrics.
    fn publish(&mut self) {
        let now = self.deps.clock.now();
        let counts = self.engine.counts(now);
        self.deps.figures.show(&self.code, &counts);
        let changes = Arc::new(self.engine.take_changes(now));
        self.deps.engaged.change(&self.code, &changes);

        let mut whole: Option<Arc<CitySnapshot>> = None;
        let engine = &self.engine;
        let mut snapshot = || whole.get_or_insert_with(|| Arc::new(engine.snapshot(now))).clone();

        let same = counts == self.shown && *changes == Default::default();
        let delta = (!same).then(|| Watched::Delta { at: now, counts, changes: changes.clone() });
        self.watchers.publish(delta.as_ref(), &mut snapshot);
        self.shown = counts;

        // Also when nothing changed: the mirror forgets a city that says nothing.
        let queue = || engine.queue().collect();
        self.mirror_follows = self.deps.mirror.publish(if self.mirror_follows {
            let queue = changes.queue_changed.then(queue);
            Published::Changes(self.code.clone(), changes, queue)
        } else {
            Published::Whole(snapshot(), queue())
        });
    }

    fn end(&mut self, why: Ending, ctx: &mut Context<Self>) {
        self.sessions.clear();
        // Whoever still waits hears that the city is gone.
        self.replies.clear();
        if matches!(why, Ending::Stopped | Ending::Fenced) {
            // After the other endings the riders come back here, and those with work go first.
            self.deps.engaged.forget(&self.code);
        }
        self.report.life.ends(why);
        ctx.stop();
    }
}

impl Actor for CityActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let tick = self.deps.clock.real(Duration::from_millis(self.deps.options.tick_ms)).max(SHORTEST_TICK);
        let publish = Duration::from_millis(self.deps.options.publish_ms).max(SHORTEST_TICK);
        ctx.run_interval(tick, |city, _| city.tick());
        ctx.run_interval(publish, |city, _| city.publish());
        self.deps.figures.up(&self.code, true);
        let waiting = self.engine.queue().count();
        tracing::info!(city = %self.code, epoch = self.epoch, waiting, "a city runs");
    }
}

impl Handler<CityMessage> for CityActor {
    type Result = ();

    fn handle(&mut self, message: CityMessage, ctx: &mut Context<Self>) {
        let CityMessage { permit, body } = message;
        self.messages.inc();
        self.handle_body(body, ctx);
        drop(permit);
        // A flood must not hold the thread: after some messages the neighbours have their turn, and this city's timers.
        self.in_turn += 1;
        if self.in_turn >= self.deps.options.turn.max(1) {
            self.in_turn = 0;
            ctx.wait(tokio::task::yield_now().into_actor(self));
        }
    }
}
