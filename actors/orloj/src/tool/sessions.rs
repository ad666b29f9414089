//! `orloj sessions` and `orloj recovery`.

use clap::Args;
use orloj_kernel::Context;
use orloj_net::envelope::{PAGE_MAX, Question};
use serde_json::{Value, json};

use super::{
    Answer, Failure,
    columns::{columns, moment},
    remote::{Remote, To},
};

/// Lists the sessions of a running daemon.
#[derive(Debug, Args)]
pub struct Sessions {
    /// Which daemon
    #[command(flatten)]
    pub to: To,
}

/// Shows what a running daemon's last recovery found and did.
#[derive(Debug, Args)]
pub struct Recovery {
    /// Which daemon
    #[command(flatten)]
    pub to: To,
}

impl Sessions {
    /// Asks for them, page by page.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(&self, cx: Context) -> Result<Answer, Failure> {
        let remote = Remote::new(cx, &self.to);
        let mut all: Vec<Value> = Vec::new();
        loop {
            let after = all.last().and_then(|last| last["name"].as_str()).map(Into::into);
            let question = Question::Sessions { after, limit: PAGE_MAX };
            let mut page = remote.question(question).await?;
            let Value::Array(sessions) = page["sessions"].take() else { break };
            let is_last = sessions.is_empty() || page["truncated"] != true;
            all.extend(sessions);
            if is_last {
                break;
            }
        }
        let rows = all.iter().map(|session| {
            [
                session["name"].as_str().unwrap_or_default().escape_debug().to_string(),
                session["version"].to_string(),
                session["lane_sequence"].to_string(),
                moment(&session["created"]),
            ]
        });
        let text = columns(["SESSION", "VERSION", "STEPS", "CREATED"], rows);
        Ok(Answer { text: text.into_bytes(), json: json!({ "sessions": all }), status: 0 })
    }
}

impl Recovery {
    /// Asks for it.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(&self, cx: Context) -> Result<Answer, Failure> {
        let summary = Remote::new(cx, &self.to).question(Question::RecoverySummary).await?;
        let mut lines = summary.clone();
        let list = |name: &str| summary[name].as_array().map_or(&[][..], Vec::as_slice);
        lines["rerun"] = list("rerun").len().into();
        lines["failed"] = list("failed").len().into();
        let mut text = super::table(&lines);
        for id in list("rerun") {
            text += &format!("run again: {}\n", id.as_str().unwrap_or_default().escape_debug());
        }
        for failed in list("failed") {
            let word = |name: &str| failed[name].as_str().unwrap_or_default().escape_debug();
            text += &format!("failed: {}: {}\n", word("id"), word("reason"));
        }
        Ok(Answer { text: text.into_bytes(), json: summary, status: 0 })
    }
}
