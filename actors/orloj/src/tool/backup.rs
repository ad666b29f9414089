//! `orloj backup`.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use object_store::{local::LocalFileSystem, path::Path};
use orloj_kernel::Context;
use orloj_storage::backup::{Directory, How, Target};
use serde_json::json;

use super::{Answer, Failure, bar, open, show};
use crate::store::Store;

/// Copies a database that no process has open.
#[derive(Debug, Args)]
pub struct Backup {
    /// Directory of the database
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Where to: a directory, or a URL (file:///...)
    #[arg(value_name = "TARGET")]
    pub target: String,
    /// Copy everything, though going on with the last backup would do
    #[arg(long)]
    pub full: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Backup {
    /// Copies.
    ///
    /// # Errors
    /// [`Failure`]; what was complete in the target still is.
    pub async fn run(&self, cx: Context) -> Result<Answer, Failure> {
        let target = target(cx, &self.target).await?;
        let db = open(cx, &self.dir).await?;
        let how = if self.full { How::Full } else { How::Continue };
        let bar = bar();
        let done = db.backup(target, how, &mut |progress| show(&bar, progress)).await;
        bar.finish_and_clear();
        let backup = done?;
        let inventory = backup.inventory();
        let (pages, values, journal) = inventory.bytes();
        let json = json!({
            "number": inventory.number,
            "full": backup.is_full(),
            "database": inventory.database().to_string(),
            "base_version": inventory.superblock.lsn.0,
            "from_version": inventory.from.version.0,
            "from_time": inventory.from.time,
            "to_version": inventory.to.version.0,
            "to_time": inventory.to.time,
            "objects": inventory.objects.len(),
            "page_bytes": pages,
            "value_bytes": values,
            "journal_bytes": journal,
        });
        drop(backup);
        db.close().await?;
        Ok(Answer::table(json))
    }
}

/// The target that a text names.
pub(super) async fn target(cx: Context, named: &str) -> Result<Arc<dyn Target>, Failure> {
    let Some((scheme, rest)) = named.split_once("://") else {
        return Ok(Arc::new(Directory::new(cx, named)));
    };
    if scheme != "file" || !rest.starts_with('/') {
        let said = format!("{named}: this program knows directories and file:///... as targets");
        return Err(Failure::Usage(said));
    }
    cx.create_dir(rest).await?;
    let store = LocalFileSystem::new_with_prefix(rest);
    let store = store.map_err(|e| Failure::Usage(e.to_string()))?.with_fsync(true);
    Ok(Arc::new(Store::new(Arc::new(store), Path::default())))
}
