//! What a virtual city starts from: the city around the data, its orders as the engine takes them, its riders.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Map;

use super::{
    Failure, Settings, names,
    rider::{Rider, Shared},
};
use crate::{
    domain::{
        city::{Boundary, City, CityStatus},
        ids::CityCode,
        money::Currency,
        order::{OrderSpec, Place},
        policy::DispatchPolicy,
        position::Position,
        rider::{KycStatus, RiderProfile, RiderStatus},
        tags::Tags,
    },
    replay::{
        day::DayCourier,
        geometry::{DAY_MARGIN_M, box_around},
        motion::Motion,
        orders::PlannedOrder,
        scenario::Shift,
    },
    wire::LatLon,
};

/// Size units of a courier's bag; every order of a day takes one.
const CAPACITY_UNITS: u32 = 10;

/// Why there can be no city around some places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCity {
    /// There are none.
    #[error("the data has no places")]
    NoPlaces,
    /// They lie too close to a pole or to the antimeridian.
    #[error("the places of the data have no simple box around them")]
    NoBox,
}

/// A live city around the places of a day, with room around them, as the load tester makes one.
///
/// # Errors
/// [`NoCity`] when the places make none.
pub fn city_around(
    code: CityCode,
    places: impl Iterator<Item = LatLon>,
    policy: DispatchPolicy,
) -> Result<City, NoCity> {
    let corners = box_around(places, DAY_MARGIN_M).ok_or(NoCity::NoPlaces)?;
    let corners = corners.into_iter().map(|corner| Position::new(corner.lat, corner.lon));
    let corners = corners.collect::<Result<Vec<_>, _>>().map_err(|_| NoCity::NoBox)?;
    Ok(City {
        name: format!("Replay {code}"),
        code,
        status: CityStatus::Live,
        boundary: Boundary::new(&corners).map_err(|_| NoCity::NoBox)?,
        time_zone: "America/Bogota".to_owned(),
        day_cutover_min: 0,
        currency: Currency::INR,
        policy,
        policy_version: 1,
    })
}

/// An order as the engine takes it. Id and time are given at the placement.
pub(super) fn spec(order: &PlannedOrder, city: &City, shared: &Shared) -> Result<OrderSpec, Failure> {
    let place = |at: LatLon| match Position::new(at.lat, at.lon) {
        Ok(position) => Ok(Place { position, hint: None }),
        Err(source) => Err(Failure::Place { order: order.number, source }),
    };
    Ok(OrderSpec {
        id: names::order(0, shared.stamp(order.at)),
        merchant: names::merchant(order.store_number),
        external_ref: Some(order.number.to_string()),
        store: Some(order.store.clone()),
        pickup: place(order.pickup)?,
        drop: place(order.drop)?,
        ready_at: shared.stamp(order.ready),
        promise_at: shared.stamp(order.promise),
        dispatch_at: None,
        size_units: 1,
        vehicle_need: None,
        cash_to_collect_minor: order.whims.cash_minor.unwrap_or(0),
        // The engine decides nothing by the money; it only carries it.
        payout_minor: 0,
        pay_policy_version: 1,
        currency: city.currency,
        metadata: Map::new(),
        placed_at: shared.stamp(order.at),
        otp_digest: None,
        needs_tags: Tags::NONE,
    })
}

/// A rider with a stream of chance of its own, so that what one does changes nothing for another.
pub(super) fn rider(index: usize, courier: &DayCourier, shift: Shift, settings: &Settings) -> Rider {
    let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
    // Beyond the streams of the scenarios, which are numbered like the cities.
    rng.set_stream(((settings.index as u64 + 1) << 32) | (index as u64 + 1));
    let profile = RiderProfile {
        id: names::rider(index),
        city: settings.city.code.clone(),
        status: RiderStatus::Active,
        kyc: KycStatus::Approved,
        vehicle: courier.vehicle,
        capacity_units: CAPACITY_UNITS,
        tags: Tags::NONE,
    };
    Rider::new(profile, Motion::standing(courier.at, courier.vehicle, settings.detour), rng, shift)
}
