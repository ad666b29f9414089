//! What of a record of the journal may be shown.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use orloj_net::{
    Answer, Blob,
    envelope::{
        Call, End, Id, Outcome, Record, Row, Withheld,
        canonical::{decode_row, encode_row, fingerprint},
        redaction::{DataClass, Field, Purpose, Redaction, hashed},
    },
};
use orloj_storage::{
    KeyspaceId, Lsn,
    record::{Op, ops},
};

use super::Span;
use crate::{
    ReplayError,
    commands::{NAMES, REDACTION, Table},
    store::{ACCOUNTS, STRINGS},
};

/// Types of commands with values.
const WITH_VALUES: [&str; 3] = ["set", "append", "mset"];

/// What is known of a past while it is redacted.
pub(super) struct Redact {
    redaction: Redaction,
    only: Option<orloj_net::envelope::SessionName>,
    key: [u8; 32],
    hashes_values: bool,
    hashes_keys: bool,
    /// Keyspaces by what they are.
    tables: BTreeMap<KeyspaceId, Table>,
    strings: Option<KeyspaceId>,
    accounts: Option<KeyspaceId>,
    /// Commands that those of the session depend on.
    causes: BTreeSet<Id>,
    /// Rows that are kept though they are of others, and are of those.
    kept: BTreeSet<u64>,
    /// Types of commands that are in flight, by row.
    types: BTreeMap<u64, &'static str>,
}

impl Redact {
    pub(super) fn new(redaction: &Redaction, span: &Span) -> Redact {
        let is_hidden =
            |command, field| redaction.classes.of(command, field) > DataClass::Retainable;
        Redact {
            redaction: redaction.clone(),
            only: span.session.clone(),
            key: [0; 32],
            hashes_values: WITH_VALUES.into_iter().any(|command| is_hidden(command, Field::Value)),
            hashes_keys: ["set", "get"].into_iter().any(|command| is_hidden(command, Field::Key)),
            tables: BTreeMap::new(),
            strings: None,
            accounts: None,
            causes: BTreeSet::new(),
            kept: BTreeSet::new(),
            types: BTreeMap::new(),
        }
    }

    pub(super) fn are_values_hashed(&self) -> bool {
        self.hashes_values
    }

    pub(super) fn is_data_withheld(&self) -> bool {
        self.hashes_keys || self.redaction.redactor.is_some()
    }

    /// Looks at a record for what is needed to redact others; whether it is behind the end.
    pub(super) fn survey(&mut self, record: &[u8], span: &Span) -> bool {
        for op in ops(record).map_while(Result::ok) {
            match op {
                Op::Create { keyspace, name, .. } => self.name(keyspace, name),
                Op::Clock(now) if span.to.is_some_and(|to| now > to) => return true,
                Op::Put { keyspace, key, value, .. } => {
                    if Some(keyspace) == self.accounts && key == REDACTION {
                        self.key = value.try_into().unwrap_or_default();
                    }
                    if self.tables.get(&keyspace) == Some(&Table::History)
                        && let Ok(row) = decode_row(value)
                    {
                        if span.to.is_some_and(|to| row.at.0 > to) {
                            return true;
                        }
                        self.note_causes(&row);
                    }
                }
                _ => {}
            }
        }
        false
    }

    fn name(&mut self, keyspace: KeyspaceId, name: &str) {
        match name {
            STRINGS => self.strings = Some(keyspace),
            ACCOUNTS => self.accounts = Some(keyspace),
            name => {
                let table = NAMES.into_iter().position(|known| known == name);
                self.tables.extend(table.map(|at| (keyspace, Table::ALL[at])));
            }
        }
    }

    fn note_causes(&mut self, row: &Row) {
        if self.only.is_some()
            && row.session == self.only
            && let Record::Accepted { envelope, .. } | Record::Whole { envelope, .. } = &row.record
        {
            self.causes.extend(envelope.depends_on.iter().cloned());
        }
    }

