//! Free ports of the loopback interface.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
};

/// A port of 127.0.0.1 that was free a moment ago. Somebody else may take it before its server does: a start that fails
/// asks again.
///
/// # Errors
/// When no port can be bound at all.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
