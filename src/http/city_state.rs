//! A city's snapshot as the wire shows it.

use crate::{
    domain::position::Position,
    engine::view::{CitySnapshot, Counts, OrderView, RiderView},
    wire::{
        LatLon,
        operator::{CityCounts, CityState, OrderRow, RiderRow},
    },
};

/// The whole city.
pub fn city_state(snapshot: &CitySnapshot, clock_speed: f64) -> CityState {
    CityState {
        city: snapshot.city.to_string(),
        at: snapshot.at.as_millis(),
        clock_speed,
        counts: counts(&snapshot.counts),
        orders: snapshot.orders.iter().map(order_row).collect(),
        riders: snapshot.riders.iter().map(rider_row).collect(),
    }
}

fn counts(counts: &Counts) -> CityCounts {
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

fn order_row(order: &OrderView) -> OrderRow {
    OrderRow {
        order: order.order.0,
        merchant: order.merchant.0,
        external_ref: order.external_ref.clone(),
        status: order.status.to_string(),
        version: order.version,
        waiting_for: order.waiting_for.map(|reason| reason.to_string()),
        rider: order.rider.map(|rider| rider.0),
        pickup: lat_lon(order.pickup),
        drop: lat_lon(order.drop),
        placed_at: order.placed_at.as_millis(),
        ready_at: order.ready_at.as_millis(),
        promise_at: order.promise_at.as_millis(),
        leave_by: order.leave_by.as_millis(),
        due_at: order.due_at.map(|at| at.as_millis()),
        offers_tried: order.offers_tried,
    }
}

fn rider_row(rider: &RiderView) -> RiderRow {
    RiderRow {
        rider: rider.rider.0,
        duty: rider.duty.to_string(),
        state: rider.state.to_string(),
        vehicle: rider.vehicle.to_string(),
        connected: rider.connected,
        position: rider.fix.map(|(position, _)| lat_lon(position)),
        fix_at: rider.fix.map(|(_, at)| at.as_millis()),
        orders: rider.orders.iter().map(|order| order.0).collect(),
    }
}

fn lat_lon(position: Position) -> LatLon {
    LatLon { lat: position.lat(), lon: position.lon() }
}
