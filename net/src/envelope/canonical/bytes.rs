//! The pieces that the canonical form is made of.

use bytes::Bytes;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// They end too soon, or a length in them is too large.
    Cut,
    /// A number is not written in as few bytes as it needs.
    Number,
    /// A kind nobody knows.
    Kind,
    /// Text that is not UTF-8.
    Text,
    /// Something stands behind the end.
    Surplus,
    /// Another version of the form.
    Version {
        /// Which one.
        version: u8,
    },
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Malformed::Cut => f.write_str("cut short"),
            Malformed::Number => f.write_str("a number in a longer form than it needs"),
            Malformed::Kind => f.write_str("of a kind nobody knows"),
            Malformed::Text => f.write_str("text that is not UTF-8"),
            Malformed::Surplus => f.write_str("more behind the end"),
            Malformed::Version { version } => write!(f, "of form {version}, which is not known"),
        }
    }
}

impl std::error::Error for Malformed {}

/// Where the form is written to.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// Small numbers of either sign in few bytes.
    pub(super) fn integer(&mut self, number: i64) {
        self.number((number << 1 ^ number >> 63) as u64);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(super) fn option<T>(&mut self, content: Option<T>, write: impl FnOnce(&mut Writer, T)) {
        self.byte(u8::from(content.is_some()));
        if let Some(content) = content {
            write(self, content);
        }
    }

    pub(super) fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Writer, &T)) {
        self.number(items.len() as u64);
        items.iter().for_each(|item| write(self, item));
    }
}

/// What is left to read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed::Cut)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::Kind),
        }
    }

    pub(super) fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for at in 0..10 {
            let byte = self.byte()?;
            if at == 9 && byte > 1 {
                return Err(Malformed::Number);
            }
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                // Two forms of one number would be two fingerprints of one command.
                return if byte == 0 && at > 0 { Err(Malformed::Number) } else { Ok(number) };
            }
        }
        Err(Malformed::Number)
    }

    pub(super) fn integer(&mut self) -> Result<i64, Malformed> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(self.number()?).map_err(|_| Malformed::Cut)?;
        let (now, rest) = self.0.split_at_checked(len).ok_or(Malformed::Cut)?;
        self.0 = rest;
        Ok(now)
    }

    pub(super) fn key(&mut self) -> Result<Bytes, Malformed> {
        self.bytes().map(Bytes::copy_from_slice)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed::Text)
    }

    pub(super) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }

    pub(super) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        // Each takes a byte at least, so that a length alone reserves nothing.
        let len = usize::try_from(self.number()?).map_err(|_| Malformed::Cut)?;
        if len > self.0.len() {
            return Err(Malformed::Cut);
        }
        (0..len).map(|_| read(self)).collect()
    }
}
