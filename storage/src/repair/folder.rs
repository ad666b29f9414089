//! The folder in which a repair leaves what it replaced.

use orloj_kernel::{Context, DiskErrorKind, OpenMode};

use super::LOST;
use crate::{Error, disk::read_stubbornly};

/// A folder of one repair.
pub(super) struct Folder {
    cx: Context,
    path: String,
}

impl Folder {
    /// Makes the next one.
    pub(super) async fn make(cx: Context, dir: &str) -> Result<Folder, Error> {
        let lost = format!("{dir}/{LOST}");
        cx.create_dir(&lost).await?;
        cx.sync_dir(dir).await?;
        let entries = cx.list(&lost).await?;
        let last = entries.iter().filter_map(|entry| entry.name.parse::<u32>().ok()).max();
        let path = format!("{lost}/{:04}", last.unwrap_or(0) + 1);
        cx.create_dir(&path).await?;
        cx.sync_dir(&lost).await?;
        Ok(Folder { cx, path })
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Copies a small file, if it is there.
    pub(super) async fn copy(&self, from: &str, name: &str) -> Result<(), Error> {
        let file = match self.cx.open(from, OpenMode::Read).await {
            Err(e) if e.kind == DiskErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        let size = file.size().await? as usize;
        let bytes = read_stubbornly(&file, 0, size).await?;
        self.write(name, bytes).await
    }

    pub(super) async fn write(&self, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        let path = format!("{}/{name}", self.path);
        let file = self.cx.open(&path, OpenMode::CreateNew).await?;
        file.write_sync(0, bytes).await?;
        Ok(self.cx.sync_dir(&self.path).await?)
    }

    /// Moves a file there, if it is there to be moved.
    pub(super) async fn take(&self, from: &str) -> Result<(), Error> {
        let name = from.rsplit('/').next().unwrap_or(from);
        match self.cx.rename(from, &format!("{}/{name}.moved", self.path)).await {
            Err(e) if e.kind == DiskErrorKind::NotFound => Ok(()),
            Err(e) => Err(e.into()),
            Ok(()) => Ok(self.cx.sync_dir(&self.path).await?),
        }
    }
}
