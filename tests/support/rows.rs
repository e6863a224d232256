//! Rows that the tests of single parts begin with or end at. Tests of the whole make theirs over REST, see `world`.

use std::time::Duration;

use dispatch_engine::{
    clock::Clock,
    domain::ids::{CityCode, RiderId},
    store::{
        Db,
        epochs::{self, Claim, Claimant},
    },
};
use uuid::Uuid;

/// A live city without a boundary.
pub async fn city_row(db: &Db, code: &str) -> CityCode {
    sqlx::query(
        "INSERT INTO cities (code, name, status, boundary, time_zone, currency, created_at, updated_at)
         VALUES ($1, 'Testville', 'live', '{}', 'Asia/Kolkata', 'INR', 'epoch', 'epoch')",
    )
    .bind(code)
    .execute(db)
    .await
    .unwrap();
    CityCode::parse(code).unwrap()
}

/// A rider of a city who may work.
pub async fn rider_row(db: &Db, city: &CityCode) -> RiderId {
    let id = Uuid::new_v4();
    sqlx::query(
        "INSERT INTO riders (id, name, mobile, city, kyc_status, vehicle, created_at, updated_at)
         VALUES ($1, 'Asha', $1::text, $2, 'APPROVED', 'motorcycle', 'epoch', 'epoch')",
    )
    .bind(id)
    .bind(city.as_str())
    .execute(db)
    .await
    .unwrap();
    RiderId(id)
}

/// What a rider has earned, delivery by delivery, in minor units.
pub async fn earned(db: &Db, rider: RiderId) -> Vec<i64> {
    sqlx::query_scalar("SELECT amount FROM wallet_ledger WHERE rider_id = $1 AND account = 'earnings' ORDER BY id")
        .bind(rider.0)
        .fetch_all(db)
        .await
        .unwrap()
}

/// Claims a city for an instance, whoever holds it, and returns the epoch.
pub async fn claim_by_force(db: &Db, city: &CityCode, instance: &str) -> i64 {
    let by = Claimant { instance, holder: instance, lease: Duration::from_secs(60), take_over: true };
    let now = Clock::wall();
    match epochs::claim(db, city, &by, now, now).await.unwrap() {
        Claim::Granted(epoch) => epoch,
        Claim::Held(held) => panic!("not granted: {held:?}"),
    }
}
