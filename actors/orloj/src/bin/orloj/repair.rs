//! `orloj repair`: a damaged database opens again, and what is lost is said.

use clap::Args;
use orloj_kernel::Context;
use orloj_storage::{Error, repair};
use serde_json::{Value, json};

use crate::{Answer, FINDINGS, Target, bar, escaped, object, show};

#[derive(Debug, Args)]
pub(crate) struct Repair {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Say what would be lost and moved, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(cx: Context, dir: &str, verb: &Repair) -> Result<Answer, Error> {
    let bar = bar();
    let done = repair::repair(cx, dir, verb.dry_run, &mut |progress| show(&bar, progress)).await;
    bar.finish_and_clear();
    let done = done?;
    let mut text = done.told();
    text += &match (&done.folder, done.needed) {
        (_, false) => "nothing is wrong; nothing was changed\n".to_owned(),
        (None, true) => format!("would lose {} things; nothing was changed\n", done.losses.len()),
        (Some(folder), true) => format!(
            "repaired: generation {} at version {}, records up to {}; {} things are lost; what was \
             replaced is in {folder}\n",
            done.base.0,
            done.base.1,
            done.last,
            done.losses.len(),
        ),
    };
    let findings: Vec<Value> =
        done.report.findings.iter().map(|finding| object(&done.report, finding)).collect();
    let losses: Vec<Value> = done.losses.iter().map(lost).collect();
    let json = json!({
        "needed": done.needed,
        "dry_run": verb.dry_run,
        "findings": findings,
        "losses": losses,
        "generation": done.base.0,
        "version": done.base.1.0,
        "last_record": done.last.0,
        "folder": done.folder,
        "moved": done.moved,
    });
    let status = if done.losses.is_empty() { 0 } else { FINDINGS };
    Ok(Answer { text, json, status })
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
