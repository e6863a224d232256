//! What a client is told when the database is slow or away: soon, and truly.

use std::future::Future;

use super::{
    Deps,
    problem::{Code, Failure},
};
use crate::{actors::city::CityCallError, store::StoreError};

/// Reads from the store, for as long as a request may wait for its city: a connection that hangs must not hold a client
/// without an end.
pub async fn read<T>(deps: &Deps, reading: impl Future<Output = Result<T, StoreError>>) -> Result<T, Failure> {
    match tokio::time::timeout(deps.options.ask(), reading).await {
        Ok(read) => Ok(read?),
        Err(elapsed) => Err(Failure::new(Code::StorageUnavailable).caused_by(elapsed)),
    }
}

/// The failure of a change that was given to a city. One that waits for a database that does not answer may still be
/// stored; `then` says how the client finds out.
pub fn failed(deps: &Deps, error: CityCallError, then: &str) -> Failure {
    match error {
        CityCallError::Deadline if !deps.storage.is_up() => {
            let detail = format!("the database does not answer; the change may still be stored: {then}");
            Failure::new(Code::StorageUnavailable).because(detail)
        }
        error => error.into(),
    }
}
