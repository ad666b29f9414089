//! `orloj send`.

use std::io::Write;

use clap::Args;
use orloj_kernel::{Context, Stream};
use orloj_net::json::{self, Field, Kind, TYPES, byte_string, fields_of, from_base64};
use serde_json::{Map, Value, json};

use super::{
    Answer, FOUND_WRONG, Failure, escaped,
    remote::{Remote, To},
    table, unescaped,
};

/// Has a running daemon carry out a command, or answer a question.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orloj send create_session --session cart
  orloj send set key=cart:7 value=milk --session cart --id add-1 --if-version 0
  orloj send mset pairs=a=1 pairs=b=2 --depends-on add-1 --id add-2
  orloj send set key=k value=v expiry=30s condition=absent
  orloj send get_outcome id=add-1 --json
  orloj send - < requests.jsonl > answers.jsonl

Types and their fields are in the book, under JSON. Lists are given by naming a field again; bytes
that are no printable ASCII as \\x00; pairs as KEY=VALUE; a deadline as 30s, or as
at:1767225600000 (Unix milliseconds).

The result goes to standard output, and the session's version to standard error; --json prints the
whole answer.

Exit status: 0 the outcome is ok; 1 it is not, or the command was refused; 2 the daemon was not
reached, or what was given makes no sense.")]
pub struct Send {
    /// The type, as get, set, create_session; - sends standard input, one JSON object a line
    #[arg(value_name = "TYPE")]
    pub kind: String,
    /// Its fields
    #[arg(value_name = "FIELD=VALUE")]
    pub fields: Vec<String>,
    /// What a retry repeats, and a dependent names
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// The session it belongs to
    #[arg(long, value_name = "NAME")]
    pub session: Option<String>,
    /// A command that must have ended ok; may be given again
    #[arg(long, value_name = "ID")]
    pub depends_on: Vec<String>,
    /// The version that the session must have
    #[arg(long, value_name = "N")]
    pub if_version: Option<u64>,
    /// What a retry under another id repeats
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// How long it may take, as 250ms, 5s, 2m [default: by its class]
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<String>,
    /// When it is answered: strict, buffered or in_memory [default: as the database]
    #[arg(long, value_name = "MODE")]
    pub durability: Option<String>,
    /// Which daemon
    #[command(flatten)]
    pub to: To,
}

impl Send {
    /// Whether standard input is sent.
    pub fn is_stream(&self) -> bool {
        self.kind == "-"
    }

