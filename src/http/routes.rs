//! The whole route table. Every handler carries its OpenAPI description.

use utoipa_actix_web::service_config::ServiceConfig;

use super::{cities, health, merchants, openapi, orders, place, riders};

/// Registers every route.
#[rustfmt::skip]
pub fn routes(config: &mut ServiceConfig) {
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
        .service(orders::cancel_order)        // merchant, op, admin     POST /v1/orders/{id}/cancel
        .service(orders::change_ready);       // merchant, op, admin     POST /v1/orders/{id}/ready
}
