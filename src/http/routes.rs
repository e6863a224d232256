//! The whole route table. Every handler carries its OpenAPI description.

use utoipa_actix_web::service_config::ServiceConfig;

#[cfg(feature = "fault-injection")]
use super::faults;
use super::{
    bulk, cities, disputes, explain, health, merchants, openapi, operate, orders, place, positions, riders, sockets,
    tracks,
};

/// Registers every route of this binary.
pub fn routes(config: &mut ServiceConfig) {
    production(config);
    #[cfg(feature = "fault-injection")]
    drills(config);
}

/// Registers every route that a production build has.
#[rustfmt::skip]
fn production(config: &mut ServiceConfig) {
    config
        //                                    role                    method and path
        .service(health::get_live)            // anybody                 GET  /health/live
        .service(health::get_ready)           // anybody                 GET  /health/ready
        .service(health::get_metrics)         // anybody (or a token)    GET  /metrics
        .service(openapi::get_document)       // anybody                 GET  /openapi.json
        .service(health::get_clock)           // anybody                 GET  /v1/clock
        .service(cities::put_city)            // admin                   POST /v1/cities
        .service(cities::list_cities)         // merchant, op, admin     GET  /v1/cities
        .service(cities::get_city)            // merchant, op, admin     GET  /v1/cities/{code}
        .service(cities::get_snapshot)        // operator, admin         GET  /v1/cities/{code}/snapshot
        .service(merchants::create_merchant)  // admin                   POST /v1/merchants
        .service(merchants::get_merchant)     // itself, op, admin       GET  /v1/merchants/{id}
        .service(riders::create_rider)        // operator, admin         POST /v1/riders
        .service(riders::list_riders)         // operator, admin         GET  /v1/riders
        .service(riders::get_rider)           // itself, op, admin       GET  /v1/riders/{id}
        .service(place::place_order)          // merchant, op, admin     POST /v1/orders
        .service(orders::list_orders)         // merchant, op, admin     GET  /v1/orders
        .service(orders::get_order)           // whoever may see it      GET  /v1/orders/{id}
        .service(explain::explain_order)      // operator, admin         GET  /v1/orders/{id}/explain
        .service(orders::cancel_order)        // merchant, op, admin     POST /v1/orders/{id}/cancel
        .service(orders::change_ready)        // merchant, op, admin     POST /v1/orders/{id}/ready
        .service(operate::assign_order)       // operator, admin         POST /v1/orders/{id}/assign
        .service(operate::reassign_order)     // operator, admin         POST /v1/orders/{id}/reassign
        .service(operate::unassign_order)     // operator, admin         POST /v1/orders/{id}/unassign
        .service(operate::hold_order)         // operator, admin         POST /v1/orders/{id}/hold
        .service(operate::release_order)      // operator, admin         POST /v1/orders/{id}/release
        .service(operate::prioritise_order)   // operator, admin         POST /v1/orders/{id}/priority
        .service(operate::get_audit)          // operator, admin         GET  /v1/orders/{id}/audit
        .service(bulk::bulk_operate)          // operator, admin         POST /v1/cities/{code}/orders/bulk
        .service(disputes::list_disputes)     // operator, admin         GET  /v1/cities/{code}/disputes
        .service(disputes::close_dispute)     // operator, admin         POST /v1/disputes/{id}/close
        .service(tracks::get_track)           // itself, op, admin       GET  /v1/riders/{id}/track
        .service(positions::get_location)     // itself, op, admin       GET  /v1/riders/{id}/location
        .service(positions::get_nearby)       // operator, admin         GET  /v1/cities/{code}/riders/nearby
        .service(sockets::rider_socket)       // rider                   GET  /v1/rider/socket
        .service(sockets::operator_socket);   // operator, admin         GET  /v1/operator/cities/{code}/socket
}

/// Registers what only tests and drills need.
#[cfg(feature = "fault-injection")]
#[rustfmt::skip]
fn drills(config: &mut ServiceConfig) {
    config
        .service(faults::inject_fault);       // admin                   POST /v1/cities/{code}/faults
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use actix_web::App;
    use utoipa_actix_web::{AppExt, service_config::ServiceConfig};

    type Routes = BTreeSet<(String, String)>;

    /// The comments of the tables above are read, so that they stay true.
    fn table_of(function: &str) -> Routes {
        let source = include_str!("routes.rs");
        let (_, from) = source.split_once(&format!("\nfn {function}(")).unwrap();
        let (body, _) = from.split_once("\n}").unwrap();
        body.lines()
            .filter(|line| line.trim_start().starts_with(".service("))
            .map(|line| {
                let mut words = line.split_whitespace().rev();
                let path = words.next().unwrap().to_owned();
                (words.next().unwrap().to_owned(), path)
            })
            .collect()
    }

    fn documented(routes: fn(&mut ServiceConfig)) -> Routes {
        let (_, document) = App::new().into_utoipa_app().configure(routes).split_for_parts();
        let mut documented = BTreeSet::new();
        let mut operations = BTreeSet::new();
        for (path, item) in &document.paths.paths {
            for (method, operation) in [("GET", &item.get), ("POST", &item.post)] {
                if let Some(operation) = operation {
                    documented.insert((method.to_owned(), path.clone()));
                    assert!(operations.insert(operation.operation_id.clone()), "{path}: an operation id is used twice");
                    assert!(operation.description.is_some() || operation.summary.is_some(), "{path} is not described");
                }
            }
        }
        documented
    }

    #[test]
    fn every_route_is_in_the_openapi_document_and_in_the_table() {
        let production = table_of("production");
        assert_eq!(documented(super::production), production);
        assert!(production.len() >= 19);
        let drills = if cfg!(feature = "fault-injection") { table_of("drills") } else { Routes::new() };
        assert_eq!(documented(super::routes), &production | &drills);
    }

    #[test]
    fn a_production_build_says_nothing_of_faults() {
        let (_, document) = App::new().into_utoipa_app().configure(super::production).split_for_parts();
        let document = document.to_json().unwrap();
        assert!(!["/faults", "NewFault", "fault-injection"].iter().any(|word| document.contains(word)));
    }
}
