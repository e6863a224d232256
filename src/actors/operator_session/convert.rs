//! From a city's views to the wire, explicitly.

use crate::{
    actors::operator_session::Watched,
    domain::{position::Position, time::Timestamp},
    engine::{
        effect::Alert,
        view::{CityChanges, CitySnapshot, Counts, OrderView, RiderView},
    },
    wire::{
        LatLon, codes,
        operator::{CityCounts, CityDelta, CityState, EndedOrder, OperatorDown, OrderRow, RiderRow},
    },
};

/// A whole city; also the body of the snapshot over REST.
#[must_use]
pub fn city_state(snapshot: &CitySnapshot, clock_speed: f64) -> CityState {
    CityState {
        city: snapshot.city.to_string(),
        at: snapshot.at.as_millis(),
        clock_speed,
        counts: counts(snapshot.counts),
        orders: snapshot.orders.iter().map(order).collect(),
        riders: snapshot.riders.iter().map(rider).collect(),
    }
}

/// A frame.
#[must_use]
pub fn frame(watched: &Watched, clock_speed: f64) -> OperatorDown {
    match watched {
        Watched::Snapshot(snapshot) => OperatorDown::Snapshot(city_state(snapshot, clock_speed)),
        Watched::Delta { at, counts, changes } => OperatorDown::Delta(delta(*at, *counts, changes)),
        Watched::Alert(happened) => alert(happened),
    }
}

fn delta(at: Timestamp, figures: Counts, changes: &CityChanges) -> CityDelta {
    CityDelta {
        at: at.as_millis(),
        counts: counts(figures),
        orders: changes.orders.iter().map(order).collect(),
        ended: changes
            .ended
            .iter()
            .map(|(order, status)| EndedOrder { order: order.0, status: status.to_string() })
            .collect(),
        riders: changes.riders.iter().map(rider).collect(),
        gone: changes.gone.iter().map(|rider| rider.0).collect(),
    }
}

fn alert(alert: &Alert) -> OperatorDown {
    let (kind, order, rider, detail) = match alert {
        Alert::SilentCarrier { rider, order } => (
            codes::alert::SILENT_CARRIER,
            Some(order.0),
            Some(rider.0),
            "a rider who carries goods is silent".to_owned(),
        ),
        Alert::OrderExpired(order) => {
            (codes::alert::ORDER_EXPIRED, Some(order.0), None, "no rider was found for an order".to_owned())
        }
        Alert::NeedsOperator(order) => {
            (codes::alert::NEEDS_OPERATOR, Some(order.0), None, "an order found no rider and waits for you".to_owned())
        }
        Alert::Disputed { dispute, order, rider, kind } => (
            codes::alert::DISPUTED,
            Some(order.0),
            Some(rider.0),
            format!("a rider's report contradicts what is stored ({kind}): dispute {dispute}"),
        ),
        Alert::WriteRejected { transition, reason } => {
            (codes::alert::WRITE_REJECTED, None, None, format!("the store refused write {transition}: {reason}"))
        }
    };
    OperatorDown::Alert { kind: kind.to_owned(), order, rider, detail }
}

const fn counts(counts: Counts) -> CityCounts {
    CityCounts {
        riders_on_duty: counts.riders_on_duty,
        riders_idle: counts.riders_idle,
        riders_busy: counts.riders_busy,
        riders_connected: counts.riders_connected,
        orders_waiting: counts.orders_waiting,
        orders_due: counts.orders_due,
        orders_active: counts.orders_active,
        offers_open: counts.offers_open,
        writes_pending: counts.writes_pending,
        delivered: counts.delivered,
        ended_otherwise: counts.ended_otherwise,
    }
}

/// An order; also in the explanation of one over REST.
#[must_use]
pub fn order(view: &OrderView) -> OrderRow {
    OrderRow {
        order: view.order.0,
        merchant: view.merchant.0,
        external_ref: view.external_ref.clone(),
        status: view.status.to_string(),
        version: view.version,
        waiting_for: view.waiting_for.map(|reason| reason.to_string()),
        rider: view.rider.map(|rider| rider.0),
        pickup: lat_lon(view.pickup),
        drop: lat_lon(view.drop),
        placed_at: view.placed_at.as_millis(),
        ready_at: view.ready_at.as_millis(),
        promise_at: view.promise_at.as_millis(),
        leave_by: view.leave_by.as_millis(),
        due_at: view.due_at.map(Timestamp::as_millis),
        offers_tried: view.offers_tried,
        asked: view.asked.iter().map(|rider| rider.0).collect(),
        priority: view.priority.level(),
        held_by: view.hold.as_ref().map(|hold| hold.by.clone()),
        held_until: view.hold.as_ref().map(|hold| hold.until.as_millis()),
        hold_reason: view.hold.as_ref().map(|hold| hold.reason.clone()),
    }
}

fn rider(view: &RiderView) -> RiderRow {
    RiderRow {
        rider: view.rider.0,
        duty: view.duty.to_string(),
        state: view.state.to_string(),
        vehicle: view.vehicle.to_string(),
        connected: view.connected,
        position: view.fix.map(|(position, _)| lat_lon(position)),
        fix_at: view.fix.map(|(_, at)| at.as_millis()),
        orders: view.orders.iter().map(|order| order.0).collect(),
    }
}

const fn lat_lon(position: Position) -> LatLon {
    LatLon { lat: position.lat(), lon: position.lon() }
}
