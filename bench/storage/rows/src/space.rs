//! What a database takes on disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Result;

use crate::data::ENTRY_LEN;

/// Bytes allocated on disk for each byte of the `keys` entries in `dir`. Holes take nothing, and
/// what is allocated but not used counts.
pub(crate) fn amplification(dir: &Path, keys: u64) -> Result<f64> {
    Ok(allocated(dir)? as f64 / (keys * ENTRY_LEN) as f64)
}

fn allocated(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() {
            allocated(&entry.path())?
        } else {
            // Linux counts in units of 512 bytes, whatever the file system's are.
            metadata.blocks() * 512
        };
    }
    Ok(bytes)
}
