//! `orloj compact`: a database that no process has open gives back what it does not need.

use std::{path::PathBuf, pin::pin, time::Duration};

use clap::Args;
use indicatif::ProgressBar;
use orloj_kernel::Context;
use orloj_storage::compact::{Bytes, Compaction, Progress, Stage};
use serde_json::{Value, json};

use super::{Answer, Failure, bar, open};

/// Gives back what the database does not need.
#[derive(Debug, Args)]
pub struct Compact {
    /// Directory of the database
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Cut the journal only
    #[arg(long)]
    pub wal_only: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// How often the bar moves.
const TICK: Duration = Duration::from_millis(100);

impl Compact {
    /// Does it, and says how much came back.
    ///
    /// # Errors
    /// [`Failure`]; what was given back until then stays so.
    pub async fn run(&self, cx: Context) -> Result<Answer, Failure> {
        let db = open(cx, &self.dir).await?;
        let what = if self.wal_only { Compaction::WalOnly } else { Compaction::Full };
        let bar = bar();
        let done = {
            let mut work = pin!(db.compact(what));
            loop {
                match cx.timeout(TICK, work.as_mut()).await {
                    Ok(done) => break done,
                    Err(_) => show(&bar, db.compaction()),
                }
            }
        };
        bar.finish_and_clear();
        let closed = db.close().await;
        let done = done?.unwrap_or_default();
        closed?;
        let (before, after) = (done.before, done.after);
        let text = format!(
            "{} bytes of {} reclaimed: pages {} to {}, values {} to {}, journal {} to {}; \
             {} versions, {} leaves, {} value segments, {} journal segments; version {}\n",
            before.total().saturating_sub(after.total()),
            before.total(),
            before.pages,
            after.pages,
            before.values,
            after.values,
            before.journal,
            after.journal,
            done.versions,
            done.leaves,
            done.value_segments,
            done.journal_segments,
            done.lsn,
        );
        let json = json!({
            "before": bytes(before),
            "after": bytes(after),
            "versions": done.versions,
            "leaves": done.leaves,
            "value_segments": done.value_segments,
            "values_moved": done.values_moved,
            "journal_segments": done.journal_segments,
            "checkpoints": done.checkpoints,
            "version": done.lsn.0,
        });
        Ok(Answer { text: text.into_bytes(), json, status: 0 })
    }
}

fn bytes(bytes: Bytes) -> Value {
    json!({ "pages": bytes.pages, "values": bytes.values, "journal": bytes.journal })
}

fn show(bar: &ProgressBar, progress: Option<Progress>) {
    let Some(progress) = progress else { return };
    bar.set_message(match progress.stage {
        Stage::Repacking => "repacking",
        Stage::Values => "values",
        Stage::Moving => "moving",
        Stage::Journal => "journal",
    });
    bar.set_length(progress.total);
    bar.set_position(progress.done);
}
