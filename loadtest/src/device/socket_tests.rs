//! A device against a small engine on a real socket: connecting, taking over, going home.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use dispatch_engine::{
    replay::{manners::Manners, scenario::Shift},
    wire::rider::{SUBPROTOCOL_JSON, Up},
};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
        http::HeaderValue,
    },
};

use super::{
    Phase,
    behaviour_tests::{answer, offer, rider, shared_at, welcome},
    live,
};

/// Serves one device: welcome, one offer once it is on duty, an answer to everything.
async fn serve(stream: TcpStream, hang_up: bool) {
    #[expect(clippy::result_large_err, reason = "the library's own signature")]
    let choose = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        assert!(request.headers()["authorization"].to_str().unwrap().starts_with("Bearer "));
        response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL_JSON));
        Ok(response)
    };
    let mut socket = accept_hdr_async(stream, choose).await.unwrap();
    let mut offered = false;
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let up: Up = serde_json::from_str(&text).unwrap();
        let mut down = vec![];
        match &up {
            Up::Hello(_) => down.push(welcome("OFF", vec![])),
            Up::Pings { .. } if !offered => {
                if hang_up {
                    return;
                }
                offered = true;
                down.extend([answer(&up).unwrap(), offer(None)]);
            }
            other => down.extend(answer(other)),
        }
        for frame in down {
            let text = serde_json::to_string(&frame).unwrap();
            if socket.send(Message::text(text)).await.is_err() {
                return;
            }
        }
    }
}

#[tokio::test]
async fn a_device_reconnects_delivers_and_goes_home() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // A delivery takes about half an hour; the clock runs fast enough for a second of it.
    let shared = Arc::new(shared_at(listener.local_addr().unwrap(), Manners::flawless()));
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let first = counted.fetch_add(1, Relaxed) == 0;
            tokio::spawn(serve(stream, first));
        }
    });
    let (phase, watching) = watch::channel(Phase::Warmup);
    let device = tokio::spawn(live(rider(), Shift { on: 0, off: None }, shared.clone(), watching));
    while shared.stats.placed.load(Relaxed) == 0 && shared.ledger.books().orders.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    phase.send_replace(Phase::Closing);
    device.await.unwrap();
    assert_eq!(connections.load(Relaxed), 2, "the first engine hung up");
    let sums = shared.stats.sums();
    assert_eq!(sums.events["connection_lost"], 1);
    assert!(sums.pings.points.settled > 0 && sums.answers.contains_key("offer_accept"));
    assert_eq!(shared.stats.on_duty.load(Relaxed), 0);
    assert_eq!(shared.stats.connected.load(Relaxed), 0);
}
