//! What becomes of a connection whose client asks for a websocket: the application answers the request as any other one,
//! and its answer, if that is 101, goes on as the socket.
//!
//! actix-http would keep the connection: two buffers of 8 KiB and the state of an HTTP connection for as long as the socket
//! lives, and every frame through the decoder of a request's body, a channel, the encoder of a response's body and a
//! second copy. That is more than what this engine spends on a ping, and most of what it would keep for a rider. Here the
//! session reads from the connection and its answers are written to it, with nothing between.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::ready,
};

use actix_codec::{Encoder, Framed};
use actix_http::{
    ConnectionType, Payload, Request, Response, StatusCode,
    body::{BoxBody, MessageBody},
    h1::{Codec, Message},
};
use actix_web::{dev::Service, rt::net::TcpStream};
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWriteExt;

use super::{
    CLOSED_WITHIN,
    wire::{Incoming, Wire},
};

/// Lives through a connection from its request for a socket to its end.
pub async fn serve<A, B>(app: Rc<A>, mut request: Request, framed: Framed<TcpStream, Codec>) -> Result<(), Infallible>
where
    A: Service<Request>,
    A::Response: Into<Response<B>>,
    A::Error: Into<Response<BoxBody>>,
    B: MessageBody,
{
    let parts = framed.into_parts();
    let wire = Wire::new(parts.io);
    let early = Bytes::copy_from_slice(&parts.read_buf);
    drop(parts.read_buf);
    *request.payload() = Payload::Stream { payload: Box::pin(Incoming::new(wire.clone(), early)) };
    // In a box of its own, which is given back before the long life of the socket begins.
    let answered = Box::pin(app.call(request)).await;
    let ended = match answered {
        Ok(response) => answer(&wire, parts.codec, parts.write_buf, response.into()).await,
        Err(error) => answer(&wire, parts.codec, parts.write_buf, error.into()).await,
    };
    if let Err(error) = ended {
        // The client hung up in the midst of something, or its network did.
        tracing::debug!(%error, "a socket's connection broke");
    }
    Ok(())
}

/// Writes the answer to the request, behind what is written already, and what follows until its end.
async fn answer<B: MessageBody>(
    wire: &Wire,
    mut codec: Codec,
    mut written: BytesMut,
    response: Response<B>,
) -> io::Result<()> {
    let (mut head, body) = response.into_parts();
    let is_socket = head.status() == StatusCode::SWITCHING_PROTOCOLS;
    if !is_socket {
        head.head_mut().set_connection_type(ConnectionType::Close);
    }
    codec.encode(Message::Item((head, body.size())), &mut written)?;
    let body = pin!(body);
    if is_socket {
        converse(wire, written.freeze(), body).await?;
    } else {
        respond(wire, codec, written, body).await?;
    }
    wire.clone().shutdown().await?;
    // What the client still says is taken until it hangs up: a connection that is closed with unread bytes is reset, and
    // the client could lose what it was told last.
    let _ = tokio::time::timeout(CLOSED_WITHIN, wire.drain()).await;
    Ok(())
}

/// Writes what the session says, until it ends. It reads by itself, as the body of its request, and only while it is
/// polled here: a client that does not take its answers is not heard either, and the kernel ends its connection in time
/// (`connection.rs`).
async fn converse<B: MessageBody>(wire: &Wire, mut unsent: Bytes, mut session: Pin<&mut B>) -> io::Result<()> {
    poll_fn(|cx| {
        loop {
            while unsent.has_remaining() {
                match ready!(wire.poll_write(cx, &unsent))? {
                    0 => return io::Result::Err(io::ErrorKind::WriteZero.into()).into(),
                    count => unsent.advance(count),
                }
            }
            // Holds the memory of what was sent no longer.
            unsent = Bytes::new();
            match ready!(session.as_mut().poll_next(cx)) {
                Some(Ok(bytes)) => unsent = bytes,
                Some(Err(error)) => return io::Result::Err(io::Error::other(error.into().to_string())).into(),
                None => return Ok(()).into(),
            }
        }
    })
    .await
}

/// Writes the body of an answer that is none to a socket's request.
async fn respond<B: MessageBody>(
    wire: &Wire,
    mut codec: Codec,
    mut written: BytesMut,
    mut body: Pin<&mut B>,
) -> io::Result<()> {
    let mut wire = wire.clone();
    loop {
        wire.write_all_buf(&mut written).await?;
        let chunk = poll_fn(|cx| body.as_mut().poll_next(cx)).await;
        let chunk = chunk.transpose().map_err(|error| io::Error::other(error.into().to_string()))?;
        let is_last = chunk.is_none();
        codec.encode(Message::Chunk(chunk), &mut written)?;
        if is_last {
            return wire.write_all_buf(&mut written).await;
        }
    }
}
