//! `orloj history` and `orloj tail`.

use std::io::Write;

use clap::Args;
use orloj_kernel::Context;
use orloj_net::{
    Events, UnixMs,
    envelope::{Filter, PAGE_MAX, Question},
    json::{self, milliseconds},
};
use serde_json::{Value, json};

use super::{
    Answer, Failure,
    columns::{columns, moment, span},
    remote::{Remote, To},
};

/// Lists commands that have been, newest first.
#[derive(Debug, Args)]
pub struct History {
    /// Only those of this session
    #[arg(long, value_name = "NAME")]
    pub session: Option<String>,
    /// Only those without a session
    #[arg(long, conflicts_with = "session")]
    pub server: bool,
    /// Only that with this id
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Only those that ended so: ok, failed, timed_out, cancelled; or in_flight
    #[arg(long, value_name = "OUTCOME")]
    pub outcome: Option<String>,
    /// Only those accepted so long ago at most, as 90s, 10m, 2h, 7d; or since, in Unix milliseconds
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// So many at most
    #[arg(long, value_name = "N", default_value = "50")]
    pub limit: u32,
    /// Go on where a list has ended
    #[arg(long, value_name = "CURSOR")]
    pub cursor: Option<u64>,
    /// Which daemon
    #[command(flatten)]
    pub to: To,
}

/// Prints what happens to commands as it happens.
#[derive(Debug, Args)]
pub struct Tail {
    /// Only to those of this session
    #[arg(long, value_name = "NAME")]
    pub session: Option<String>,
    /// Stop after so many steps
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Which daemon
    #[command(flatten)]
    pub to: To,
}

impl History {
    /// Asks for them, page by page.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(&self, cx: Context) -> Result<Answer, Failure> {
        let remote = Remote::new(cx, &self.to);
        let from = self.from(&remote).await?;
        let (mut all, mut cursor, mut truncated): (Vec<Value>, _, _) =
            (Vec::new(), self.cursor, false);
        while (all.len() as u32) < self.limit {
            let filter = Filter {
                session: self.session.as_deref().map(Into::into),
                server_only: self.server,
                id: self.id.as_deref().map(Into::into),
                from,
                to: None,
                outcome: self.outcome.clone(),
                limit: (self.limit - all.len() as u32).min(PAGE_MAX),
                cursor,
            };
            let mut page = remote.question(Question::History(filter)).await?;
            if let Value::Array(commands) = page["commands"].take() {
                all.extend(commands);
            }
            cursor = page["cursor"].as_u64();
            truncated = page["truncated"] == true;
            if !truncated || cursor.is_none() {
                break;
            }
        }
        let rows = all.iter().map(|command| {
            let took = match (command["accepted"].as_u64(), command["finished"].as_u64()) {
                (Some(from), Some(to)) => span(to.saturating_sub(from)),
                _ => "-".to_owned(),
            };
            let [lane, id, kind, outcome] = words(command);
            [moment(&command["accepted"]), lane, id, kind, outcome, took]
        });
        let mut text = columns(["ACCEPTED", "LANE", "ID", "TYPE", "OUTCOME", "TOOK"], rows);
        let cursor = cursor.filter(|_| truncated);
        if let Some(cursor) = cursor {
            text += &format!("there are more: --cursor {cursor}\n");
        }
        let json = json!({ "commands": all, "truncated": truncated, "cursor": cursor });
        Ok(Answer { text: text.into_bytes(), json, status: 0 })
    }

    /// Since when, by the daemon's clock.
    async fn from(&self, remote: &Remote) -> Result<Option<UnixMs>, Failure> {
        let Some(since) = &self.since else { return Ok(None) };
        if let Ok(at) = since.parse() {
            return Ok(Some(UnixMs(at)));
        }
        let Some(ago) = milliseconds(since) else {
            let said = format!("--since {since:?}: give 90s, 10m, 2h, 7d, or Unix milliseconds");
            return Err(Failure::Usage(said));
        };
        let health = remote.question(Question::Health).await?;
        let now = health["now"].as_u64().unwrap_or_default();
        Ok(Some(UnixMs(now.saturating_sub(ago))))
    }
}

impl Tail {
    /// Prints steps until it has had enough, or the daemon ends.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(&self, cx: Context, out: &mut (dyn Write + Send)) -> Result<Answer, Failure> {
        let remote = Remote::new(cx, &self.to);
        let session = self.session.as_deref().map(Into::into);
        let mut events = remote.subscribe(session).await?;
        let _ = writeln!(std::io::stderr(), "following; nothing that was before is shown");
        let mut count = 0;
        while self.count.is_none_or(|most| count < most) {
            let event = match events.next().await {
                Ok(event) => json::event(None, &event),
                Err(failure) if failure.detail("reason") == Some("gap") => {
                    let _ = writeln!(std::io::stderr(), "{}", failure.message);
                    continue;
                }
                Err(failure) => return Err(remote.failure(&failure)),
            };
            let line = match self.to.json {
                true => event.to_string(),
                false => step(&event),
            };
            // Whoever asked may not care to read on.
            if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                break;
            }
            count += 1;
        }
        Ok(Answer { text: Vec::new(), json: Value::Null, status: 0 })
    }
}

/// One step in columns.
fn step(event: &Value) -> String {
    let [lane, id, kind, outcome] = words(event);
    let name = event["event"].as_str().unwrap_or_default();
    let name = name.strip_prefix("command_").unwrap_or(name);
    let outcome = if name == "finished" { outcome } else { String::new() };
    let (at, number) = (moment(&event["at"]), event["lane_sequence"].to_string());
    let line = format!("{at}  {lane:24}  {number:>6}  {name:8}  {kind:14}  {id:24}  {outcome}");
    line.trim_end().to_owned()
}

/// Lane, id, type and outcome of a command or of an event. An error shows its code.
fn words(of: &Value) -> [String; 4] {
    let word = |name: &str| of[name].as_str().unwrap_or_default().escape_debug().to_string();
    let mut outcome = word("outcome");
    if let Some(code) = of["error"]["code"].as_str() {
        outcome += &format!(" {code}");
    }
    if of["replayed"] == true {
        outcome += " replayed";
    }
    if let Some(version) = of["session_version"].as_u64() {
        outcome += &format!(" v{version}");
    }
    [word("lane"), word("id"), word("type"), outcome]
}
