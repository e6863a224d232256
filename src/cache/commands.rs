//! What is written to the mirror and read from it. Writes go out in one pipeline.

use std::collections::BTreeSet;

use redis::AsyncCommands;
use serde::{Deserialize, Serialize};

use super::{Cache, CacheError, keys};
use crate::domain::{
    duty::Duty,
    ids::{CityCode, OrderId, RiderId},
    position::Position,
    time::Timestamp,
};

/// One change of the mirror.
#[derive(Clone, Debug, PartialEq)]
pub enum CacheWrite {
    /// Sets a rider's duty.
    Duty(RiderId, Duty),
    /// Sets a rider's last position.
    Location(RiderId, Position, Timestamp),
    /// Adds riders to a city's pool and takes others out; renews its life.
    Pool {
        /// The city.
        city: CityCode,
        /// Riders to add.
        add: Vec<RiderId>,
        /// Riders to take out.
        remove: Vec<RiderId>,
    },
    /// Replaces a city's pool.
    WholePool(CityCode, Vec<RiderId>),
    /// Replaces a city's queue.
    Queue(CityCode, Vec<OrderId>),
}

/// The value of `rider:location:{id}`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CachedLocation {
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
}

impl Cache {
    /// Writes changes in their order.
    ///
    /// # Errors
    /// [`CacheError::Unavailable`]; some of the changes may have been made.
    pub async fn apply(&self, writes: &[CacheWrite]) -> Result<(), CacheError> {
        match self {
            Self::InProcess(cache) => {
                cache.apply(writes);
                Ok(())
            }
            Self::Redis(connection) => {
                let mut pipe = redis::pipe();
                writes.iter().for_each(|write| push(&mut pipe, write));
                let mut connection = connection.clone();
                pipe.exec_async(&mut connection).await?;
                Ok(())
            }
        }
    }

    /// A rider's mirrored duty.
    ///
    /// # Errors
    /// [`CacheError`].
    pub async fn duty(&self, rider: RiderId) -> Result<Option<Duty>, CacheError> {
        let text: Option<String> = match self {
            Self::InProcess(cache) => return Ok(cache.duty(rider)),
            Self::Redis(connection) => connection.clone().get(keys::duty(rider)).await?,
        };
        text.map(|text| Duty::parse(&text).map_err(|_| CacheError::Unreadable)).transpose()
    }

    /// A rider's mirrored position.
    ///
    /// # Errors
    /// [`CacheError`].
    pub async fn location(&self, rider: RiderId) -> Result<Option<CachedLocation>, CacheError> {
        let text: Option<String> = match self {
            Self::InProcess(cache) => return Ok(cache.location(rider)),
            Self::Redis(connection) => connection.clone().get(keys::location(rider)).await?,
        };
        text.map(|text| serde_json::from_str(&text).map_err(|_| CacheError::Unreadable)).transpose()
    }

    /// The riders on duty in a city.
    ///
    /// # Errors
    /// [`CacheError`].
    pub async fn pool(&self, city: &CityCode) -> Result<BTreeSet<RiderId>, CacheError> {
        let members: BTreeSet<String> = match self {
            Self::InProcess(cache) => return Ok(cache.pool(city)),
            Self::Redis(connection) => connection.clone().smembers(keys::pool(city)).await?,
        };
        members.iter().map(|id| id.parse().map_err(|_| CacheError::Unreadable)).collect()
    }

    /// A city's waiting orders, most urgent first.
    ///
    /// # Errors
    /// [`CacheError`].
    pub async fn queue(&self, city: &CityCode) -> Result<Vec<OrderId>, CacheError> {
        let members: Vec<String> = match self {
            Self::InProcess(cache) => return Ok(cache.queue(city)),
            Self::Redis(connection) => connection.clone().lrange(keys::queue(city), 0, -1).await?,
        };
        members.iter().map(|id| id.parse().map_err(|_| CacheError::Unreadable)).collect()
    }

    /// Whether the cache answers.
    ///
    /// # Errors
    /// [`CacheError::Unavailable`].
    pub async fn ping(&self) -> Result<(), CacheError> {
        if let Self::Redis(connection) = self {
            redis::cmd("PING").exec_async(&mut connection.clone()).await?;
        }
        Ok(())
    }
}

/// The text of a location.
fn location_text(position: Position, at: Timestamp) -> String {
    let value = CachedLocation { lat: position.lat(), lon: position.lon(), timestamp: at.as_millis() };
    // Three numbers always serialise.
    serde_json::to_string(&value).unwrap_or_default()
}

fn texts<T: ToString>(ids: &[T]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

fn push(pipe: &mut redis::Pipeline, write: &CacheWrite) {
    let pool_ttl = i64::try_from(keys::POOL_TTL.as_secs()).unwrap_or(i64::MAX);
    match write {
        CacheWrite::Duty(rider, duty) => {
            pipe.set_ex(keys::duty(*rider), duty.as_str(), keys::DUTY_TTL.as_secs()).ignore();
        }
        CacheWrite::Location(rider, position, at) => {
            let text = location_text(*position, *at);
            pipe.set_ex(keys::location(*rider), text, keys::LOCATION_TTL.as_secs()).ignore();
        }
        CacheWrite::Pool { city, add, remove } => {
            let key = keys::pool(city);
            if !remove.is_empty() {
                pipe.srem(&key, texts(remove)).ignore();
            }
            if !add.is_empty() {
                pipe.sadd(&key, texts(add)).ignore();
            }
            pipe.expire(&key, pool_ttl).ignore();
        }
        CacheWrite::WholePool(city, riders) => {
            let key = keys::pool(city);
            pipe.del(&key).ignore();
            if !riders.is_empty() {
                pipe.sadd(&key, texts(riders)).ignore().expire(&key, pool_ttl).ignore();
            }
        }
        CacheWrite::Queue(city, orders) => {
            let key = keys::queue(city);
            pipe.del(&key).ignore();
            if !orders.is_empty() {
                pipe.rpush(&key, texts(orders)).ignore();
            }
        }
    }
}
