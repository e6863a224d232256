//! What a connection of the pool promises to everybody else.

use dispatch_engine::store::StoreError;

use crate::support::{TestDatabase, rows::city_row};

/// A black hole between the engine and the server leaves a transaction that nobody will end; the journal's next attempt
/// waits for its locks.
#[tokio::test]
async fn a_transaction_whose_client_fell_silent_gives_its_locks_back() {
    let database = TestDatabase::create().await;
    city_row(&database.db, "idle-city").await;
    let rename = || sqlx::query("UPDATE cities SET name = name || '!' WHERE code = 'idle-city'");
    let mut silent = database.db.begin().await.unwrap();
    rename().execute(&mut *silent).await.unwrap();
    // Waits for the row, and would until its own timeout.
    rename().execute(&database.db).await.unwrap();
    // The client was only slow: it hears that it may try again.
    let late: StoreError = rename().execute(&mut *silent).await.unwrap_err().into();
    assert!(late.is_transient(), "{late:?}");
    assert!(silent.commit().await.is_err(), "it was rolled back");
    let name: String =
        sqlx::query_scalar("SELECT name FROM cities WHERE code = 'idle-city'").fetch_one(&database.db).await.unwrap();
    assert_eq!(name, "Testville!");
}
