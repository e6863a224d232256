//! What becomes of a connection whose client asks for a websocket: the application answers the request as any other one,
//! and its answer, if that is 101, goes on as the socket.
//!
//! actix-http would keep the connection: two buffers of 8 KiB and the state of an HTTP connection for as long as the socket
//! lives, and every frame through the decoder of a request's body, a channel, the encoder of a response's body and a
//! second copy. That is more than what this engine spends on a ping, and most of what it would keep for a rider. Here the
//! session reads from the connection and its answers are written to it, with nothing between.

use std::{convert::Infallible, future::poll_fn, io, pin::Pin, rc::Rc, task::ready};

use actix_codec::{Encoder, Framed};
use actix_http::{
    ConnectionType, Payload, Request, Response, StatusCode,
    body::{BodySize, BoxBody, MessageBody},
    h1::{Codec, Message},
};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, dev::Service};
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWriteExt;

use super::{
    CLOSED_WITHIN,
    wire::{Incoming, Socket, Wire},
};

/// Answers a request for a socket, or for a tunnel, with which HTTP ends on its connection.
pub async fn answer<A, B>(app: Rc<A>, mut request: Request, framed: Framed<Wire, Codec>) -> Result<(), Infallible>
where
    A: Service<Request>,
    A::Response: Into<Response<B>>,
    A::Error: Into<Response<BoxBody>>,
    B: MessageBody + 'static,
{
    let parts = framed.into_parts();
    let wire = parts.io;
    let early = Bytes::copy_from_slice(&parts.read_buf);
    request.extensions_mut().insert(wire.clone());
    *request.payload() = Payload::Stream { payload: Box::pin(Incoming::new(wire.clone(), early)) };
    let response = match app.call(request).await {
        Ok(response) => response.into().map_into_boxed_body(),
        Err(error) => error.into(),
    };
    if let Err(error) = begin(&wire, parts.codec, parts.write_buf, response).await {
        tracing::debug!(%error, "a socket's connection broke before it was one");
    }
    Ok(())
}

/// Takes the session out of the answer of a handler. What it says goes to the connection as it is, past all that stands
/// around the application for the bodies of answers, and would for every frame. `None` when the request cannot leave HTTP,
/// because it has a body in chunks.
pub fn hand_over(request: &HttpRequest, response: HttpResponse) -> Option<HttpResponse> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Some(response);
    }
    let extensions = request.extensions();
    let wire = extensions.get::<Wire>()?;
    let (response, says) = response.into_parts();
    wire.become_socket(Socket { unsent: Bytes::new(), says });
    Some(response.set_body(BoxBody::new(())))
}

/// Begins the socket, or refuses it; `unsent` is what the connection was told before.
async fn begin(wire: &Wire, mut codec: Codec, mut unsent: BytesMut, response: Response<BoxBody>) -> io::Result<()> {
    let (mut head, says) = response.into_parts();
    let handed_over = wire.take_socket();
    if head.status() == StatusCode::SWITCHING_PROTOCOLS {
        let says = handed_over.map_or(says, |socket| socket.says);
        codec.encode(Message::Item((head, BodySize::Stream)), &mut unsent)?;
        wire.become_socket(Socket { unsent: unsent.freeze(), says });
        return Ok(());
    }
    head.head_mut().set_connection_type(ConnectionType::Close);
    codec.encode(Message::Item((head, says.size())), &mut unsent)?;
    refuse(wire.clone(), codec, unsent, says).await?;
    close(wire).await
}

/// Writes the rest of an answer that is none to a socket's request.
async fn refuse(mut wire: Wire, mut codec: Codec, mut unsent: BytesMut, mut body: BoxBody) -> io::Result<()> {
    loop {
        wire.write_all_buf(&mut unsent).await?;
        let chunk = poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await;
        let chunk = chunk.transpose().map_err(|error| io::Error::other(error.to_string()))?;
        let is_last = chunk.is_none();
        codec.encode(Message::Chunk(chunk), &mut unsent)?;
        if is_last {
            return wire.write_all_buf(&mut unsent).await;
        }
    }
}

/// Lives through a socket, to its end.
pub async fn converse(wire: Wire, mut socket: Socket) {
    let ended = write(&wire, &mut socket).await;
    // A session that is still there hears that nobody is.
    drop(socket);
    if let Err(error) = match ended {
        Ok(()) => close(&wire).await,
        Err(error) => Err(error),
    } {
        // The client hung up in the midst of something, or its network did.
        tracing::debug!(%error, "a socket's connection broke");
    }
}

/// Writes what the session says, until it ends. It reads by itself, as the body of its request, and only while it is
/// polled here: a client that does not take its answers is not heard either, and the kernel ends its connection in time
/// (`connection.rs`).
async fn write(wire: &Wire, Socket { unsent, says }: &mut Socket) -> io::Result<()> {
    poll_fn(|cx| {
        loop {
            while unsent.has_remaining() {
                match ready!(wire.poll_write(cx, unsent))? {
                    0 => return io::Result::Err(io::ErrorKind::WriteZero.into()).into(),
                    count => unsent.advance(count),
                }
            }
            // Holds the memory of what was sent no longer.
            *unsent = Bytes::new();
            match ready!(Pin::new(&mut *says).poll_next(cx)) {
                Some(Ok(bytes)) => *unsent = bytes,
                Some(Err(error)) => return io::Result::Err(io::Error::other(error.to_string())).into(),
                None => return Ok(()).into(),
            }
        }
    })
    .await
}

/// Ends a connection that has been told everything. What the client still says is taken until it hangs up: a connection
/// that is closed with unread bytes is reset, and the client could lose what it was told last.
async fn close(wire: &Wire) -> io::Result<()> {
    wire.clone().shutdown().await?;
    let _ = tokio::time::timeout(CLOSED_WITHIN, wire.drain()).await;
    Ok(())
}
