//! `orloj checkpoint`.

use std::path::PathBuf;

use clap::Args;
use orloj_kernel::Context;
use serde_json::json;

use super::{Answer, Failure, open};

/// Writes a checkpoint, after which the directory is a valid copy when its files are copied.
#[derive(Debug, Args)]
pub struct Checkpoint {
    /// Directory of the database
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Checkpoint {
    /// Writes it.
    ///
    /// # Errors
    /// [`Failure`]; the database is what it was.
    pub async fn run(&self, cx: Context) -> Result<Answer, Failure> {
        let db = open(cx, &self.dir).await?;
        let done = db.checkpoint().await?.expect("a database in a directory has files");
        db.close().await?;
        Ok(Answer::table(json!({
            "generation": done.generation,
            "version": done.lsn.0,
            "page_bytes": done.page_bytes,
        })))
    }
}
