//! Export and import: what a database holds at one version, in one file that any later release, and
//! any other program, can read. `docs/src/engine-format.md` has the format.
//!
//! It has keyspaces with what they keep, and of every key the newest value and deadline; no older
//! versions, and no versions at all: an imported database counts its own.

mod format;
mod import;
mod write;

pub use format::{ExportFault, Header, Line, Reading, Totals};
pub use import::{Imported, Judged};
pub use write::{Exported, export};

use crate::Error;

/// Why nothing was exported or imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// The database, or the disk.
    #[error(transparent)]
    Engine(#[from] Error),
    /// The file is damaged, cut short, or none.
    #[error("{file}: byte {offset}: {what}")]
    File {
        /// The file.
        file: String,
        /// The first byte that cannot be believed.
        offset: u64,
        /// How.
        what: ExportFault,
    },
    /// An export does not replace a file.
    #[error("{file}: exists already")]
    Exists {
        /// The file.
        file: String,
    },
    /// What was imported is not what was exported.
    #[error("{file}: the imported database holds something else than the file says")]
    Differs {
        /// The file.
        file: String,
    },
}

impl From<orloj_kernel::DiskError> for ExportError {
    fn from(e: orloj_kernel::DiskError) -> ExportError {
        ExportError::Engine(e.into())
    }
}

impl ExportError {
    /// Decides who must act. Total on purpose: a new variant does not compile until it is judged.
    pub fn verdict(&self) -> crate::Verdict {
        match self {
            ExportError::Engine(error) => error.verdict(),
            ExportError::Exists { .. } => crate::Verdict::Reject,
            ExportError::File { .. } | ExportError::Differs { .. } => crate::Verdict::Repair,
        }
    }
}

#[cfg(test)]
mod tests;
