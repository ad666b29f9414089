//! `orloj restore`.

use std::path::PathBuf;

use clap::Args;
use orloj_kernel::Context;
use orloj_storage::{
    Lsn,
    backup::{Point, restore},
};
use serde_json::json;

use super::{Answer, Failure, backup::target, bar, options, show};

/// Makes a database of a backup, as of a version or a time.
#[derive(Debug, Args)]
pub struct Restore {
    /// Where the backup lies: a directory, or a URL (file:///...)
    #[arg(value_name = "TARGET")]
    pub target: String,
    /// Directory of the database to be made; empty
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// The version to be reached; the newest if neither this nor a time is given
    #[arg(long, value_name = "N", conflicts_with = "time")]
    pub lsn: Option<u64>,
    /// The time to be reached, in ms since 1970 by the clock of the database: the newest version
    /// known to be no later
    #[arg(long, value_name = "MS")]
    pub time: Option<u64>,
    /// Read and judge all that is needed, say what would be reached, and make nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Restore {
    /// Restores.
    ///
    /// # Errors
    /// [`Failure`]; there is no database in the directory then, and the same can be tried again.
    pub async fn run(&self, cx: Context) -> Result<Answer, Failure> {
        let target = target(cx, &self.target).await?;
        let to = match (self.lsn, self.time) {
            (Some(at), _) => Point::Version(Lsn(at)),
            (None, Some(at)) => Point::Time(at),
            (None, None) => Point::Newest,
        };
        let bar = bar();
        let options = options(&self.dir);
        let shown = &mut |progress| show(&bar, progress);
        let done = restore(cx, &*target, &options, to, self.dry_run, shown).await;
        bar.finish_and_clear();
        let done = done?;
        Ok(Answer::table(json!({
            "backup": done.number,
            "origin": done.origin.to_string(),
            "database": done.database.map(|id| id.to_string()),
            "base_version": done.base.0,
            "version": done.reached.version.0,
            "time": done.reached.time,
            "journal_records": done.records,
            "bytes_read": done.bytes,
        })))
    }
}
