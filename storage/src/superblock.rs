//! Superblocks: the root of one checkpoint each, and which of two to believe.
//!
//! The two files take turns, so writing one never endangers the other; in each the block stands
//! twice, so one bad sector costs nothing. `docs/src/engine-format.md` has the layout.

use crc32c::crc32c;

use crate::{
    Lsn,
    encoding::Reader,
    journal::DatabaseId,
    page::{PTR, PagePtr},
};

/// The format of the engine's files this release writes: major, minor.
pub const FORMAT: (u16, u16) = (1, 0);
/// Bytes of a superblock.
pub const SUPERBLOCK: usize = 512;
/// Where its second copy stands in its file.
pub const SECOND_COPY: usize = 4096;

const MAGIC: &[u8; 8] = b"orlojsup";
const SUM: usize = SUPERBLOCK - 4;

/// What a checkpoint says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// The database it belongs to.
    pub database: DatabaseId,
    /// Its number, from 1.
    pub generation: u64,
    /// The state it holds is that of exactly this version.
    pub lsn: Lsn,
    /// The version that the generation before it holds.
    pub previous_lsn: Lsn,
    /// Up to where a replicated log was applied; 0 without one.
    pub applied: u64,
    /// Wall time when the clocks were compared, Unix ms.
    pub wall_base: u64,
    /// Monotonic time at that moment, ns.
    pub mono_base: u64,
    /// No key with a deadline after this (Unix ms) was ever seen as gone.
    pub clock: u64,
    /// Keyspaces and value segments.
    pub catalogue: PagePtr,
    /// Units in use.
    pub space: PagePtr,
    /// Units in `data.pages`.
    pub units: u64,
    /// The newest segment of the value log; 0 if there is none.
    pub value_segment: u32,
    /// Bytes of it that count.
    pub value_end: u64,
}

/// Why a file holds no superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuperblockError {
    /// Neither copy is intact.
    #[error("neither copy of the superblock is intact")]
    Damaged,
    /// A later release wrote it.
    #[error("engine format {major}, this release reads {}", FORMAT.0)]
    Newer {
        /// Its format's major version.
        major: u16,
    },
}

/// One of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `SUPERBLOCK_A`, for odd generations.
    A,
    /// `SUPERBLOCK_B`, for even ones.
    B,
}

impl Side {
    /// Where `generation` goes.
    pub fn of(generation: u64) -> Side {
        if generation.is_multiple_of(2) { Side::B } else { Side::A }
    }

    /// The file's name.
    pub fn file_name(self) -> &'static str {
        match self {
            Side::A => "SUPERBLOCK_A",
            Side::B => "SUPERBLOCK_B",
        }
    }
}

impl Superblock {
    /// The whole file: both copies.
    pub fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(SECOND_COPY + SUPERBLOCK);
        block.extend_from_slice(MAGIC);
        block.extend_from_slice(&FORMAT.0.to_le_bytes());
        block.extend_from_slice(&FORMAT.1.to_le_bytes());
        block.extend_from_slice(&[0; 4]);
        block.extend_from_slice(&self.database.0.to_le_bytes());
        let words = [
            self.generation,
            self.lsn.0,
            self.previous_lsn.0,
            self.applied,
            self.wall_base,
            self.mono_base,
            self.clock,
        ];
        words.iter().for_each(|word| block.extend_from_slice(&word.to_le_bytes()));
        block.extend_from_slice(&self.catalogue.encode());
        block.extend_from_slice(&self.space.encode());
        block.extend_from_slice(&self.units.to_le_bytes());
        block.extend_from_slice(&self.value_segment.to_le_bytes());
        block.extend_from_slice(&[0; 4]);
        block.extend_from_slice(&self.value_end.to_le_bytes());
        block.resize(SUM, 0);
        let sum = crc32c(&block);
        block.extend_from_slice(&sum.to_le_bytes());
        block.resize(SECOND_COPY, 0);
        block.extend_from_within(..SUPERBLOCK);
        block
    }

    /// Reads it from the bytes of its file, from whichever copy is intact.
    ///
    /// # Errors
    /// [`SuperblockError`].
    pub fn decode(file: &[u8]) -> Result<Superblock, SuperblockError> {
        let intact = |at: usize| {
            let copy = file.get(at..at + SUPERBLOCK)?;
            let sum = Reader(&copy[SUM..]).u32();
            (copy.starts_with(MAGIC) && sum == Some(crc32c(&copy[..SUM]))).then_some(copy)
        };
        let copy = intact(0).or_else(|| intact(SECOND_COPY)).ok_or(SuperblockError::Damaged)?;
        let mut from = Reader(&copy[MAGIC.len()..SUM]);
        // Magic, major and checksum stay where they are in every format to come.
        let major = from.u16().ok_or(SuperblockError::Damaged)?;
        if major != FORMAT.0 {
            return Err(SuperblockError::Newer { major });
        }
        Superblock::read(&mut from).ok_or(SuperblockError::Damaged)
    }

    fn read(from: &mut Reader<'_>) -> Option<Superblock> {
        let ptr = |from: &mut Reader<'_>| {
            PagePtr::decode(from.take(PTR)?.try_into().expect("as many as were taken"))
        };
        let (_minor, _zero) = (from.u16()?, from.u32()?);
        let block = Superblock {
            database: DatabaseId(from.u128()?),
            generation: from.u64()?,
            lsn: Lsn(from.u64()?),
            previous_lsn: Lsn(from.u64()?),
            applied: from.u64()?,
            wall_base: from.u64()?,
            mono_base: from.u64()?,
            clock: from.u64()?,
            catalogue: ptr(from)?,
            space: ptr(from)?,
            units: from.u64()?,
            value_segment: from.u32()?,
            value_end: {
                from.u32()?;
                from.u64()?
            },
        };
        (block.generation > 0 && block.previous_lsn <= block.lsn).then_some(block)
    }
}

