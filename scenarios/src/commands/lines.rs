//! A client that asks in JSON first, over a connection of its own, and then again as all do.
//!
//! Method: JSON has no types that the model could be asked about, and the same command is asked for
//! by the same id over the native protocol. Where both tell an outcome it is one and the same, put
//! into words by the code that puts it into words for anybody.

use std::time::Duration;

use orloj_kernel::{Context, sometimes};
use orloj_net::{
    envelope::{Code, Envelope, Failure, Outcome},
    json,
};
use orloj_sim::{Control, Failure as Breach};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::node::JSON;

/// Asks for a command with an id as a line, and then by `again`, whose answer it is.
pub(super) async fn ask(
    cx: Context,
    envelope: &Envelope,
    patience: Duration,
    again: impl Future<Output = Result<Outcome, Failure>>,
) -> Result<Outcome, Failure> {
    let line = tell(cx, envelope, patience).await;
    let Ok(outcome) = again.await else {
        // The line may have been carried out, so no refusal of the second try is the last word.
        let failure = Failure::new(Code::Unavailable, "what became of the line is not known");
        return Err(failure.with("reason", "unknown_fate"));
    };
    // A key comes before the id, and is forgotten sooner; then the command is another.
    if let (Some(line), None) = (line, &envelope.idempotency_key) {
        compare(envelope, line, &outcome);
    }
    Ok(outcome)
}

/// What is told as a line; `None` if nothing came, or a refusal.
async fn tell(cx: Context, envelope: &Envelope, patience: Duration) -> Option<Value> {
    let ask = json::Ask::Command(envelope.clone());
    let mut line = json::encode(&json::Message { request: None, ask });
    line.push('\n');
    let told = cx.timeout(patience, async {
        let mut stream = cx.connect(JSON).await?;
        stream.write_all(line.as_bytes()).await?;
        let mut told = String::new();
        BufReader::new(stream).read_line(&mut told).await?;
        std::io::Result::Ok(told)
    });
    // A connection that ends amid a line has said nothing.
    let told = told.await.ok()?.ok().filter(|told| told.ends_with('\n'))?;
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|why| panic!("{told}: {why}"));
    let is_outcome = told.get("outcome").is_some();
    sometimes!(cx, is_outcome, "commands: an outcome told as a line");
    sometimes!(cx, !is_outcome, "commands: a refusal told as a line");
    is_outcome.then_some(told)
}

/// What was told of a command in both ways is the same.
fn compare(envelope: &Envelope, line: Value, outcome: &Outcome) {
    let native = json::answer(None, envelope.id.as_ref(), &Ok(outcome.clone()));
    let fate = |mut told: Value| {
        // Whoever asks first is told that nobody had asked.
        told.as_object_mut().expect("an object").remove("replayed");
        told
    };
    let (line, native) = (fate(line), fate(native));
    if line != native {
        let evidence = format!("{:?}: as a line {line}; natively {native}", envelope.id);
        Control.fail(Breach::new("one-outcome", evidence));
    }
}
