//! A connection, as HTTP and then perhaps a socket have it. A session reads from it while its answers are written to it,
//! both in one task.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use actix_http::{body::BoxBody, error::PayloadError};
use actix_web::rt::net::TcpStream;
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

/// Bytes that can be read at once. A rider's frame has a hundred, or a few thousand after a gap.
const READ: usize = 16 * 1024;

thread_local! {
    /// Where every connection of a worker reads to, one behind the other, so that none keeps a buffer while its client is
    /// silent. It is used again as soon as all that was read is worked on.
    static READ_TO: RefCell<BytesMut> = RefCell::new(BytesMut::with_capacity(4 * READ));
}

/// A connection that several parts of one task hold.
#[derive(Clone, Debug)]
pub struct Wire(Rc<Line>);

#[derive(Debug)]
struct Line {
    stream: RefCell<TcpStream>,
    socket: RefCell<Option<Socket>>,
}

/// What a connection goes on as after HTTP.
#[derive(Debug)]
pub struct Socket {
    /// What it has to be told first.
    pub unsent: Bytes,
    /// What its session says.
    pub says: BoxBody,
}

impl Wire {
    pub fn new(stream: TcpStream) -> Self {
        Self(Rc::new(Line { stream: RefCell::new(stream), socket: RefCell::default() }))
    }

    /// When HTTP lets the connection go, it is this.
    pub fn become_socket(&self, socket: Socket) {
        self.0.socket.replace(Some(socket));
    }

    /// The socket that the connection has become, once.
    pub fn take_socket(&self) -> Option<Socket> {
        self.0.socket.take()
    }

    /// Writes as much as the kernel takes.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_write(cx, bytes)
    }

    /// Reads what is there; empty is the end.
    fn poll_bytes(&self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        READ_TO.with_borrow_mut(|buffer| {
            buffer.reserve(READ);
            ready!(poll_read_buf(Pin::new(&mut *self.0.stream.borrow_mut()), cx, buffer))?;
            Poll::Ready(Ok(buffer.split().freeze()))
        })
    }

    /// Reads to the end, for nothing.
    pub async fn drain(&self) {
        while std::future::poll_fn(|cx| self.poll_bytes(cx)).await.is_ok_and(|bytes| !bytes.is_empty()) {}
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Self::poll_write(&self, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_shutdown(cx)
    }
}

/// What comes in, as the body of the request that asked for the socket.
#[derive(Debug)]
pub struct Incoming {
    wire: Wire,
    /// What came together with the request.
    early: Bytes,
}

impl Incoming {
    pub const fn new(wire: Wire, early: Bytes) -> Self {
        Self { wire, early }
    }
}

impl Stream for Incoming {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.early.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.early))));
        }
        match ready!(self.wire.poll_bytes(cx)) {
            Ok(bytes) if !bytes.is_empty() => Poll::Ready(Some(Ok(bytes))),
            Ok(_) => Poll::Ready(None),
            Err(error) => {
                // A broken connection is a hang-up: nobody is there any more to whom an error could be told.
                tracing::debug!(%error, "a socket could not be read");
                Poll::Ready(None)
            }
        }
    }
}