    /// The record as it may be shown, how many rows of the history are in it, and the time that it
    /// tells.
    pub(super) fn record(
        &mut self,
        lsn: Lsn,
        record: &[u8],
    ) -> Result<(Vec<u8>, u64, Option<u64>), ReplayError> {
        let (mut out, mut rows, mut time) = (Vec::new(), 0, None);
        let add = |op: Op<'_>, out: &mut Vec<u8>| {
            let is_first = out.is_empty();
            op.write(out, is_first);
        };
        for op in ops(record).map_while(Result::ok) {
            match op {
                Op::Clock(now) => {
                    time = time.max(Some(now));
                    add(op, &mut out);
                }
                // The key of the hashes stays.
                Op::Put { keyspace, key, .. }
                    if Some(keyspace) == self.accounts && key == REDACTION => {}
                Op::Put { keyspace, key, value, deadline } if Some(keyspace) == self.strings => {
                    let key = self.client_key(key);
                    let value = match self.hashes_values {
                        true => hashed(&self.key, value),
                        false => Bytes::copy_from_slice(value),
                    };
                    add(Op::Put { keyspace, key: &key, value: &value, deadline }, &mut out);
                }
                Op::Delete { keyspace, key } if Some(keyspace) == self.strings => {
                    add(Op::Delete { keyspace, key: &self.client_key(key) }, &mut out);
                }
                // They name keys.
                Op::Put { keyspace: KeyspaceId::DEADLINES, .. }
                | Op::Delete { keyspace: KeyspaceId::DEADLINES, .. }
                    if self.hashes_keys => {}
                Op::Put { keyspace, key, value, deadline } => {
                    let value = match self.tables.get(&keyspace) {
                        Some(Table::History) => {
                            let row = decode_row(value).map_err(|_| ReplayError::Row { lsn })?;
                            time = time.max(Some(row.at.0));
                            let number = key.try_into().map_or(0, u64::from_be_bytes);
                            let Some(shown) = self.row(number, row)? else { continue };
                            rows += 1;
                            shown
                        }
                        // What is withheld from rows is there as it came.
                        Some(Table::Inflight) => value[..1.min(value.len())].to_vec(),
                        _ => value.to_vec(),
                    };
                    add(Op::Put { keyspace, key, value: &value, deadline }, &mut out);
                }
                op => add(op, &mut out),
            }
        }
        if out.is_empty() {
            add(Op::Clock(time.unwrap_or(0)), &mut out);
        }
        Ok((out, rows, time))
    }

    fn client_key(&self, key: &[u8]) -> Bytes {
        match self.hashes_keys {
            true => hashed(&self.key, key),
            false => Bytes::copy_from_slice(key),
        }
    }

    /// A row as it may be shown; `None` if it is of a session that is not asked for.
    fn row(&mut self, number: u64, row: Row) -> Result<Option<Vec<u8>>, ReplayError> {
        if self.only.is_some() && row.session != self.only {
            let is_cause = match &row.record {
                Record::Accepted { id, .. } | Record::Whole { id, .. } => self.causes.contains(id),
                Record::Started { accepted } | Record::Finished { accepted, .. } => {
                    self.kept.contains(accepted)
                }
            };
            if !is_cause {
                return Ok(None);
            }
            self.kept.insert(number);
        }
        let Row { session, lane_sequence, before, at, record, mut withheld } = row;
        let record = match record {
            Record::Accepted { id, envelope } => {
                self.types.insert(number, envelope.call.name());
                let envelope = Box::new(self.envelope(*envelope, &mut withheld)?);
                Record::Accepted { id, envelope }
            }
            Record::Whole { id, envelope, outcome } => {
                let outcome = self.outcome(outcome, Some(envelope.call.name()));
                let envelope = Box::new(self.envelope(*envelope, &mut withheld)?);
                Record::Whole { id, envelope, outcome }
            }
            Record::Finished { accepted, outcome } => {
                let command = self.types.remove(&accepted);
                Record::Finished { accepted, outcome: self.outcome(outcome, command) }
            }
            started => started,
        };
        let mut bytes = Vec::new();
        let row = Row { session, lane_sequence, before, at, record, withheld };
        encode_row(&row, &mut bytes);
        Ok(Some(bytes))
    }

    fn envelope(
        &self,
        envelope: orloj_net::envelope::Envelope,
        withheld: &mut Option<Box<Withheld>>,
    ) -> Result<orloj_net::envelope::Envelope, ReplayError> {
        let was = withheld.as_ref().map(|withheld| withheld.fields.clone()).unwrap_or_default();
        let print = withheld.as_ref().map_or_else(|| fingerprint(&envelope), |w| w.fingerprint);
        let mut redacted = envelope.clone();
        let mut fields = was.clone();
        if let Some(redactor) = &self.redaction.redactor {
            let hook = Redaction { redactor: Some(redactor.clone()), ..all_kept() };
            let applied = hook.apply(&envelope, Purpose::Export, &self.key);
            if let Some((changed, which)) = applied.map_err(|_| ReplayError::Redactor)? {
                redacted = changed;
                fields.extend(which);
            }
        }
        if let Call::Data(command) = &mut redacted.call {
            orloj_net::envelope::redaction::payload(command, &mut |field, bytes| {
                let hides = match field {
                    Field::Key => self.hashes_keys,
                    Field::Value => self.hashes_values,
                };
                // What is a hash already stays that.
                if hides && !was.contains(&field) {
                    *bytes = hashed(&self.key, bytes);
                    fields.push(field);
                }
            });
        }
        fields.sort();
        fields.dedup();
        if !fields.is_empty() {
            *withheld = Some(Box::new(Withheld { fingerprint: print, fields }));
        }
        Ok(redacted)
    }

    fn outcome(&self, outcome: Outcome, command: Option<&'static str>) -> Outcome {
        let Outcome { end, session_version, replayed } = outcome;
        let end = match end {
            // The number that a key holds.
            End::Ok(Answer::Int(number)) if self.hashes_values && command == Some("incr") => {
                let digits = number.to_string();
                End::Ok(Answer::Bulk(Blob::new(&hashed(&self.key, digits.as_bytes()))))
            }
            End::Ok(answer) => End::Ok(self.answer(answer)),
            other => other,
        };
        Outcome { end, session_version, replayed }
    }

    fn answer(&self, answer: Answer) -> Answer {
        match answer {
            Answer::Bulk(value) if self.hashes_values => {
                Answer::Bulk(Blob::new(&hashed(&self.key, value.as_bytes())))
            }
            Answer::List(items) => {
                Answer::List(items.into_iter().map(|item| self.answer(item)).collect())
            }
            Answer::Page { next, keys } if self.hashes_keys => Answer::Page {
                next: next.map(|key| self.client_key(&key)),
                keys: keys.iter().map(|key| self.client_key(key)).collect(),
            },
            answer => answer,
        }
    }
}

/// Classes by which everything is shown.
fn all_kept() -> Redaction {
    let mut redaction = Redaction::default();
    for field in Field::ALL {
        let known = redaction.classes.set(field.name(), DataClass::Retainable);
        known.expect("it is a field");
    }
    redaction
}
