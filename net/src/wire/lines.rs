//! One text a line.

use bytes::{Buf, Bytes, BytesMut};

use super::{Goodbye, Next, too_large};

/// What came in and is not taken yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    input: BytesMut,
    /// Bytes of it that were looked at and hold no line end.
    seen: usize,
}

impl Lines {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    pub(super) fn next(&mut self, max: usize) -> Next {
        loop {
            let end = self.input[self.seen..].iter().position(|byte| *byte == b'\n');
            match end.map(|end| self.seen + end) {
                Some(end) if end <= max => {
                    let mut line = self.input.split_to(end + 1).freeze();
                    line.truncate(end);
                    self.seen = 0;
                    if !line.trim_ascii().is_empty() {
                        return Next::Text(line);
                    }
                }
                None if self.input.len() <= max => {
                    self.seen = self.input.len();
                    if self.input.is_empty() {
                        self.input = BytesMut::new();
                    }
                    return Next::Wait;
                }
                _ => {
                    self.input.advance(self.input.len());
                    self.seen = 0;
                    return Next::Broken(too_large(max), Goodbye::TooLarge);
                }
            }
        }
    }

    pub(super) fn rest(&mut self) -> Option<Bytes> {
        let rest = std::mem::take(&mut self.input).freeze();
        self.seen = 0;
        (!rest.trim_ascii().is_empty()).then_some(rest)
    }
}
