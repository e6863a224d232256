//! Merchants place orders, change their minds, and ask again when they get no answer; operators pause the city.

use dispatch_engine::{
    domain::{
        city::CityStatus, ids::OrderId, order::Actor, policy::WhenExhausted, rider::Vehicle, tags::Tags,
        time::Timestamp,
    },
    engine::command::{Command, Conditions, IdempotencyRecord, Outcome, PlacementExtras, Refusal},
};
use rand::RngExt;
use serde_json::json;

use super::{
    Checked, policies,
    world::{Asker, Event, World, somewhere},
};
use crate::harness::{order, secs, settings, spec};

/// What a merchant asks of the city.
#[derive(Clone, Copy, Debug)]
pub enum Request {
    /// Place the order of this number; how often it was tried before.
    Place(u64, u32),
    Cancel(OrderId),
    Ready(OrderId, Timestamp),
}

impl World {
    /// The next order is placed; orders come in waves.
    pub fn new_order(&mut self) {
        if self.calm {
            return;
        }
        self.last_order += 1;
        let number = self.last_order;
        self.after_ms(0, Event::Merchant(Request::Place(number, 0)));
        let wave = (self.now.as_millis() / 3_600_000) % 5;
        let mean: u64 = [200_000, 140_000, 110_000, 80_000, 170_000][usize::try_from(wave).unwrap_or(0)];
        let gap = self.rng.random_range(mean / 4..mean * 7 / 4);
        self.after_ms(gap, Event::NewOrder);
    }

    pub fn request(&mut self, request: Request) -> Checked {
        if self.city.is_none() {
            // The router says that the city is away; the merchant comes again.
            return self.retry(request);
        }
        let reply = self.expect(Asker::Merchant(request));
        let (actor, given) = (Actor::ENGINE, Conditions::default());
        let command = match request {
            Request::Place(number, tried) => self.placement(number, tried, reply),
            Request::Cancel(order) => {
                Command::Cancel { order, actor, reason: "changed their mind".into(), reply, given }
            }
            Request::Ready(order, ready_at) => Command::ChangeReady { order, ready_at, actor, reply, given },
        };
        self.apply(command)
    }

    fn placement(&mut self, number: u64, tried: u32, reply: dispatch_engine::domain::ids::ReplyTo) -> Command {
        // Every attempt is a new order to the city; the key and the reference say that it is the same.
        let mut spec = spec(order(u128::from(number) * 16 + u128::from(tried)), self.now);
        spec.external_ref = Some(format!("ref-{number}"));
        spec.pickup.position = somewhere(&mut self.rng);
        spec.drop.position = somewhere(&mut self.rng);
        spec.ready_at = self.now + secs(self.rng.random_range(0..1_500));
        spec.promise_at = spec.ready_at + secs(2_400);
        spec.cash_to_collect_minor = i64::from(self.rng.random_range(0..3)) * 10_050;
        spec.payout_minor = 3_000 + self.rng.random_range(0..4_000);
        spec.size_units = match self.rng.random_range(0..100) {
            0..85 => self.rng.random_range(1..4),
            85..97 => self.rng.random_range(4..11),
            _ => self.rng.random_range(11..21),
        };
        spec.vehicle_need = match self.rng.random_range(0..100) {
            0..88 => None,
            88..97 => Some(Vehicle::Motorcycle),
            _ => Some(Vehicle::Car),
        };
        // By number and not by chance, so that the courses of all seeds stay as they were.
        spec.needs_tags = match number % 16 {
            3 => Tags::parse(["thermal_bag"]).unwrap(),
            7 => Tags::parse(["cod", "thermal_bag"]).unwrap(),
            _ => Tags::NONE,
        };
        if self.rng.random_bool(0.1) {
            spec.dispatch_at = Some(self.now + secs(self.rng.random_range(1..1_800)));
        }
        // Some merchants use no key: the reference alone keeps them from placing twice.
        let idempotency = (!number.is_multiple_of(5)).then(|| IdempotencyRecord {
            caller: "merchant".into(),
            key: format!("key-{number}"),
            digest: vec![],
            answer: json!(spec.id.to_string()),
            expires_at: self.now + secs(86_400),
        });
        let extras = Box::new(PlacementExtras { contact: None, idempotency });
        Command::Place { spec: Box::new(spec), extras, actor: Actor::ENGINE, reply }
    }

    fn retry(&mut self, request: Request) -> Checked {
        let again = match request {
            Request::Place(_, 15) => return Ok(()),
            Request::Place(number, tried) => Request::Place(number, tried + 1),
            other => other,
        };
        let ms = self.rng.random_range(3_000..40_000);
        self.after_ms(ms, Event::Merchant(again));
        Ok(())
    }

    /// A merchant has an answer.
    pub fn merchant_hears(&mut self, request: Request, result: &Result<Outcome, Refusal>) -> Checked {
        if self.chance(self.faults.answer_lost) {
            self.count("merchant asked again");
            return self.retry(request);
        }
        match (request, result) {
            (_, Err(Refusal::StorageBusy | Refusal::OrderBusy | Refusal::Invalid(_) | Refusal::Conflict)) => {
                self.retry(request)
            }
            (Request::Place(..), Ok(Outcome::Order { order, .. })) => {
                self.count("order placed");
                let order = *order;
                if self.rng.random_bool(0.08) {
                    let ms = self.rng.random_range(1_000..1_500_000);
                    self.after_ms(ms, Event::Merchant(Request::Cancel(order)));
                }
                if self.rng.random_bool(0.12) {
                    let ms = self.rng.random_range(1_000..900_000);
                    let ready_at = self.now + secs(self.rng.random_range(0..2_400));
                    self.after_ms(ms, Event::Merchant(Request::Ready(order, ready_at)));
                }
                Ok(())
            }
            (Request::Cancel(_), Ok(_)) => {
                self.count("order called off");
                Ok(())
            }
            (Request::Ready(..), Ok(_)) => {
                self.count("ready time changed");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Operators pause the city, open it again, and try another policy.
    pub fn new_settings(&mut self) -> Checked {
        let mut settings = settings();
        settings.policy = self.store.terms.clone();
        let pause = !self.calm && self.settings.status == CityStatus::Live && self.rng.random_bool(0.5);
        if pause {
            settings.status = CityStatus::Paused;
            self.count("city paused");
        }
        if !self.calm {
            policies::vary(&mut settings.policy, &mut self.rng);
            let ms = self.rng.random_range(300_000..if pause { 1_200_000 } else { 20_000_000 });
            self.after_ms(ms, Event::Settings);
        }
        if self.calm {
            // Nobody is there to decide on parked orders.
            settings.policy.when_exhausted = WhenExhausted::Expire;
        }
        self.settings = settings.clone();
        self.apply(Command::SetCity(Box::new(settings)))
    }
}
