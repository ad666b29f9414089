//! Where backups lie: named objects, put and got as a whole.

use orloj_kernel::{Context, DiskErrorKind, Io, OpenMode};

use crate::disk::{read_stubbornly, remove_if_there};

/// A place of named objects. Names are of letters, digits and hyphens.
pub trait Target: Send + Sync {
    /// Puts an object, in the place of one of that name. It is there as a whole, and for good, on
    /// return; and on failure the old one is, or none, or it.
    fn put<'a>(&'a self, name: &'a str, bytes: Vec<u8>) -> Io<'a, Result<(), TargetError>>;
    /// The bytes of an object; `None` if there is none of that name.
    fn get<'a>(&'a self, name: &'a str) -> Io<'a, Result<Option<Vec<u8>>, TargetError>>;
    /// The names of all objects, in any order. What is no object of ours may be among them.
    fn list(&self) -> Io<'_, Result<Vec<String>, TargetError>>;
}

/// A target did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("backup target: {op} {name}: {cause}")]
pub struct TargetError {
    /// `put`, `get` or `list`.
    pub op: &'static str,
    /// The object, or the place.
    pub name: String,
    /// What it said.
    pub cause: String,
}

/// A directory of the disk as a target, each object a file.
#[derive(Debug)]
pub struct Directory {
    cx: Context,
    dir: String,
}

impl Directory {
    /// The target in `dir`, which is made by the first object that is put.
    pub fn new(cx: Context, dir: impl Into<String>) -> Directory {
        Directory { cx, dir: dir.into() }
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.dir)
    }
}

impl Target for Directory {
    fn put<'a>(&'a self, name: &'a str, bytes: Vec<u8>) -> Io<'a, Result<(), TargetError>> {
        Box::pin(async move {
            let (cx, path) = (self.cx, self.path(name));
            let new = format!("{path}.new");
            let done = async {
                cx.create_dir(&self.dir).await?;
                remove_if_there(cx, &new).await?;
                let file = cx.open(&new, OpenMode::CreateNew).await?;
                file.write_sync(0, bytes).await?;
                cx.rename(&new, &path).await?;
                cx.sync_dir(&self.dir).await?;
                cx.sync_dir(crate::recover::parent(&self.dir)).await
            };
            done.await.map_err(|e| TargetError { op: "put", name: path, cause: e.to_string() })
        })
    }

    fn get<'a>(&'a self, name: &'a str) -> Io<'a, Result<Option<Vec<u8>>, TargetError>> {
        Box::pin(async move {
            let path = self.path(name);
            let done = async {
                let file = match self.cx.open(&path, OpenMode::Read).await {
                    Err(e) if e.kind == DiskErrorKind::NotFound => return Ok(None),
                    opened => opened?,
                };
                let size = file.size().await?;
                read_stubbornly(&file, 0, size as usize).await.map(Some)
            };
            let failed = |e: orloj_kernel::DiskError| e.to_string();
            let done = done.await.map_err(failed);
            done.map_err(|cause| TargetError { op: "get", name: path, cause })
        })
    }

    fn list(&self) -> Io<'_, Result<Vec<String>, TargetError>> {
        Box::pin(async move {
            match self.cx.list(&self.dir).await {
                Ok(entries) => {
                    let files = entries.into_iter().filter(|entry| !entry.is_dir);
                    Ok(files.map(|entry| entry.name).collect())
                }
                Err(e) if e.kind == DiskErrorKind::NotFound => Ok(Vec::new()),
                Err(e) => {
                    Err(TargetError { op: "list", name: self.dir.clone(), cause: e.to_string() })
                }
            }
        })
    }
}
