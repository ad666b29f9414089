//! `orloj replay` and `orloj export-history`.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use orloj_db::{BundleReader, Source, Span, Survey, Until, export, replay};
use orloj_kernel::{Context, DiskErrorKind, OpenMode};
use orloj_net::{UnixMs, envelope::redaction::Redaction};
use orloj_storage::{Lsn, verify::Offline};
use serde_json::json;

use super::{Answer, FOUND_WRONG, Failure, text};

/// Bytes that are read or written at once.
const RUN: usize = 1 << 20;

/// Carries out the commands of a journal again, and says where something else comes of it.
#[derive(Debug, Args)]
pub struct Replay {
    /// Directory of the database or of a copy, or the file of an exported history
    #[arg(value_name = "DIR|FILE")]
    pub from: PathBuf,
    /// The last version that is done; all there are otherwise
    #[arg(long, value_name = "N")]
    pub to_lsn: Option<u64>,
    /// Do nothing that was committed after this time, in ms since 1970
    #[arg(long, value_name = "MS")]
    pub to_time: Option<u64>,
    /// Count and judge commands of this session alone
    #[arg(long, value_name = "NAME")]
    pub session: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Where a past comes from: a directory that no process has open, or a file.
async fn source(cx: Context, from: &Path) -> Result<Source, Failure> {
    let path = text(from);
    if cx.list(&path).await.is_ok() {
        let offline = Offline::open(cx, &path).await?;
        return Ok(Source::Database(Box::new(offline.past().await?)));
    }
    let file = cx.open(&path, OpenMode::Read).await?;
    let len = file.size().await?;
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < len {
        let some = file.read_at(bytes.len() as u64, RUN).await?;
        if some.is_empty() {
            break;
        }
        bytes.extend_from_slice(&some);
    }
    Ok(Source::Bundle(BundleReader::new(bytes)?))
}

impl Replay {
    /// Replays.
    ///
    /// # Errors
    /// [`Failure`]. That something else comes of it is an answer.
    pub async fn run(&self, cx: Context) -> Result<Answer, Failure> {
        let mut source = source(cx, &self.from).await?;
        let until = Until {
            lsn: self.to_lsn.map(Lsn),
            time: self.to_time.map(UnixMs),
            session: self.session.as_deref().map(Into::into),
        };
        let template = "{msg:8} {bar:40} {pos}/{len} {per_sec} {eta}";
        let style = ProgressStyle::with_template(template).expect("the template is right");
        let bar = ProgressBar::new(0).with_style(style).with_message("replay");
        let shown = &mut |done: Lsn, end: Lsn| {
            bar.set_length(end.0);
            bar.set_position(done.0);
        };
        let done = replay(&cx, &mut source, &until, shown).await;
        bar.finish_and_clear();
        let done = done?;
        let first = done.divergence.as_ref();
        let mut answer = Answer::table(json!({
            "content": done.content.to_string(),
            "keys": done.content.keys,
            "base_version": done.base.0,
            "version": done.lsn.0,
            "time": done.time.0,
            "records": done.records,
            "enveloped_records": done.enveloped,
            "commands": done.commands,
            "steps": done.steps,
            "taken_as_recorded": done.taken,
            "withheld": done.withheld,
            "divergences": done.divergences,
            "first_divergence": first.map(ToString::to_string),
        }));
        if let Some(first) = first {
            answer.status = FOUND_WRONG;
            answer.json["first_divergence"] = json!({
                "version": first.lsn.0,
                "row": first.row,
                "id": first.id.as_deref(),
                "command": first.command,
                "recorded": first.expected,
                "computed": first.got,
            });
        }
        Ok(answer)
    }
}

/// Writes the history of commands to one file, without values, for whoever is to look into it.
#[derive(Debug, Args)]
pub struct ExportHistory {
    /// Directory of the database or of a copy
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// The file; not there yet
    #[arg(value_name = "FILE")]
    pub out: PathBuf,
    /// Commands of this session, and those they depend on, alone
    #[arg(long, value_name = "NAME")]
    pub session: Option<String>,
    /// Have commands judged only from this time on, in ms since 1970; what was before is state
    #[arg(long, value_name = "MS")]
    pub from: Option<u64>,
    /// Nothing that was committed after this time
    #[arg(long, value_name = "MS")]
    pub to: Option<u64>,
    /// Another class for a field, as key=redact_on_export or value=retainable; as often as need be
    #[arg(long, value_name = "FIELD=CLASS")]
    pub class: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl ExportHistory {
    /// Exports.
    ///
    /// # Errors
    /// [`Failure`]; there is no such file then.
    pub async fn run(&self, cx: Context) -> Result<Answer, Failure> {
        let mut redaction = Redaction::default();
        for class in &self.class {
            let usage = |e: &dyn std::fmt::Display| Failure::Usage(format!("--class {class}: {e}"));
            let (field, name) = class.split_once('=').ok_or_else(|| usage(&"FIELD=CLASS"))?;
            let name = name.parse().map_err(|e| usage(&e))?;
            redaction.classes.set(field, name).map_err(|e| usage(&e))?;
        }
        let session = self.session.as_deref().map(Into::into);
        let span = Span { session, from: self.from, to: self.to };
        let file = text(&self.out);
        match cx.open(&file, OpenMode::Read).await {
            Err(e) if e.kind == DiskErrorKind::NotFound => {}
            Ok(_) => return Err(Failure::Usage(format!("{file} is there; give another name"))),
            Err(e) => return Err(e.into()),
        }
        let survey = Survey::of(source(cx, &self.dir).await?, &span, &redaction).await?;
        let done = export(survey, source(cx, &self.dir).await?).await?;
        let new = format!("{file}.new");
        let out = cx.open(&new, OpenMode::Create).await?;
        out.set_len(0).await?;
        for (at, piece) in done.bytes.chunks(RUN).enumerate() {
            out.write_at((at * RUN) as u64, piece.to_vec()).await?;
        }
        out.sync().await?;
        cx.rename(&new, &file).await?;
        Ok(Answer::table(json!({
            "version": done.end.0,
            "records": done.records,
            "rows": done.rows,
            "file_bytes": done.bytes.len(),
        })))
    }
}
