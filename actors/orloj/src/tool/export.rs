//! `orloj export`.

use std::path::PathBuf;

use clap::Args;
use orloj_kernel::Context;
use orloj_storage::export::export;
use serde_json::json;

use super::{Answer, Failure, bar, open, snapshot, text};

/// Writes what a database holds to one portable file.
#[derive(Debug, Args)]
pub struct Export {
    /// Directory of the database
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// The file; not there yet
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// As of this version; the newest otherwise
    #[arg(long, value_name = "N")]
    pub lsn: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Export {
    /// Exports.
    ///
    /// # Errors
    /// [`Failure`]; there is no such file then.
    pub async fn run(&self, cx: Context) -> Result<Answer, Failure> {
        let db = open(cx, &self.dir).await?;
        let at = snapshot(&db, self.lsn)?;
        let bar = bar();
        bar.set_message("export");
        let shown = &mut |bytes| {
            bar.set_length(bytes);
            bar.set_position(bytes);
        };
        let done = export(&db, &at, &text(&self.file), shown).await;
        bar.finish_and_clear();
        let done = done?;
        drop(at);
        db.close().await?;
        Ok(Answer::table(json!({
            "content": done.content.to_string(),
            "version": done.content.version.0,
            "keyspaces": done.keyspaces,
            "keys": done.content.keys,
            "file_bytes": done.bytes,
        })))
    }
}
