//! `orloj migrate`.

use std::path::PathBuf;

use clap::Args;
use orloj_db::{NodeConfig, migrate};
use orloj_kernel::Context;
use serde_json::json;

use super::{Answer, Failure, bar, show, text};

/// Makes a database of a directory of release 0.0, from before the storage engine.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orloj migrate ./db ./db-new         then: orlojd --data ./db-new
  orloj migrate ./db ./db-new --json  the same, and one JSON object that says what was brought over

OLD is only read, and can be served by its own release as before. It must not be open, and what it
holds must fit into memory, as it had to while it was served. Until NEW is whole no node takes it
for a database; after a crash the same command begins anew.")]
pub struct Migrate {
    /// Data directory of a node of release 0.0, which holds `wal` and no `MANIFEST`
    #[arg(value_name = "OLD")]
    pub old: PathBuf,
    /// Directory of the database to be made; empty
    #[arg(value_name = "NEW")]
    pub new: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Migrate {
    /// Migrates.
    ///
    /// # Errors
    /// [`Failure`]; there is no database in the new directory then, and the same can be tried
    /// again.
    pub async fn run(&self, cx: Context) -> Result<Answer, Failure> {
        let bar = bar();
        // What a node is told of addresses means nothing here.
        let new = NodeConfig::new(text(&self.new), "");
        let shown = &mut |progress| show(&bar, progress);
        let done = migrate(cx, &text(&self.old), &new, shown).await;
        bar.finish_and_clear();
        let done = done?;
        Ok(Answer::table(json!({
            "keys": done.keys,
            "keys_with_deadline": done.expiring,
            "keys_expired": done.dead,
            "journal_segments": done.journal.segments,
            "journal_records": done.journal.records,
            "journal_cut_bytes": done.journal.cut.map_or(0, |cut| cut.bytes),
            "time": done.clock,
        })))
    }
}
