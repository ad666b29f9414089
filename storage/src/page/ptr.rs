//! Where a page lies, and what it must turn out to be.

/// The unit of allocation in `data.pages`, in bytes.
pub const UNIT: usize = 4096;
/// Most units of one page.
pub const UNITS_MAX: u32 = u16::MAX as u32;
/// Bytes of an encoded [`PagePtr`].
pub const PTR: usize = 16;

/// Units are counted in 48 bits.
const UNIT_END: u64 = 1 << 48;

/// A reference to a page on disk.
///
/// It remembers the page's checksum, so a page that was valid once and is no longer the one meant,
/// after a lost or misdirected write, is told from the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PagePtr {
    /// Its first unit; never 0.
    pub unit: u64,
    /// How many units it takes; never 0.
    pub units: u16,
    /// The checksum it was sealed with.
    pub sum: u32,
    /// The low half of the generation that wrote it.
    pub generation: u32,
}

impl PagePtr {
    /// Its first byte in the file.
    pub fn offset(&self) -> u64 {
        self.unit * UNIT as u64
    }

    /// How many bytes it takes.
    pub fn size(&self) -> usize {
        usize::from(self.units) * UNIT
    }

    /// Its encoding.
    pub fn encode(&self) -> [u8; PTR] {
        assert!(self.unit < UNIT_END, "unit {}", self.unit);
        let mut bytes = [0; PTR];
        bytes[..6].copy_from_slice(&self.unit.to_le_bytes()[..6]);
        bytes[6..8].copy_from_slice(&self.units.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.sum.to_le_bytes());
        bytes[12..].copy_from_slice(&self.generation.to_le_bytes());
        bytes
    }

    /// Reads an encoding back; `None` where there is no page.
    pub fn decode(bytes: &[u8; PTR]) -> Option<PagePtr> {
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let unit = word(0) & (UNIT_END - 1);
        let units = (word(0) >> 48) as u16;
        let (sum, generation) = (word(8) as u32, (word(8) >> 32) as u32);
        (unit > 0 && units > 0).then_some(PagePtr { unit, units, sum, generation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden() {
        let ptr = PagePtr { unit: 0x0605_0403_0201, units: 0x0807, sum: 9, generation: 10 };
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0, 10, 0, 0, 0];
        assert_eq!(ptr.encode(), bytes);
        assert_eq!(PagePtr::decode(&bytes), Some(ptr));
        assert_eq!((ptr.offset(), ptr.size()), (0x0605_0403_0201 << 12, 0x0807 << 12));
    }

    #[test]
    fn no_page_is_none() {
        assert_eq!(PagePtr::decode(&[0; PTR]), None);
        let no_units = [1, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9];
        assert_eq!(PagePtr::decode(&no_units), None);
    }
}
