//! Superblocks: the root of one checkpoint each, and which of two to believe.
//!
//! The two files take turns, so writing one never endangers the other; in each the block stands
//! twice, so one bad sector costs nothing. `docs/src/engine-format.md` has the layout.

mod files;

pub use files::{FlipError, read, write};

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

/// What the two files hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The one to open; `None` before the first checkpoint, or if both are damaged.
    pub newest: Option<Superblock>,
    /// The other one, if it is intact: should a page of the newest turn out damaged, this one and
    /// its journal give the same state.
    pub other: Option<Superblock>,
    /// The files that are there and hold no superblock of this database, or one that belongs
    /// elsewhere. A power cut during a checkpoint leaves one at most.
    pub damaged: Vec<Side>,
}

/// Chooses between what the two files hold, `None` for one that is absent.
///
/// # Errors
/// [`SuperblockError::Newer`] if either is of a later format: this release must not write beside
/// it.
pub fn choose(
    database: DatabaseId,
    a: Option<Result<Superblock, SuperblockError>>,
    b: Option<Result<Superblock, SuperblockError>>,
) -> Result<Found, SuperblockError> {
    let mut found = Found::default();
    for (file, side) in [(a, Side::A), (b, Side::B)] {
        match file {
            None => {}
            Some(Err(newer @ SuperblockError::Newer { .. })) => return Err(newer),
            Some(Ok(block)) if block.database == database && Side::of(block.generation) == side => {
                let newer = found.newest.is_none_or(|other| other.generation < block.generation);
                let older = if newer { found.newest.replace(block) } else { Some(block) };
                found.other = older;
            }
            Some(_) => found.damaged.push(side),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
