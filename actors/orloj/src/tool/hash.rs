//! `orloj hash`.

use std::path::PathBuf;

use clap::Args;
use orloj_kernel::Context;
use serde_json::json;

use super::{Answer, Failure, open, snapshot};

/// Hashes what a database holds.
#[derive(Debug, Args)]
pub struct Hash {
    /// Directory of the database
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// As of this version; the newest otherwise
    #[arg(long, value_name = "N")]
    pub lsn: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Hash {
    /// Hashes.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(&self, cx: Context) -> Result<Answer, Failure> {
        let db = open(cx, &self.dir).await?;
        let at = snapshot(&db, self.lsn)?;
        let content = db.content(&at).await?;
        drop(at);
        db.close().await?;
        Ok(Answer::table(json!({
            "content": content.to_string(),
            "version": content.version.0,
            "keyspaces": content.keyspaces,
            "keys": content.keys,
            "bytes": content.bytes,
        })))
    }
}
