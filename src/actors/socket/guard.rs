//! A guard before the websocket parser. The parser refuses a frame that is too large only once all of it has arrived
//! and keeps it in memory until then (actix-http 3.20, `Parser::parse`), so one client that announces 4 GiB could fill
//! the process. The guard reads the frame headers as the bytes pass, lets an oversized payload run into the void, and
//! puts a marked pong in the place of the frame, so that the session can answer it.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;

/// The payload of the pong that stands for an oversized frame. A client that sends it itself is answered the same way.
pub const OVERSIZED: &[u8] = b"dispatch:frame_too_large";

/// RFC 6455, 5.2: two bytes, up to eight of length, four of mask.
const MAX_HEADER: usize = 14;

/// Passes websocket bytes through, without the payloads of oversized frames.
#[derive(Debug)]
pub struct FrameGuard<S> {
    inner: S,
    frames: Frames,
    /// Whether the task that polls the guard is the one that feeds it.
    self_fed: bool,
}

impl<S> FrameGuard<S> {
    /// Guards a stream of client bytes; `max` is the longest payload that passes.
    ///
    /// `self_fed` says that whoever polls the guard also fed `inner` just before, in the same poll of the same task, as the
    /// connection of HTTP/1.1 does (actix-http 3.20, `Dispatcher::poll`: it reads, feeds the request's payload, then polls
    /// the response's body, of which a websocket's session is a part). To be woken by its own feeding would only make the
    /// task run again with nothing to do, once per frame: a third of what the server does for a frame.
    pub fn new(inner: S, max: usize, self_fed: bool) -> Self {
        Self { inner, frames: Frames { max: max as u64, header: BytesMut::new(), left: 0, skip: false }, self_fed }
    }
}

impl<S, E> Stream for FrameGuard<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    type Item = Result<Bytes, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut unwoken = Context::from_waker(Waker::noop());
        let cx = if self.self_fed { &mut unwoken } else { cx };
        loop {
            match std::task::ready!(Pin::new(&mut self.inner).poll_next(cx)) {
                Some(Ok(chunk)) => {
                    let passed = self.frames.pass(chunk);
                    if !passed.is_empty() {
                        return Poll::Ready(Some(Ok(passed)));
                    }
                }
                other => return Poll::Ready(other),
            }
        }
    }
}

/// Where in the stream of frames we are.
#[derive(Debug)]
struct Frames {
    max: u64,
    /// Bytes of a header that has not arrived whole.
    header: BytesMut,
    /// Bytes of the present payload that are still to come.
    left: u64,
    /// Whether they go into the void.
    skip: bool,
}

impl Frames {
    fn pass(&mut self, mut chunk: Bytes) -> Bytes {
        // The usual case, a payload within bounds that goes on or begins here, copies nothing.
        if self.header.is_empty() && !self.skip && self.all_fits(&chunk) {
            return chunk;
        }
        let mut out = BytesMut::with_capacity(chunk.len());
        while !chunk.is_empty() {
            if self.left > 0 {
                let part = chunk.split_to(usize::try_from(self.left).unwrap_or(usize::MAX).min(chunk.len()));
                self.left -= part.len() as u64;
                if !self.skip {
                    out.extend_from_slice(&part);
                }
                continue;
            }
            let byte = chunk.split_to(1);
            self.header.extend_from_slice(&byte);
            let Some(length) = payload_length(&self.header) else { continue };
            self.skip = length > self.max;
            self.left = length;
            if self.skip {
                #[expect(clippy::cast_possible_truncation, reason = "a constant of 24 bytes")]
                out.extend_from_slice(&[0x8A, 0x80 | OVERSIZED.len() as u8, 0, 0, 0, 0]);
                out.extend_from_slice(OVERSIZED);
            } else {
                out.extend_from_slice(&self.header);
            }
            self.header.clear();
        }
        out.freeze()
    }

    /// Walks the chunk without copying; on success the position stands behind it, otherwise nothing has changed.
    fn all_fits(&mut self, chunk: &[u8]) -> bool {
        let mut left = self.left;
        let mut rest = chunk;
        loop {
            let part = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
            rest = &rest[part..];
            left -= part as u64;
            if rest.is_empty() {
                self.left = left;
                return true;
            }
            let header = &rest[..header_length(rest).min(rest.len())];
            match payload_length(header) {
                Some(length) if length <= self.max => {
                    left = length;
                    rest = &rest[header.len()..];
                }
                _ => return false,
            }
        }
    }
}

/// The length of the header that begins here, as far as its first two bytes tell.
fn header_length(bytes: &[u8]) -> usize {
    let Some(&second) = bytes.get(1) else { return MAX_HEADER };
    let extended = match second & 0x7F {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + extended + if second & 0x80 == 0 { 0 } else { 4 }
}

/// The payload length of a header that is there whole, and exactly that.
fn payload_length(header: &[u8]) -> Option<u64> {
    if header.len() != header_length(header) {
        return None;
    }
    Some(match header[1] & 0x7F {
        126 => u64::from(u16::from_be_bytes([header[2], header[3]])),
        127 => u64::from_be_bytes(header[2..10].try_into().ok()?),
        length => u64::from(length),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(length: usize) -> Vec<u8> {
        let mut bytes = vec![0x81];
        match length {
            0..=125 => bytes.push(0x80 | u8::try_from(length).unwrap()),
            126..=65_535 => {
                bytes.push(0x80 | 126);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend([1, 2, 3, 4]);
        bytes.extend((0..length).map(|i| u8::try_from(i % 251).unwrap()));
        bytes
    }

    fn marker() -> Vec<u8> {
        let mut bytes = vec![0x8A, 0x80 | 24, 0, 0, 0, 0];
        bytes.extend(OVERSIZED);
        bytes
    }

    fn guarded(max: u64, chunks: impl Iterator<Item = Bytes>) -> Vec<u8> {
        let mut frames = Frames { max, header: BytesMut::new(), left: 0, skip: false };
        chunks.flat_map(|chunk| frames.pass(chunk).to_vec()).collect()
    }

    proptest! {
        #[test]
        fn frames_pass_or_are_replaced_however_they_are_cut(
            lengths in prop::collection::vec(prop_oneof![0_usize..140, Just(65_535), Just(65_536), 900..1_100_usize], 1..8),
            cut in 1_usize..4_000,
        ) {
            let max = 1_000;
            let sent: Vec<u8> = lengths.iter().flat_map(|&length| frame(length)).collect();
            let expected: Vec<u8> = lengths
                .iter()
                .flat_map(|&length| if length > max { marker() } else { frame(length) })
                .collect();
            let got = guarded(max as u64, sent.chunks(cut).map(Bytes::copy_from_slice));
            prop_assert_eq!(got, expected);
        }
    }

    #[test]
    fn a_frame_of_4_gib_takes_no_memory() {
        let mut frames = Frames { max: 1_000, header: BytesMut::new(), left: 0, skip: false };
        let mut start = vec![0x82, 0xFF];
        start.extend((1_u64 << 32).to_be_bytes());
        start.extend([0; 4]);
        assert_eq!(frames.pass(start.into()).to_vec(), marker());
        assert!(frames.pass(Bytes::from(vec![0; 65_536])).is_empty());
        assert_eq!(frames.left, (1 << 32) - 65_536);
    }
}
