//! `orloj repair`: a damaged database opens again, and what is lost is said.

use std::path::PathBuf;

use clap::Args;
use orloj_kernel::Context;
use orloj_storage::repair;
use serde_json::{Value, json};

use super::{Answer, FOUND_WRONG, Failure, bar, escaped, finding, show, text};

/// Makes a damaged database open again.
#[derive(Debug, Args)]
pub struct Repair {
    /// Directory of the database
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Say what would be lost and moved, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Repair {
    /// Does it, and says what is lost.
    ///
    /// # Errors
    /// [`Failure`]; the directory is what it was, or a repair can be begun again.
    pub async fn run(&self, cx: Context) -> Result<Answer, Failure> {
        let dir = text(&self.dir);
        let bar = bar();
        let done =
            repair::repair(cx, &dir, self.dry_run, &mut |progress| show(&bar, progress)).await;
        bar.finish_and_clear();
        let done = done?;
        let mut told = done.told();
        told += &match (&done.folder, done.needed) {
            (_, false) => "nothing is wrong; nothing was changed\n".to_owned(),
            (None, true) => {
                format!("would lose {} things; nothing was changed\n", done.losses.len())
            }
            (Some(folder), true) => format!(
                "repaired: generation {} at version {}, records up to {}; {} things are lost; \
                 what was replaced is in {folder}\n",
                done.base.0,
                done.base.1,
                done.last,
                done.losses.len(),
            ),
        };
        let findings: Vec<Value> =
            done.report.findings.iter().map(|f| finding::object(&done.report, f)).collect();
        let losses: Vec<Value> = done.losses.iter().map(lost).collect();
        let json = json!({
            "needed": done.needed,
            "dry_run": self.dry_run,
            "findings": findings,
            "losses": losses,
            "generation": done.base.0,
            "version": done.base.1.0,
            "last_record": done.last.0,
            "folder": done.folder,
            "moved": done.moved,
        });
        let status = if done.losses.is_empty() { 0 } else { FOUND_WRONG };
        Ok(Answer { text: told.into_bytes(), json, status })
    }
}

fn lost(loss: &repair::Loss) -> Value {
    match loss {
        repair::Loss::Keys { keyspace, from, to } => {
            let to = to.as_deref().map(escaped);
            json!({ "what": "keys", "keyspace": keyspace.0, "from": escaped(from), "to": to })
        }
        repair::Loss::Value { keyspace, key, version } => json!({
            "what": "value", "keyspace": keyspace.0, "key": escaped(key), "version": version.0,
        }),
        repair::Loss::Records { from, to } => {
            json!({ "what": "records", "from": from.0, "to": to.map(|to| to.0) })
        }
        repair::Loss::Settings => json!({ "what": "settings" }),
        repair::Loss::Superblocks => json!({ "what": "superblocks" }),
    }
}