/// What the two files leave to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The one to open.
    pub newest: Superblock,
    /// The other one, if it is intact: should a page of the newest turn out damaged, this one and
    /// its journal give the same state.
    pub other: Option<Superblock>,
}

/// Chooses between the bytes of the two files, `None` for one that is absent; `None` if there is
/// no superblock of `database`.
///
/// # Errors
/// [`SuperblockError::Newer`] if either is of a later format: this release must not write beside
/// it.
pub fn choose(
    database: DatabaseId,
    a: Option<&[u8]>,
    b: Option<&[u8]>,
) -> Result<Option<Choice>, SuperblockError> {
    let mut blocks = [None, None];
    for (block, (file, side)) in blocks.iter_mut().zip([(a, Side::A), (b, Side::B)]) {
        *block = match file.map(Superblock::decode) {
            Some(Err(newer @ SuperblockError::Newer { .. })) => return Err(newer),
            Some(Ok(read)) if read.database == database && Side::of(read.generation) == side => {
                Some(read)
            }
            _ => None,
        };
    }
    Ok(match blocks {
        [Some(a), Some(b)] if a.generation > b.generation => {
            Some(Choice { newest: a, other: Some(b) })
        }
        [Some(a), Some(b)] => Some(Choice { newest: b, other: Some(a) }),
        [one, None] | [None, one] => one.map(|newest| Choice { newest, other: None }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: DatabaseId = DatabaseId(0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100);

    fn generation(generation: u64) -> Superblock {
        Superblock {
            database: ME,
            generation,
            lsn: Lsn(generation * 10),
            previous_lsn: Lsn(generation * 10 - 10),
            applied: 1,
            wall_base: 2,
            mono_base: 3,
            clock: 4,
            catalogue: PagePtr { unit: 5, units: 6, sum: 7, generation: 8 },
            space: PagePtr { unit: 9, units: 10, sum: 11, generation: 12 },
            units: 13,
            value_segment: 14,
            value_end: 15,
        }
    }

    #[test]
    fn golden() {
        #[rustfmt::skip]
        let golden: &[u8] = &[
            b'o', b'r', b'l', b'o', b'j', b's', b'u', b'p', 1, 0, 0, 0, 0, 0, 0, 0,
            0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
            3, 0, 0, 0, 0, 0, 0, 0, 30, 0, 0, 0, 0, 0, 0, 0,
            20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
            2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0,
            4, 0, 0, 0, 0, 0, 0, 0,
            5, 0, 0, 0, 0, 0, 6, 0, 7, 0, 0, 0, 8, 0, 0, 0,
            9, 0, 0, 0, 0, 0, 10, 0, 11, 0, 0, 0, 12, 0, 0, 0,
            13, 0, 0, 0, 0, 0, 0, 0, 14, 0, 0, 0, 0, 0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 0,
        ];
        let file = generation(3).encode();
        assert_eq!(file.len(), SECOND_COPY + SUPERBLOCK);
        assert_eq!(&file[..golden.len()], golden);
        assert!(file[golden.len()..SUM].iter().all(|b| *b == 0));
        assert_eq!(file[..SUPERBLOCK], file[SECOND_COPY..]);
        assert_eq!(Superblock::decode(&file), Ok(generation(3)));
    }

    #[test]
    fn one_copy_is_enough_and_damage_is_never_read() {
        let file = generation(3).encode();
        for at in 0..SUPERBLOCK {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            assert_eq!(Superblock::decode(&damaged), Ok(generation(3)), "byte {at}");
            damaged[SECOND_COPY + at] ^= 1;
            assert_eq!(Superblock::decode(&damaged), Err(SuperblockError::Damaged), "byte {at}");
        }
        for end in 0..SUPERBLOCK {
            assert_eq!(Superblock::decode(&file[..end]), Err(SuperblockError::Damaged));
        }
    }

    #[test]
    fn the_newest_intact_one_wins() {
        let (a, b) = (generation(5).encode(), generation(4).encode());
        let choice =
            |a: Option<&[u8]>, b: Option<&[u8]>| choose(ME, a, b).expect("no newer format");
        let both = Choice { newest: generation(5), other: Some(generation(4)) };
        assert_eq!(choice(Some(&a), Some(&b)), Some(both));
        let next = generation(6).encode();
        let both = Choice { newest: generation(6), other: Some(generation(5)) };
        assert_eq!(choice(Some(&a), Some(&next)), Some(both));

        let only = Choice { newest: generation(4), other: None };
        assert_eq!(choice(Some(&a[..300]), Some(&b)), Some(only), "A was torn");
        assert_eq!(choice(None, Some(&b)), Some(only));
        assert_eq!(choice(Some(&b), None), None, "an even generation never goes to A");
        assert_eq!(choice(None, None), None);
        assert_eq!(choose(DatabaseId(1), Some(&a), Some(&b)), Ok(None), "another database's");
    }

    #[test]
    fn a_later_format_is_refused_whatever_the_other_file_holds() {
        let mut newer = generation(5).encode();
        newer.truncate(SUPERBLOCK);
        newer[8] = 2;
        let sum = crc32c(&newer[..SUM]);
        newer[SUM..].copy_from_slice(&sum.to_le_bytes());
        let older = generation(4).encode();
        let refused = choose(ME, Some(&newer), Some(&older));
        assert_eq!(refused, Err(SuperblockError::Newer { major: 2 }));
    }
}
