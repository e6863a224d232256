//! REST version 1 and the socket upgrades: parse, call, render. No rule about orders or riders stands here.
//!
//! [`app`] is the whole application; `routes.rs` shows its route table on one screen, and there is one file per resource.

pub mod auth;
mod body;
mod bulk;
mod change;
mod check;
mod cities;
mod convert;
mod disputes;
mod explain;
mod fallback;
#[cfg(feature = "fault-injection")]
mod faults;
mod head;
mod health;
mod keyed;
mod merchants;
mod observe;
mod openapi;
mod operate;
mod options;
mod orders;
mod page;
mod place;
mod positions;
pub mod problem;
pub mod reads;
mod riders;
pub mod routes;
pub mod server;
mod sockets;
mod stopping;
mod storage;
mod track_form;
mod tracks;

use std::{future::Future, pin::Pin, sync::Arc};

use actix_web::{
    App, Error,
    body::MessageBody,
    dev::{ServiceFactory, ServiceRequest, ServiceResponse},
    middleware::{Compress, from_fn},
    web,
};
use tokio::sync::watch;
use utoipa_actix_web::AppExt;

use crate::{
    actors::{
        operator_session::OperatorSocketDeps, order_journal::Availability, rider_session::RiderSocketDeps,
        router::Router,
    },
    cache::Cache,
    clock::Clock,
    domain::city::City,
    metrics::Metrics,
    store::{Db, contacts::Sealer},
};
use auth::Tokens;
pub use observe::Figures;
pub use options::Options;
pub use page::PageKey;
use reads::Reads;

/// Starts a stored city, or tells the running one its new settings.
pub type ApplyCity = Arc<
    dyn Fn(City) -> Pin<Box<dyn Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>>>> + Send + Sync,
>;

/// Everything that handlers need. Cheap to clone; made once per process.
#[derive(Clone)]
pub struct Deps {
    /// The store.
    pub db: Db,
    /// The cities that run here.
    pub router: Router,
    /// Brings a stored city to life.
    pub apply_city: ApplyCity,
    /// The mirror, which only `/health/ready` looks at.
    pub cache: Cache,
    /// The time.
    pub clock: Clock,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// The figures of this part; [`Figures::new`] registers them, once per process.
    pub figures: Figures,
    /// Checks bearer tokens.
    pub tokens: Tokens,
    /// Signs page tokens.
    pub pages: PageKey,
    /// Seals and opens customers' contacts.
    pub sealer: Sealer,
    /// What the sockets of riders need.
    pub rider_sockets: RiderSocketDeps,
    /// What the sockets of operators need.
    pub operator_sockets: OperatorSocketDeps,
    /// The limits of this part.
    pub options: Options,
    /// Whether the database answers.
    pub storage: Availability,
    /// Turns true when the app stops: new requests are refused from then on.
    pub stopping: watch::Receiver<bool>,
    /// The bounds of reading where riders are and were.
    pub reads: Reads,
}

/// The whole application, for [`server::serve`].
pub fn app(
    deps: Deps,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody + use<>>,
        Error = Error,
        InitError = (),
    > + use<>,
> {
    let body_limit = deps.options.body_limit_bytes;
    let (app, document) = App::new()
        .into_utoipa_app()
        .openapi(openapi::base())
        .app_data(web::Data::new(deps.clone()))
        .app_data(web::PayloadConfig::new(body_limit))
        .app_data(fallback::path_config())
        .app_data(fallback::query_config())
        .configure(routes::routes)
        .default_service(web::to(fallback::unmatched))
        .split_for_parts();
    app.app_data(web::Data::new(document))
        .wrap(from_fn(head::as_get))
        .wrap(from_fn(stopping::refuse))
        .wrap(Compress::default())
        .wrap(from_fn(observe::observe))
}
