//! A tokio-util codec over the scanner, for conversations that are not on the hot path: handshakes and tests.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use super::frame::Scanner;

/// Frames up to this many bytes are taken; a handshake's are a few hundred.
const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Cuts a byte stream into frames, each as the bytes that came; writes requests as they are given.
#[derive(Debug, Default)]
pub struct FrameCodec;

impl Decoder for FrameCodec {
    type Item = Bytes;
    type Error = io::Error;

    fn decode(&mut self, source: &mut BytesMut) -> io::Result<Option<Bytes>> {
        let mut scanner = Scanner::default();
        let run = scanner
            .run(source, 1)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if run.frames == 1 {
            return Ok(Some(source.split_to(run.consumed).freeze()));
        }
        if source.len() > FRAME_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a frame is too long for a handshake",
            ));
        }
        Ok(None)
    }
}

impl Encoder<&[u8]> for FrameCodec {
    type Error = io::Error;

    fn encode(&mut self, request: &[u8], destination: &mut BytesMut) -> io::Result<()> {
        destination.extend_from_slice(request);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_one_by_one() {
        let mut source = BytesMut::from(&b"+OK\r\n$3\r\nab"[..]);
        assert_eq!(FrameCodec.decode(&mut source).unwrap().unwrap(), "+OK\r\n");
        assert_eq!(FrameCodec.decode(&mut source).unwrap(), None);
        source.extend_from_slice(b"c\r\n");
        assert_eq!(
            FrameCodec.decode(&mut source).unwrap().unwrap(),
            "$3\r\nabc\r\n"
        );
    }
}
