//! `orloj get`, `set`, `del` and `scan`.

use std::{io::Write, path::PathBuf};

use clap::Args;
use orloj_kernel::Context;
use orloj_storage::{Database, Error, Retention, database};
use serde_json::{Value, json};

use super::{
    Answer, FOUND_WRONG, Failure, escaped, keyspace, open, options, snapshot, text, unescaped,
};

/// Bytes of a scan that are gathered before they are printed.
const PIECE: usize = 64 << 10;

/// What all of them take.
#[derive(Debug, Args)]
pub struct Of {
    /// Directory of the database
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// The keyspace; may be left out if there is one only
    #[arg(long, value_name = "NAME")]
    pub keyspace: Option<String>,
    /// Print one JSON object; bytes that are no printable ASCII as \x00
    #[arg(long)]
    pub json: bool,
}

/// Prints the value of a key.
#[derive(Debug, Args)]
pub struct Get {
    /// Where
    #[command(flatten)]
    pub of: Of,
    /// The key; bytes as \x00
    #[arg(value_name = "KEY")]
    pub key: String,
    /// As of this version; the newest otherwise
    #[arg(long, value_name = "N")]
    pub lsn: Option<u64>,
    /// Print the bytes of the value as they are, and no line end
    #[arg(long)]
    pub raw: bool,
}

/// Gives a key a value.
#[derive(Debug, Args)]
pub struct Set {
    /// Where
    #[command(flatten)]
    pub of: Of,
    /// The key; bytes as \x00
    #[arg(value_name = "KEY")]
    pub key: String,
    /// The value; bytes as \x00
    #[arg(value_name = "VALUE")]
    pub value: String,
    /// Make the database and the keyspace where they are missing
    #[arg(long)]
    pub create: bool,
}

/// Deletes a key.
#[derive(Debug, Args)]
pub struct Del {
    /// Where
    #[command(flatten)]
    pub of: Of,
    /// The key; bytes as \x00
    #[arg(value_name = "KEY")]
    pub key: String,
}

/// Prints keys and values in order.
#[derive(Debug, Args)]
pub struct Scan {
    /// Where
    #[command(flatten)]
    pub of: Of,
    /// Only keys that begin so; bytes as \x00
    #[arg(long, value_name = "KEY", default_value = "")]
    pub prefix: String,
    /// So many at most
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// As of this version; the newest otherwise
    #[arg(long, value_name = "N")]
    pub lsn: Option<u64>,
}

impl Get {
    /// Reads it.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(&self, cx: Context) -> Result<Answer, Failure> {
        let key = unescaped(&self.key)?;
        let db = open(cx, &self.of.dir).await?;
        let of = keyspace(&db, self.of.keyspace.as_deref())?;
        let (at, mut value) = (snapshot(&db, self.lsn)?, Vec::new());
        let found = db.get_at(&of, &key, &at, &mut value).await?;
        drop(at);
        db.close().await?;
        let json = json!({
            "key": escaped(&key),
            "value": found.map(|_| escaped(&value)),
            "version": found.map(|version| version.0),
        });
        let text = match (found, self.raw) {
            (None, _) => Vec::new(),
            (Some(_), true) => value,
            (Some(_), false) => format!("{}\n", escaped(&value)).into_bytes(),
        };
        Ok(Answer { text, json, status: if found.is_some() { 0 } else { FOUND_WRONG } })
    }
}

impl Set {
    /// Writes it.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(&self, cx: Context) -> Result<Answer, Failure> {
        let (key, value) = (unescaped(&self.key)?, unescaped(&self.value)?);
        let name = self.of.keyspace.as_deref();
        let (db, of) = match (self.create, name) {
            (false, _) => {
                let db = open(cx, &self.of.dir).await?;
                let of = keyspace(&db, name)?;
                (db, of)
            }
            (true, None) => {
                return Err(Failure::Usage(
                    "--create makes a keyspace: name it: --keyspace".into(),
                ));
            }
            (true, Some(name)) => {
                cx.create_dir(&text(&self.of.dir)).await?;
                let (db, _) = Database::open(cx, options(&self.of.dir)).await?;
                let of = match db.keyspace(name) {
                    Err(Error::NoKeyspace { .. }) => {
                        db.create_keyspace(name, Retention::default()).await?
                    }
                    found => found?,
                };
                (db, of)
            }
        };
        let version = db.put(&of, &key, database::Value::from(&value)).await?;
        db.close().await?;
        Ok(Answer::table(json!({ "version": version.0 })))
    }
}

impl Del {
    /// Deletes it.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(&self, cx: Context) -> Result<Answer, Failure> {
        let key = unescaped(&self.key)?;
        let db = open(cx, &self.of.dir).await?;
        let of = keyspace(&db, self.of.keyspace.as_deref())?;
        let found = db.get(&of, &key, &mut Vec::new()).await?;
        let version = match found {
            Some(_) => Some(db.delete(&of, &key).await?),
            None => None,
        };
        db.close().await?;
        let json = json!({ "version": version.map(|version| version.0) });
        let status = if found.is_some() { 0 } else { FOUND_WRONG };
        Ok(Answer { status, ..Answer::table(json) })
    }
}

impl Scan {
    /// Reads them, and hands them to `out` as they come: a keyspace may be larger than memory. If
    /// an error comes up, what was read before it has been printed.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(&self, cx: Context, out: &mut (dyn Write + Send)) -> Result<Answer, Failure> {
        let prefix = unescaped(&self.prefix)?;
        let db = open(cx, &self.of.dir).await?;
        let of = keyspace(&db, self.of.keyspace.as_deref())?;
        let at = snapshot(&db, self.lsn)?;
        let mut cursor = db.cursor(&of, (&prefix[..]..).into(), &at)?;
        let (mut lines, mut count) = (Vec::new(), 0);
        if self.of.json {
            lines.push(b'[');
        }
        while self.limit.is_none_or(|limit| count < limit) {
            let item = match cursor.next().await {
                Ok(Some(item)) if item.key.starts_with(&prefix) => item,
                Ok(_) => break,
                Err(error) => {
                    let _ = out.write_all(&lines);
                    return Err(error.into());
                }
            };
            let (key, value) = (escaped(item.key), escaped(item.value));
            if self.of.json {
                let (version, deadline) = (item.version.0, item.deadline);
                let item = json!({
                    "key": key, "value": value, "version": version, "deadline": deadline,
                });
                let before = if count == 0 { "\n" } else { ",\n" };
                lines.extend_from_slice(format!("{before}{item}").as_bytes());
            } else {
                lines.extend_from_slice(format!("{key}\t{value}\n").as_bytes());
            }
            count += 1;
            if lines.len() >= PIECE {
                // Whoever asked may not care to read on.
                let is_read = out.write_all(&lines).is_ok();
                lines.clear();
                if !is_read {
                    break;
                }
            }
        }
        if self.of.json {
            lines.extend_from_slice(b"\n]\n");
        }
        drop((cursor, at));
        db.close().await?;
        Ok(Answer { text: lines, json: Value::Null, status: 0 })
    }
}
