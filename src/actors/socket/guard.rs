//! A guard before the websocket parser. The parser refuses a frame that is too large only once all of it has arrived
//! and keeps it in memory until then (actix-http 3.20, `Parser::parse`), so one client that announces 4 GiB could fill
//! the process. The guard reads the frame headers as the bytes pass, lets an oversized payload run into the void, and
//! puts a marked pong in the place of the frame, so that the session can answer it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;

/// The payload of the pong that stands for an oversized frame. A client that sends it itself is answered the same way.
pub const OVERSIZED: &[u8] = b"dispatch:frame_too_large";

/// RFC 6455, 5.2: two bytes, up to eight of length, four of mask.
const MAX_HEADER: usize = 14;

/// Passes websocket bytes through, one frame at a time, without the payloads of oversized ones.
///
/// The parser asks for everything that there is before it takes the next frame (actix-web-actors 4.3, `WsStream`), so a
/// client that sends tiny frames as fast as it can would fill its buffer without end. Here it hears after each frame that
/// there is no more, takes the frame, and asks again: no more is read than is worked on.
#[derive(Debug)]
pub struct FrameGuard<S> {
    inner: S,
    frames: Frames,
    /// Read, and not passed on.
    unread: Bytes,
    /// Whether the parser has a whole frame that it has not taken.
    is_served: bool,
}

impl<S> FrameGuard<S> {
    /// Guards a stream of client bytes; `max` is the longest payload that passes.
    pub fn new(inner: S, max: usize) -> Self {
        Self { inner, frames: Frames::new(max), unread: Bytes::new(), is_served: false }
    }
}

impl<S, E> Stream for FrameGuard<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    type Item = Result<Bytes, E>;

    /// Pending after a whole frame means "take it and ask again", and nothing wakes the task for that.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.is_served) {
            return Poll::Pending;
        }
        let this = &mut *self;
        loop {
            if this.unread.is_empty() {
                match ready!(Pin::new(&mut this.inner).poll_next(cx)) {
                    Some(Ok(bytes)) => this.unread = bytes,
                    other => return Poll::Ready(other),
                }
            }
            let passed = this.frames.pass(&mut this.unread);
            if !passed.is_empty() {
                this.is_served = this.frames.between();
                return Poll::Ready(Some(Ok(passed)));
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
    fn new(max: usize) -> Self {
        Self { max: max as u64, header: BytesMut::new(), left: 0, skip: false }
    }

    /// Whether the last frame is complete and the next has not begun.
    fn between(&self) -> bool {
        self.left == 0 && self.header.is_empty()
    }

    /// Takes bytes up to the end of a frame, or all that there are, and returns what passes of them.
    fn pass(&mut self, bytes: &mut Bytes) -> Bytes {
        // The usual case, a frame within bounds that is there whole, copies nothing.
        if self.between()
            && let Some((header, length)) = next_header(bytes)
            && length <= self.max
            && usize::try_from(length).is_ok_and(|length| header + length <= bytes.len())
        {
            self.skip = false;
            #[expect(clippy::cast_possible_truncation, reason = "no longer than what is in memory")]
            return bytes.split_to(header + length as usize);
        }
        let mut out = BytesMut::new();
        while !bytes.is_empty() {
            if self.left > 0 {
                let part = bytes.split_to(usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len()));
                self.left -= part.len() as u64;
                if !self.skip {
                    out.extend_from_slice(&part);
                }
            } else {
                let byte = bytes.split_to(1);
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
                // Given back: most frames need none, and a rider has hours of them.
                self.header = BytesMut::new();
            }
            if self.between() {
                break;
            }
        }
        out.freeze()
    }
}

/// The length of the header that begins here and of the payload behind it, if the header is there whole.
fn next_header(bytes: &[u8]) -> Option<(usize, u64)> {
    let header = header_length(bytes);
    Some((header, payload_length(bytes.get(..header)?)?))
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
    use futures_util::StreamExt;
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

    fn guarded(max: usize, chunks: impl Iterator<Item = Bytes>) -> Vec<u8> {
        let mut frames = Frames::new(max);
        let mut passed = vec![];
        for mut chunk in chunks {
            while !chunk.is_empty() {
                passed.extend(frames.pass(&mut chunk));
            }
        }
        passed
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
            let got = guarded(max, sent.chunks(cut).map(Bytes::copy_from_slice));
            prop_assert_eq!(got, expected);
        }
    }

    #[test]
    fn a_frame_of_4_gib_takes_no_memory() {
        let mut frames = Frames::new(1_000);
        let mut start = vec![0x82, 0xFF];
        start.extend((1_u64 << 32).to_be_bytes());
        start.extend([0; 4]);
        assert_eq!(frames.pass(&mut start.into()).to_vec(), marker());
        assert!(frames.pass(&mut Bytes::from(vec![0; 65_536])).is_empty());
        assert_eq!(frames.left, (1 << 32) - 65_536);
    }

    #[test]
    fn the_parser_gets_one_frame_at_a_time_and_no_more_is_read_meanwhile() {
        let reads = std::cell::Cell::new(0);
        let chunks = [[frame(3), frame(200)].concat(), frame(0), frame(5)[..4].to_vec(), frame(5)[4..].to_vec()];
        let inner = futures_util::stream::iter(chunks).map(|chunk| {
            reads.set(reads.get() + 1);
            Ok::<_, ()>(Bytes::from(chunk))
        });
        let mut guard = FrameGuard::new(inner, 1_000);
        let mut next = || {
            let mut bytes = vec![];
            let mut cx = Context::from_waker(std::task::Waker::noop());
            while let Poll::Ready(Some(Ok(part))) = guard.poll_next_unpin(&mut cx) {
                bytes.extend(part);
            }
            (bytes, reads.get())
        };
        assert_eq!([next(), next(), next()], [(frame(3), 1), (frame(200), 1), (frame(0), 2)]);
        assert_eq!(next(), (frame(5), 4), "a frame in two pieces is one");
        assert_eq!(next(), (vec![], 4));
    }
}
