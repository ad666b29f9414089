//! `orloj import`.

use std::path::PathBuf;

use clap::Args;
use orloj_kernel::Context;
use orloj_storage::{Database, export::Judged};
use serde_json::json;

use super::{Answer, Failure, bar, options, text};

/// Makes a database of an export.
#[derive(Debug, Args)]
pub struct Import {
    /// The file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Directory of the database to be made; empty
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Import {
    /// Imports.
    ///
    /// # Errors
    /// [`Failure`]; there is no database in the directory then, and the same can be tried again.
    pub async fn run(&self, cx: Context) -> Result<Answer, Failure> {
        let file = text(&self.file);
        let bar = bar();
        bar.set_message("import");
        let shown = &mut |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        };
        // Before a database is made that nothing can be read into.
        let judged = Judged::read(cx, &file, shown).await;
        let judged = judged.inspect_err(|_| bar.finish_and_clear())?;
        let db = Database::make(cx, options(&self.dir)).await?;
        let done = judged.import(&db, shown).await;
        bar.finish_and_clear();
        let done = done?;
        db.publish().await?;
        db.close().await?;
        Ok(Answer::table(json!({
            "content": done.content.to_string(),
            "version": done.content.version.0,
            "keyspaces": done.keyspaces,
            "keys": done.content.keys,
        })))
    }
}
