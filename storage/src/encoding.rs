//! Reading and writing the small numbers that formats are made of: little-endian, LEB128.

/// Most bytes of a LEB128 number of 64 bits.
const LEB_MAX: usize = 10;

/// Appends `number` as LEB128, in as few bytes as it needs.
#[inline]
pub(crate) fn write_leb(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends `bytes` behind their length.
#[inline]
pub(crate) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_leb(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// What is left of a row of bytes. Every answer is `None` once something is not there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (now, later) = self.0.split_at_checked(len)?;
        self.0 = later;
        Some(now)
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|b| u16::from_le_bytes([b[0], b[1]]))
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take(4).map(|b| u32::from_le_bytes(b.try_into().expect("four bytes")))
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take(8).map(|b| u64::from_le_bytes(b.try_into().expect("eight bytes")))
    }

    #[inline]
    pub(crate) fn u128(&mut self) -> Option<u128> {
        self.take(16).map(|b| u128::from_le_bytes(b.try_into().expect("sixteen bytes")))
    }

    /// A LEB128 number in its only form: a longer one is refused, as two encodings of one thing
    /// would make equal states unequal in bytes.
    #[inline]
    pub(crate) fn leb(&mut self) -> Option<u64> {
        let mut number = 0;
        for at in 0..LEB_MAX {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if at == LEB_MAX - 1 && byte > 1 {
                return None;
            }
            number |= bits << (7 * at);
            if byte < 0x80 {
                return (byte != 0 || at == 0).then_some(number);
            }
        }
        None
    }

    /// Bytes behind their length.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.leb()?).ok()?;
        self.take(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_encoding() {
        let edges = (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit]).chain([u64::MAX]);
        for number in edges {
            let mut bytes = Vec::new();
            write_leb(&mut bytes, number);
            let mut reader = Reader(&bytes);
            assert_eq!((reader.leb(), reader.0), (Some(number), &[][..]), "{number}");
            for end in 0..bytes.len() {
                assert_eq!(Reader(&bytes[..end]).leb(), None, "{number} cut at {end}");
            }
        }
        for longer in [&[0x80, 0x00][..], &[0xff, 0x80, 0x00], &[0xff; 10], &[0xff; 11]] {
            assert_eq!(Reader(longer).leb(), None, "{longer:?}");
        }
        let mut above = [0xff; 10];
        above[9] = 2;
        assert_eq!(Reader(&above).leb(), None, "more than 64 bits");
    }

    #[test]
    fn a_length_that_promises_too_much_is_refused() {
        let mut bytes = Vec::new();
        write_bytes(&mut bytes, b"abc");
        assert_eq!(Reader(&bytes).bytes(), Some(&b"abc"[..]));
        assert_eq!(Reader(&bytes[..3]).bytes(), None);
        let mut huge = Vec::new();
        write_leb(&mut huge, u64::MAX);
        assert_eq!(Reader(&huge).bytes(), None);
    }
}