    /// Sends it, and shows the answer.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(&self, cx: Context) -> Result<Answer, Failure> {
        let text = self.request()?.to_string();
        let message = json::decode(text.as_bytes())
            .map_err(|refused| Failure::Refused(json::failure(&refused.failure)))?;
        let (answer, unreached) = Remote::new(cx, &self.to).exchange(message).await;
        if let Some(failure) = unreached {
            return Err(failure);
        }
        let is_ok = answer.get("error").is_none();
        if self.to.json {
            let status = if is_ok { 0 } else { FOUND_WRONG };
            return Ok(Answer { text: Vec::new(), json: answer, status });
        }
        if let Some(version) = answer.get("session_version") {
            let replayed = answer["replayed"].as_bool() == Some(true);
            let replayed = if replayed { ", replayed" } else { "" };
            let name = self.session.as_deref().unwrap_or_default();
            let _ = writeln!(std::io::stderr(), "session {name:?} at version {version}{replayed}");
        }
        match answer.get("error") {
            Some(error) => Err(Failure::Refused(error.clone())),
            None => {
                let text = shown(&answer["result"]).into_bytes();
                Ok(Answer { text, json: answer, status: 0 })
            }
        }
    }

    /// Sends the lines of `lines`, and prints each answer as a line.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn stream(
        &self,
        cx: Context,
        mut lines: Stream,
        out: &mut (dyn Write + std::marker::Send),
    ) -> Result<Answer, Failure> {
        if !self.is_bare() {
            return Err(Failure::Usage("- takes everything from standard input".to_owned()));
        }
        let mut status = 0;
        let mut tell = |answer: Value| {
            if answer.get("error").is_some() {
                status = FOUND_WRONG;
            }
            // Whoever asked may not care to read on.
            let _ = writeln!(out, "{answer}");
        };
        Remote::new(cx, &self.to).exchange_lines(&mut lines, &mut tell).await?;
        Ok(Answer { text: Vec::new(), json: Value::Null, status })
    }

    /// Whether nothing but the daemon is given.
    fn is_bare(&self) -> bool {
        let Send {
            kind: _,
            fields,
            id,
            session,
            depends_on,
            if_version,
            idempotency_key,
            timeout,
            durability,
            to: _,
        } = self;
        let texts = [id, session, idempotency_key, timeout, durability];
        let has_none = fields.is_empty() && depends_on.is_empty() && if_version.is_none();
        has_none && texts.iter().all(|text| text.is_none())
    }

    /// The object that asks.
    fn request(&self) -> Result<Value, Failure> {
        let kind = &*self.kind;
        let Some(known) = fields_of(kind) else {
            let all: Vec<&str> = TYPES.iter().map(|(name, ..)| *name).collect();
            let said = format!("there is no command {kind:?}; there are {}", all.join(", "));
            return Err(Failure::Usage(said));
        };
        let known: Vec<&Field> = known.collect();
        let mut request = Map::new();
        request.insert("type".to_owned(), kind.into());
        let mut put = |name: &str, value: &str| {
            let Some(field) = known.iter().find(|field| field.name == name) else {
                let names: Vec<&str> = known.iter().map(|field| field.name).collect();
                let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                let said = format!("{name:?} is no field of {kind}, whose fields are: {names}");
                return Err(Failure::Usage(said));
            };
            let value = value_of(field, value)?;
            match (request.get_mut(name), value) {
                (None, value) => drop(request.insert(name.to_owned(), value)),
                (Some(Value::Array(all)), Value::Array(more)) => all.extend(more),
                (Some(_), _) => {
                    return Err(Failure::Usage(format!("{name} is given twice")));
                }
            }
            Ok(())
        };
        for field in &self.fields {
            let Some((name, value)) = field.split_once('=') else {
                return Err(Failure::Usage(format!("{field:?}: fields are given as FIELD=VALUE")));
            };
            put(name, value)?;
        }
        let version = self.if_version.map(|version| version.to_string());
        let options = [
            ("id", &self.id),
            ("session", &self.session),
            ("if_session_version", &version),
            ("idempotency_key", &self.idempotency_key),
            ("timeout", &self.timeout),
            ("durability", &self.durability),
        ];
        for (name, value) in options {
            if let Some(value) = value {
                put(name, value)?;
            }
        }
        for id in &self.depends_on {
            put("depends_on", id)?;
        }
        Ok(request.into())
    }
}

/// What a field is given as, as JSON.
fn value_of(field: &Field, text: &str) -> Result<Value, Failure> {
    let name = field.name;
    let wrong = |what: &str| Failure::Usage(format!("{name}={text:?}: give {what}"));
    Ok(match field.kind {
        Kind::Text => text.into(),
        Kind::Texts => json!([text]),
        Kind::Bytes => bytes(text)?,
        Kind::Keys => json!([bytes(text)?]),
        Kind::Pairs => {
            let (key, value) = text.split_once('=').ok_or_else(|| wrong("KEY=VALUE"))?;
            json!([[bytes(key)?, bytes(value)?]])
        }
        Kind::Number => match (text.parse::<u64>(), text.parse::<i64>()) {
            (Ok(number), _) => number.into(),
            (_, Ok(number)) => number.into(),
            _ => return Err(wrong("a whole number")),
        },
        Kind::Flag => match text {
            "true" => true.into(),
            "false" => false.into(),
            _ => return Err(wrong("true or false")),
        },
        Kind::Time => time(text),
        Kind::Deadline => match text.strip_prefix("at:") {
            None => time(text),
            Some(at) => {
                let at: u64 = at.parse().map_err(|_| wrong("at: and Unix milliseconds"))?;
                json!({ "at": at })
            }
        },
    })
}

/// The daemon knows which texts are times.
fn time(text: &str) -> Value {
    text.parse::<u64>().map_or_else(|_| text.into(), Value::from)
}

fn bytes(text: &str) -> Result<Value, Failure> {
    Ok(byte_string(&unescaped(text)?))
}

/// A result for people: one line each, as one would give it.
fn shown(result: &Value) -> String {
    match result {
        Value::Null => "(nil)\n".to_owned(),
        Value::Array(items) => items.iter().map(shown).collect(),
        Value::Object(members) => match members.get("base64").and_then(Value::as_str) {
            Some(text) if members.len() == 1 => {
                let bytes = from_base64(text).unwrap_or_default();
                format!("{}\n", escaped(&bytes))
            }
            _ => table(result),
        },
        Value::String(text) => format!("{}\n", escaped(text.as_bytes())),
        other => format!("{other}\n"),
    }
}
