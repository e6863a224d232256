//! The HTTP server: the application of actix-web behind the connections of actix-http, on the threads of actix-server, as
//! `actix_web::HttpServer` puts them together. One thing is different, and `HttpServer` has no setting for it: a request
//! for a websocket takes its connection out of HTTP (`upgrade.rs`).

pub mod connection;
mod upgrade;
mod wire;

use std::{fmt::Debug, io, net::TcpListener, rc::Rc, time::Duration};

use actix_http::{HttpService, Request, Response, body::BoxBody};
use actix_service::IntoServiceFactory;
use actix_web::{
    body::MessageBody,
    dev::{AppConfig, Server, Service, ServiceFactory, fn_factory, fn_service},
    rt::net::TcpStream,
};
use tokio::sync::OnceCell;

/// How long a connection that is closed here may take to close on the other side (real time).
const CLOSED_WITHIN: Duration = Duration::from_secs(1);

/// How the server runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Threads; each has an application of its own.
    pub workers: usize,
    /// Seconds (real time) that open connections get at an orderly stop.
    pub shutdown_timeout_s: u64,
    /// What every connection gets.
    pub connection: connection::Options,
}

/// Starts to serve `app`, which is made once per worker. The server ends when it is told to through its handle.
///
/// # Errors
/// When the listening socket cannot be used.
pub fn serve<F, I, S, B>(listener: TcpListener, app: F, settings: &Settings) -> io::Result<Server>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<Response<BoxBody>> + 'static,
    S::InitError: Debug + 'static,
    S::Response: Into<Response<B>> + 'static,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let name = format!("http {}", listener.local_addr()?);
    let builder =
        Server::build().workers(settings.workers).shutdown_timeout(settings.shutdown_timeout_s).disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let options = settings.connection.clone();
    let service = move || {
        let requests = Rc::new(OfOneWorker { factory: app().into_factory(), service: OnceCell::new() });
        let sockets = requests.clone();
        let (stopping, options) = (stopping.clone(), options.clone());
        HttpService::build()
            // A connection that waits for its next request does not hold up the end.
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .client_disconnect_timeout(CLOSED_WITHIN)
            .on_connect_ext(move |stream: &TcpStream, _| connection::prepare(stream, &options))
            .upgrade(fn_factory(move || {
                let sockets = sockets.clone();
                async move {
                    let app = sockets.service().await?;
                    Ok::<_, S::InitError>(fn_service(move |(request, framed)| {
                        Box::pin(upgrade::serve(app.clone(), request, framed))
                    }))
                }
            }))
            .finish(fn_factory(move || {
                let requests = requests.clone();
                async move { requests.service().await }
            }))
            .tcp()
    };
    Ok(builder.listen(name, listener, service)?.run())
}

/// The application of a worker, for its requests and its sockets alike.
struct OfOneWorker<S: ServiceFactory<Request>> {
    factory: S,
    service: OnceCell<Rc<S::Service>>,
}

impl<S: ServiceFactory<Request, Config = AppConfig>> OfOneWorker<S> {
    async fn service(&self) -> Result<Rc<S::Service>, S::InitError> {
        let made = self.service.get_or_try_init(|| async {
            // Host and address of the default stand in links that an application makes; this one makes none.
            self.factory.new_service(AppConfig::default()).await.map(Rc::new)
        });
        made.await.cloned()
    }
}
