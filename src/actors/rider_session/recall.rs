//! A frame that comes again after the city has forgotten it. What it asks for may be impossible by now, so before a refusal
//! is told, the store is asked whether the frame was answered once.

use crate::{
    actors::city::CityCallError,
    domain::{ids::RiderId, time::Timestamp},
    engine::{
        answered::FrameKey,
        command::{Outcome, Refusal},
    },
    store::{Db, frames},
};

/// Whether time alone may have turned a good answer into this refusal.
const fn is_of_its_time(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::UnknownOffer
            | Refusal::OfferClosed(_)
            | Refusal::OfferTaken
            | Refusal::UnknownOrder
            | Refusal::NotYourOrder
            | Refusal::IllegalStep(_)
            | Refusal::OrderEnded(_)
            | Refusal::NotAllowed
            | Refusal::Disputed
            | Refusal::OtpLocked
    )
}

/// The city's answer, or the first one that the frame ever had.
pub async fn first_answer(
    db: &Db,
    rider: RiderId,
    key: &FrameKey,
    now: Timestamp,
    result: Result<Outcome, CityCallError>,
) -> Result<Outcome, CityCallError> {
    match &result {
        Err(CityCallError::Refused(refusal)) if is_of_its_time(refusal) => {}
        _ => return result,
    }
    match frames::find(db, rider, &key.id, now).await {
        Ok(None) => result,
        Ok(Some(stored)) if stored.digest == key.digest => stored.answer.again().map_err(CityCallError::Refused),
        Ok(Some(_)) => Err(CityCallError::Refused(Refusal::FrameIdReused)),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, %rider, "a frame could not be looked up");
            // The truth is not known now; the same frame may be asked again.
            Err(CityCallError::Refused(Refusal::StorageBusy))
        }
    }
}
