//! Backups: a generation and the journal behind it, copied while writers go on, and databases made
//! of them.
//!
//! A backup lies in a [`Target`]: named objects that are put and got as a whole. An [`Inventory`]
//! is put last and says what belongs to it and what each of that must be, so that what is not
//! listed does not count and what is listed is believed only if it is all there. The first backup
//! in a target copies a *base*, every page and value of one generation; those after it go on with
//! the journal where the one before ended, for as long as the database still has it.
//!
//! Whoever wants more than a copy now and then keeps the [`Backup`]: the journal behind it stays
//! until [`Backup::advance`] has copied it.
//!
//! [`restore`] makes a database of any version between the base and the end. Pages keep their
//! places and what is in them; their checksums and references are made anew, for the new database
//! has an identity of its own: no file of one is ever taken for one of the other, whatever became
//! of both since. `docs/src/backup.md` is for those who run it.

mod error;
mod inventory;
mod pages;
mod pieces;
mod place;
mod restore;
mod take;
mod target;

pub use error::{BackupError, Flaw};
pub use inventory::{Inventory, Moment, Object, Part};
pub use restore::{Point, Restored, restore};
pub use take::{Backup, How};
pub use target::{Directory, Target, TargetError};

/// Bytes of an object, roughly: what is in memory of a copy at any time.
const PART: usize = if cfg!(test) { 24 << 10 } else { 8 << 20 };

#[cfg(test)]
mod tests;
