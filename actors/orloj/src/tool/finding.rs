//! What is wrong, as it is shown.

use orloj_storage::verify::{Finding, Report};
use serde_json::{Value, json};

use super::escaped;

/// One line of it.
pub fn line(report: &Report, finding: &Finding) -> String {
    let Finding { grade, file, offset, keys, what } = finding;
    let mut line = format!("{}: {file}: byte {offset}: {what}", grade.name());
    if let Some((id, from, to)) = keys {
        let name = report.keyspaces.get(id).map_or("?", String::as_str);
        let to = to.as_ref().map_or("the end".to_owned(), |to| format!("\"{}\"", escaped(to)));
        line += &format!("; keyspace {name:?} ({id}), from \"{}\" to {to}", escaped(from));
    }
    line
}

/// It as an object.
pub fn object(report: &Report, finding: &Finding) -> Value {
    let Finding { grade, file, offset, keys, what } = finding;
    let keys = keys.as_ref().map(|(id, from, to)| {
        json!({
            "keyspace": id.0,
            "name": report.keyspaces.get(id),
            "from": escaped(from),
            "to": to.as_deref().map(escaped),
        })
    });
    let (grade, what) = (grade.name(), what.to_string());
    json!({ "grade": grade, "file": file, "offset": offset, "what": what, "keys": keys })
}
