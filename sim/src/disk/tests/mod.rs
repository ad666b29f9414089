//! A disk at hand, and the search through everything it may do.

use orloj_kernel::{DiskErrorKind, OpenMode};

use super::{DiskFaults, FileKey, Luck, SimDisk};
use crate::{
    choice::Choices,
    fault::{FaultClass, Faults},
};

mod bytes;
mod every;
mod faults;
mod names;
mod oracle;

/// Rates at which a power cut may do anything lawful, in an order or in none.
pub(super) const LAWFUL: DiskFaults = DiskFaults {
    lost_write: 500_000,
    lost_name: 500_000,
    lost_rename: 500_000,
    reorder: 500_000,
    ..DiskFaults::NONE
};
/// A rate that always strikes.
pub(super) const ALWAYS: u32 = 1_000_000;

/// A disk with its luck.
pub(super) struct Rig {
    pub(super) disk: SimDisk,
    pub(super) choices: Choices,
    pub(super) faults: Faults,
}

impl Rig {
    pub(super) fn new(seed: u64) -> Rig {
        Rig::with(Choices::from_seed(seed))
    }

    pub(super) fn with(choices: Choices) -> Rig {
        Rig { disk: SimDisk::new(), choices, faults: Faults::default() }
    }

    pub(super) fn luck(&mut self) -> (&mut SimDisk, Luck<'_>) {
        (&mut self.disk, Luck { choices: &mut self.choices, faults: &mut self.faults })
    }

    pub(super) fn open(&mut self, path: &str, mode: OpenMode) -> Result<FileKey, DiskErrorKind> {
        let (disk, mut luck) = self.luck();
        disk.open(path, mode, &mut luck)
    }

    pub(super) fn create(&mut self, path: &str) -> FileKey {
        self.open(path, OpenMode::Create).unwrap()
    }

    pub(super) fn write(
        &mut self,
        file: FileKey,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), DiskErrorKind> {
        let (disk, mut luck) = self.luck();
        disk.write_at(file, offset, bytes, &mut luck)
    }

    pub(super) fn try_read(&mut self, file: FileKey) -> Result<Vec<u8>, DiskErrorKind> {
        let mut buf = vec![0xee; self.disk.size(file)? as usize + 7];
        let (disk, mut luck) = self.luck();
        let n = disk.read_at(file, 0, &mut buf, &mut luck)?;
        assert_eq!(n, buf.len() - 7, "short only at the end of the file");
        buf.truncate(n);
        Ok(buf)
    }

    pub(super) fn read(&mut self, file: FileKey) -> Vec<u8> {
        self.try_read(file).unwrap()
    }

    pub(super) fn sync(&mut self, file: FileKey) -> Result<(), DiskErrorKind> {
        let (disk, mut luck) = self.luck();
        disk.sync(file, &mut luck)
    }

    pub(super) fn sync_dir(&mut self, dir: &str) -> Result<(), DiskErrorKind> {
        let (disk, mut luck) = self.luck();
        disk.sync_dir(dir, &mut luck)
    }

    pub(super) fn create_dir(&mut self, dir: &str) -> Result<(), DiskErrorKind> {
        let (disk, mut luck) = self.luck();
        disk.create_dir(dir, &mut luck)
    }

    pub(super) fn power_cut(&mut self) {
        let (disk, mut luck) = self.luck();
        disk.power_cut(&mut luck);
    }

    /// A power cut that leaves nothing but what is durable.
    pub(super) fn lose_everything(&mut self) {
        let image = self.disk.snapshot();
        self.disk.restore(&image);
    }

    /// What `path` holds, if it exists.
    pub(super) fn contents(&mut self, path: &str) -> Option<Vec<u8>> {
        let file = self.open(path, OpenMode::Read).ok()?;
        let bytes = self.read(file);
        self.disk.close(file);
        Some(bytes)
    }

    /// A file that is there for good and holds `bytes`.
    pub(super) fn durable(&mut self, path: &str, bytes: &[u8]) -> FileKey {
        let file = self.create(path);
        self.write(file, 0, bytes).unwrap();
        self.sync(file).unwrap();
        self.sync_dir("").unwrap();
        file
    }

    pub(super) fn count(&self, class: FaultClass) -> u64 {
        self.faults.injected(class)
    }
}

/// Runs of equal bytes: what can be read of a file by people.
pub(super) fn runs(bytes: &[u8]) -> Vec<(u8, usize)> {
    bytes.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect()
}

/// `n` bytes of `byte`.
pub(super) fn full(byte: u8, n: usize) -> Vec<u8> {
    vec![byte; n]
}
