//! A change of an order over REST: who may ask for it, the city that makes it, and the answer that a repetition gets.

use actix_web::HttpResponse;
use serde_json::Value;

use super::{
    Deps,
    keyed::{Key, REPLAYED},
    orders::{city_of, receipt_of_end, visible},
    problem::{Code, Failure},
    storage,
};
use crate::{
    actors::city::CityCallError,
    domain::{
        access::Principal,
        ids::{CityCode, OrderId, ReplyTo},
    },
    engine::command::{Command, Conditions, Outcome, Refusal},
    store::{self, orders::StoredOrder},
    wire::rest::OrderReceipt,
};

/// The order after a change, and whether this is the answer to an earlier request.
#[derive(Clone, Debug)]
pub struct Changed {
    /// Where it stands.
    pub receipt: OrderReceipt,
    /// Whether the change was made for an earlier request.
    pub replayed: bool,
}

impl Changed {
    /// As a response.
    pub fn response(self) -> HttpResponse {
        let mut response = HttpResponse::Ok();
        if self.replayed {
            response.insert_header((REPLAYED, "true"));
        }
        response.json(self.receipt)
    }
}

/// Has the order's city change it, for a caller who may see it; `within` names the only city in which it may stand. An order
/// that has ended is answered from the store when the wish is `settled` in it.
///
/// # Errors
/// What the city or the store refuses with; `unknown_order` for an order of another city.
#[expect(clippy::too_many_arguments, reason = "what a request for a change says, each of its own type")]
pub async fn change(
    deps: &Deps,
    caller: &Principal,
    id: OrderId,
    expected_version: Option<i32>,
    key: Option<Key>,
    within: Option<&CityCode>,
    settled: impl Fn(&StoredOrder) -> bool,
    build: impl FnOnce(Conditions, ReplyTo) -> Command + Send + 'static,
) -> Result<Changed, Failure> {
    if matches!(caller, Principal::Rider(_)) {
        return Err(Failure::new(Code::WrongRole));
    }
    let order = visible(deps, caller, id).await?;
    if within.is_some_and(|city| city.as_str() != order.city) {
        return Err(Failure::new(Code::UnknownOrder));
    }
    if let Some(answer) = answered(deps, key.as_ref()).await? {
        return replayed(answer);
    }
    if let Some(receipt) = receipt_of_end(&order, &settled)? {
        return Ok(Changed { receipt, replayed: false });
    }
    let idempotency = key.clone().map(|key| Box::new(key.record(deps, Value::Null)));
    let given = Conditions { expected_version, idempotency };
    match ask(deps, &order, given, &settled, build).await {
        Ok(Outcome::Order { order, status, version }) => {
            let receipt = OrderReceipt { id: order.0, status: status.to_string(), version };
            if let Some(key) = key {
                // Nothing is written for what is so already; the same request is to be answered the same all the same.
                let record = key.record(deps, serde_json::to_value(&receipt).map_err(Failure::internal)?);
                storage::read(deps, store::idempotency::keep(&deps.db, &record, order, deps.clock.now())).await?;
            }
            Ok(Changed { receipt, replayed: false })
        }
        Ok(Outcome::Replayed(answer)) => replayed(answer),
        Ok(other) => Err(Failure::internal(format!("a change of an order was answered with {other:?}"))),
        // The first request of the same key may have been stored meanwhile, and be the very reason.
        Err(failure) => match answered(deps, key.as_ref()).await {
            Ok(Some(answer)) => replayed(answer),
            Err(reused) if reused.code() == Code::IdempotencyKeyReused => Err(reused),
            // Nothing is known of the key, or the store cannot say: the refusal stands.
            Ok(None) | Err(_) => Err(failure),
        },
    }
}

async fn ask(
    deps: &Deps,
    order: &StoredOrder,
    given: Conditions,
    settled: &impl Fn(&StoredOrder) -> bool,
    build: impl FnOnce(Conditions, ReplyTo) -> Command + Send + 'static,
) -> Result<Outcome, Failure> {
    let city = deps.router.city(&city_of(order)?)?;
    match city.ask(deps.options.ask(), move |reply| build(given, reply)).await {
        // It ended between the two looks: the store knows how.
        Err(CityCallError::Refused(Refusal::UnknownOrder)) => {
            let id = OrderId(order.id);
            let order = storage::read(deps, store::orders::get(&deps.db, id))
                .await?
                .ok_or_else(|| Failure::new(Code::UnknownOrder))?;
            let receipt = receipt_of_end(&order, settled)?.ok_or_else(|| Failure::from(Refusal::UnknownOrder))?;
            Ok(Outcome::Order { order: id, status: order.status()?, version: receipt.version })
        }
        answer => {
            answer.map_err(|error| storage::failed(deps, error, "read the order, or send the same again with its key"))
        }
    }
}

async fn answered(deps: &Deps, key: Option<&Key>) -> Result<Option<Value>, Failure> {
    match key {
        Some(key) => key.answered(deps).await,
        None => Ok(None),
    }
}

fn replayed(answer: Value) -> Result<Changed, Failure> {
    let receipt = serde_json::from_value(answer).map_err(Failure::internal)?;
    Ok(Changed { receipt, replayed: true })
}
