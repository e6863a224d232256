//! The HTTP server: the application of actix-web behind the connections of actix-http, on the threads of actix-server, as
//! `actix_web::HttpServer` puts them together. One thing is different, and `HttpServer` has no setting for it: a request
//! for a websocket takes its connection out of HTTP (`upgrade.rs`).

pub mod connection;
mod upgrade;
mod wire;

use std::{
    fmt::{Debug, Display},
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    time::Duration,
};

use actix_http::{HttpService, Protocol, Request, Response, body::BoxBody};
use actix_service::IntoServiceFactory;
use actix_web::{
    body::MessageBody,
    dev::{AppConfig, Server, Service, ServiceFactory, fn_factory, fn_service},
    rt::net::TcpStream,
};

pub use upgrade::hand_over;
use wire::Wire;

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
    let options = settings.connection;
    let service = move || {
        let (app, stopping, options) = (app.clone(), stopping.clone(), options);
        fn_factory(move || {
            let (app, stopping, options) = (app().into_factory(), stopping.clone(), options);
            async move {
                // Host and address of the default stand in links that an application makes; this one makes none.
                let app = app.new_service(AppConfig::default()).await;
                let app = Rc::new(app.map_err(|error| tracing::error!(?error, "the application could not be made"))?);
                let sockets = app.clone();
                let http = HttpService::build()
                    // A connection that waits for its next request does not hold up the end.
                    .graceful_shutdown_signal(move || {
                        let stopping = stopping.clone();
                        async move { stopping.notified().await }
                    })
                    .client_disconnect_timeout(CLOSED_WITHIN)
                    .upgrade(fn_service(move |(request, framed)| upgrade::answer(sockets.clone(), request, framed)))
                    .finish(fn_service(move |request| app.call(request)))
                    .new_service(())
                    .await?;
                let http = Rc::new(http);
                Ok::<_, ()>(fn_service(move |stream| live(http.clone(), stream, options)))
            }
        })
    };
    Ok(builder.listen(name, listener, service)?.run())
}

/// The life of a connection: requests, one after another, and perhaps a socket.
async fn live<H>(http: Rc<H>, stream: TcpStream, options: connection::Options) -> Result<(), ()>
where
    H: Service<(Wire, Protocol, Option<SocketAddr>)>,
    H::Error: Display,
{
    connection::prepare(&stream, options);
    let peer = stream.peer_addr().ok();
    let wire = Wire::new(stream);
    // In a box of its own, which is given back before the long life of a socket begins.
    if let Err(error) = Box::pin(http.call((wire.clone(), Protocol::Http1, peer))).await {
        tracing::debug!(%error, "a connection ended");
    }
    if let Some(socket) = wire.take_socket() {
        upgrade::converse(wire, socket).await;
    }
    Ok(())
}
