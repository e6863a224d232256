//! The mirror, in a private Redis and in process: the same writes read back the same, and keys live as long as named.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use dispatch_engine::{
    cache::{Cache, CacheWrite, keys},
    domain::{
        duty::Duty,
        ids::{CityCode, OrderId, RiderId},
        position::Position,
        time::Timestamp,
    },
    supervisor::{DataDir, Redis},
};
use redis::AsyncCommands;
use uuid::Uuid;

const RIDERS: [RiderId; 3] = [rider(1), rider(2), rider(3)];
const ORDERS: [OrderId; 2] = [OrderId(Uuid::from_u128(11)), OrderId(Uuid::from_u128(10))];

const fn rider(number: u128) -> RiderId {
    RiderId(Uuid::from_u128(number))
}

fn blr() -> CityCode {
    CityCode::parse("blr").unwrap()
}

/// Writes the mirror of a small city and reads it back.
async fn reads_back(cache: &Cache) {
    let [one, two, three] = RIDERS;
    let at = Position::new(12.97, 77.59).unwrap();
    let writes = [
        CacheWrite::Duty(one, Duty::On),
        CacheWrite::Duty(one, Duty::AutoOff),
        CacheWrite::Location(one, at, Timestamp::from_millis(1_700_000_000_123)),
        CacheWrite::WholePool(blr(), vec![three]),
        CacheWrite::WholePool(blr(), vec![one, two]),
        CacheWrite::Pool { city: blr(), add: vec![three], remove: vec![two] },
        CacheWrite::Queue(blr(), vec![ORDERS[1]]),
        CacheWrite::Queue(blr(), ORDERS.to_vec()),
    ];
    cache.apply(&writes).await.unwrap();
    assert_eq!(cache.duty(one).await.unwrap(), Some(Duty::AutoOff));
    assert_eq!(cache.duty(two).await.unwrap(), None);
    let location = cache.location(one).await.unwrap().unwrap();
    assert_eq!((location.lat, location.lon, location.timestamp), (12.97, 77.59, 1_700_000_000_123));
    assert_eq!(cache.location(two).await.unwrap(), None);
    assert_eq!(cache.pool(&blr()).await.unwrap(), BTreeSet::from([one, three]));
    assert_eq!(cache.queue(&blr()).await.unwrap(), ORDERS, "most urgent first");

    let empty = [
        CacheWrite::Pool { city: blr(), add: vec![], remove: vec![one, three] },
        CacheWrite::Queue(blr(), vec![]),
        CacheWrite::WholePool(blr(), vec![]),
    ];
    cache.apply(&empty).await.unwrap();
    assert_eq!(cache.pool(&blr()).await.unwrap(), BTreeSet::new());
    assert_eq!(cache.queue(&blr()).await.unwrap(), []);
}

#[tokio::test]
async fn the_mirror_in_process_reads_back() {
    reads_back(&Cache::in_process()).await;
}

#[tokio::test]
async fn the_mirror_in_redis_reads_back_and_its_keys_expire() {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataDir::open(dir.path()).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let server = Redis::start(&folder, &path).await.unwrap().expect("redis-server is among what `make setup` installs");
    let cache = Cache::redis(&server.url()).unwrap();
    cache.ping().await.unwrap();
    reads_back(&cache).await;

    let at = Position::new(12.97, 77.59).unwrap();
    let writes = [
        CacheWrite::Duty(RIDERS[0], Duty::On),
        CacheWrite::Location(RIDERS[0], at, Timestamp::default()),
        CacheWrite::Pool { city: blr(), add: vec![RIDERS[0]], remove: vec![] },
        CacheWrite::Queue(blr(), ORDERS.to_vec()),
    ];
    cache.apply(&writes).await.unwrap();
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let lives = [
        (keys::duty(RIDERS[0]), Some(keys::DUTY_TTL)),
        (keys::location(RIDERS[0]), Some(keys::LOCATION_TTL)),
        (keys::pool(&blr()), Some(keys::POOL_TTL)),
        (keys::queue(&blr()), None),
    ];
    for (key, life) in lives {
        // When it expires, in seconds since 1970; -1 never.
        let expires: i64 = connection.expire_time(&key).await.unwrap();
        let (now, _): (i64, i64) = redis::cmd("TIME").query_async(&mut connection).await.unwrap();
        match life {
            // Not later than named; how much of it is gone depends on the machine.
            Some(life) => assert!(expires > 0 && expires <= now + life.as_secs() as i64 + 1, "{key}"),
            None => assert_eq!(expires, -1, "{key}"),
        }
    }
    server.stop().await.unwrap();
    assert!(cache.ping().await.is_err(), "an absent server is an error, not an answer");
}
