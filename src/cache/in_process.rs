//! The same keys in this process, for a machine without Redis: values expire when they are read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    commands::{CacheWrite, location_text, texts},
    keys,
};
use crate::{clock::Clock, domain::time::Timestamp};

/// A map of keys with their end of life. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct InProcess(Arc<Mutex<BTreeMap<String, (Value, Timestamp)>>>);

#[derive(Clone, Debug)]
enum Value {
    Text(String),
    Set(BTreeSet<String>),
    List(Vec<String>),
}

impl InProcess {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, (Value, Timestamp)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn apply(&self, writes: &[CacheWrite]) {
        let now = Clock::wall();
        let until = |ttl: Duration| now + ttl;
        let mut map = self.lock();
        for write in writes {
            match write {
                CacheWrite::Duty(rider, duty) => {
                    let value = Value::Text(duty.as_str().to_owned());
                    map.insert(keys::duty(*rider), (value, until(keys::DUTY_TTL)));
                }
                CacheWrite::Location(rider, position, at) => {
                    let value = Value::Text(location_text(*position, *at));
                    map.insert(keys::location(*rider), (value, until(keys::LOCATION_TTL)));
                }
                CacheWrite::Pool { city, add, remove } => {
                    let mut members = match map.remove(&keys::pool(city)) {
                        Some((Value::Set(members), end)) if end > now => members,
                        _ => BTreeSet::new(),
                    };
                    let gone: BTreeSet<String> = texts(remove).into_iter().collect();
                    members.retain(|id| !gone.contains(id));
                    members.extend(texts(add));
                    map.insert(keys::pool(city), (Value::Set(members), until(keys::POOL_TTL)));
                }
                CacheWrite::WholePool(city, riders) => {
                    let members = texts(riders).into_iter().collect();
                    map.insert(keys::pool(city), (Value::Set(members), until(keys::POOL_TTL)));
                }
                CacheWrite::Queue(city, orders) => {
                    map.insert(keys::queue(city), (Value::List(texts(orders)), Timestamp::FAR_FUTURE));
                }
            }
        }
        // Expired riders must not pile up over a shift.
        map.retain(|_, (_, end)| *end > now);
    }

    fn read(&self, key: &str) -> Option<Value> {
        self.lock().get(key).filter(|(_, end)| *end > Clock::wall()).map(|(value, _)| value.clone())
    }

    pub(super) fn text(&self, key: &str) -> Option<String> {
        match self.read(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn members(&self, key: &str) -> BTreeSet<String> {
        match self.read(key) {
            Some(Value::Set(members)) => members,
            _ => BTreeSet::new(),
        }
    }

    pub(super) fn list(&self, key: &str) -> Vec<String> {
        match self.read(key) {
            Some(Value::List(list)) => list,
            _ => Vec::new(),
        }
    }
}
