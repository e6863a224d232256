//! What every accepted connection gets before its first byte.
//!
//! A websocket client that never reads stops the context of its actor, heartbeats included: nothing inside the program
//! can end that session. So the kernel does: with `TCP_USER_TIMEOUT`, a connection whose data the other side does not
//! take, be it lost or be its window closed, is ended after that time, which ends the session as any hang-up does. A
//! small send buffer makes sure that a reader that stalls is noticed after few bytes. What such a client sends meanwhile is
//! not read, so the kernel's buffer for it is bounded as well: left to itself it grows to megabytes.
//!
//! A second descriptor of each socket, to shut it down from outside, would do the same sooner and halve the number of
//! riders a process can hold: descriptors are the first limit it meets. Elsewhere than on Linux the time-out is TCP's own.

use std::time::Duration;

use actix_web::rt::net::TcpStream;
use serde::Deserialize;
use socket2::SockRef;

/// The limits of a connection.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Milliseconds (real time) after which data that the other side does not take ends the connection.
    pub user_timeout_ms: u64,
    /// Bytes that the kernel buffers for a connection (Linux doubles the number for its own needs).
    pub send_buffer_bytes: usize,
    /// Bytes that the kernel keeps of what a connection has received and nobody has read (doubled as well).
    pub receive_buffer_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { user_timeout_ms: 20_000, send_buffer_bytes: 64 * 1024, receive_buffer_bytes: 128 * 1024 }
    }
}

/// Prepares a connection that was just accepted.
pub(super) fn prepare(stream: &TcpStream, options: Options) {
    if let Err(error) = limit(&SockRef::from(stream), options) {
        // A client that hung up at once; a kernel that refuses would show here for every connection.
        tracing::debug!(%error, "a connection could not be prepared");
    }
}

fn limit(socket: &SockRef<'_>, options: Options) -> std::io::Result<()> {
    // An offer must not wait for the acknowledgement of the frame before it.
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(options.send_buffer_bytes)?;
    socket.set_recv_buffer_size(options.receive_buffer_bytes)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(Duration::from_millis(options.user_timeout_ms)))?;
    #[cfg(not(target_os = "linux"))]
    let _ = Duration::from_millis(options.user_timeout_ms);
    Ok(())
}
