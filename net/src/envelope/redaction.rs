//! What of a command may be kept, and what may be shown to others: the class of each field of its
//! payload, and hooks of whoever runs the node.
//!
//! What is withheld is a keyed BLAKE3 hash in the payload's place, so that equal stays equal and
//! who has not the key can guess nothing. Who asked, in which order, for what by its fingerprint,
//! and with which outcome is never withheld.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use bytes::Bytes;

use super::{Call, Envelope, Fingerprint};
use crate::Command;

/// What may be done with a field of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DataClass {
    /// Kept and exported as it is.
    Retainable,
    /// Kept as it is, exported as a keyed hash.
    RedactOnExport,
    /// Kept as a keyed hash in the history. What the command does with it is done all the same.
    NeverPersist,
}

impl DataClass {
    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            DataClass::Retainable => "retainable",
            DataClass::RedactOnExport => "redact_on_export",
            DataClass::NeverPersist => "never_persist",
        }
    }
}

/// A part of a command's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Field {
    /// Its keys, and patterns for keys.
    Key = 1,
    /// What keys are to hold; in exports also what an answer shows of that.
    Value = 2,
}

impl Field {
    /// All, in the order of their numbers.
    pub const ALL: [Field; 2] = [Field::Key, Field::Value];

    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Field::Key => "key",
            Field::Value => "value",
        }
    }

    /// The class it has if nobody says otherwise: a report needs keys to be understood, and no
    /// values.
    pub fn class(self) -> DataClass {
        match self {
            Field::Key => DataClass::Retainable,
            Field::Value => DataClass::RedactOnExport,
        }
    }
}

/// The types of commands that have a payload.
const TYPES: [&str; 15] = [
    "get", "set", "getdel", "append", "strlen", "incr", "mget", "mset", "del", "exists", "type",
    "ttl", "expire", "persist", "scan",
];

/// The class of each field of each command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classes {
    /// Where they are not [`Field::class`], by the command's type; `None` is all others.
    other: BTreeMap<(Option<&'static str>, Field), DataClass>,
}

/// A class that cannot be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClassError {
    /// No such field.
    Field(String),
    /// No such class.
    Class(String),
}

impl fmt::Display for ClassError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClassError::Field(name) => {
                write!(f, "no field {name:?}: they are key, value, and set.value and the like")
            }
            ClassError::Class(name) => {
                write!(f, "a class is retainable, redact_on_export or never_persist, not {name:?}")
            }
        }
    }
}

impl std::error::Error for ClassError {}

impl FromStr for DataClass {
    type Err = ClassError;
    fn from_str(name: &str) -> Result<DataClass, ClassError> {
        [DataClass::Retainable, DataClass::RedactOnExport, DataClass::NeverPersist]
            .into_iter()
            .find(|class| class.name() == name)
            .ok_or_else(|| ClassError::Class(name.to_owned()))
    }
}

impl Classes {
    /// Gives `field`, as `value` or `set.value`, that class.
    ///
    /// # Errors
    /// [`ClassError::Field`].
    pub fn set(&mut self, field: &str, class: DataClass) -> Result<(), ClassError> {
        let wrong = || ClassError::Field(field.to_owned());
        let (command, name) = match field.split_once('.') {
            Some((command, name)) => {
                let found = TYPES.into_iter().find(|known| *known == command);
                (Some(found.ok_or_else(wrong)?), name)
            }
            None => (None, field),
        };
        let name = Field::ALL.into_iter().find(|known| known.name() == name).ok_or_else(wrong)?;
        self.other.insert((command, name), class);
        Ok(())
    }

    /// The class of a field of a command of that type.
    pub fn of(&self, command: &'static str, field: Field) -> DataClass {
        let found = self.other.get(&(Some(command), field));
        found.or_else(|| self.other.get(&(None, field))).copied().unwrap_or(field.class())
    }

    /// Whether no field is to be withheld from the history.
    pub fn keeps_all(&self) -> bool {
        !self.other.values().any(|class| *class == DataClass::NeverPersist)
    }
}

/// What a payload is prepared for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be kept in the history.
    Persist,
    /// To be given to others.
    Export,
}

/// A hook that changes payloads before they are kept or given to others. It must do the same
/// whenever it is asked the same, and change nothing but keys and values.
pub trait Redactor: Send + Sync {
    /// Changes the payload of `envelope`.
    fn redact(&self, envelope: &mut Envelope, purpose: Purpose);
}

/// A hook changed what it must not: identity, order, or what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tampered;

impl fmt::Display for Tampered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a redactor changed more than the payload")
    }
}

impl std::error::Error for Tampered {}

/// What was withheld of a row of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// Of the command as it was asked.
    pub fingerprint: Fingerprint,
    /// Which fields, each once, ascending.
    pub fields: Vec<Field>,
}

/// How commands are redacted.
#[derive(Clone, Default)]
pub struct Redaction {
    /// Classes of fields.
    pub classes: Classes,
    /// Asked before the classes are looked at.
    pub redactor: Option<Arc<dyn Redactor>>,
}

impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redaction").field("classes", &self.classes).finish_non_exhaustive()
    }
}

impl Redaction {
    /// What is kept or shown of a command, and which fields of it are withheld. `None` is all of
    /// it, as it is.
    ///
    /// # Errors
    /// [`Tampered`].
    pub fn apply(
        &self,
        envelope: &Envelope,
        purpose: Purpose,
        key: &[u8; 32],
    ) -> Result<Option<(Envelope, Vec<Field>)>, Tampered> {
        if self.redactor.is_none() && purpose == Purpose::Persist && self.classes.keeps_all() {
            return Ok(None);
        }
        let Call::Data(_) = &envelope.call else { return Ok(None) };
        let mut redacted = envelope.clone();
        let mut fields = Vec::new();
        if let Some(redactor) = &self.redactor {
            redactor.redact(&mut redacted, purpose);
            if blank(&redacted) != blank(envelope) {
                return Err(Tampered);
            }
            fields = changed(envelope, &redacted);
        }
        let name = envelope.call.name();
        let hidden = |field| match purpose {
            Purpose::Persist => self.classes.of(name, field) == DataClass::NeverPersist,
            Purpose::Export => self.classes.of(name, field) > DataClass::Retainable,
        };
        if let Call::Data(command) = &mut redacted.call {
            payload(command, &mut |field, bytes| {
                if hidden(field) {
                    *bytes = hashed(key, bytes);
                    fields.push(field);
                }
            });
        }
        fields.sort();
        fields.dedup();
        Ok((!fields.is_empty()).then_some((redacted, fields)))
    }
}

/// What stands for bytes that are withheld.
pub fn hashed(key: &[u8; 32], bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(blake3::keyed_hash(key, bytes).as_bytes())
}

/// The envelope with an empty payload.
fn blank(envelope: &Envelope) -> Envelope {
    let mut blank = envelope.clone();
    if let Call::Data(command) = &mut blank.call {
        payload(command, &mut |_, bytes| *bytes = Bytes::new());
    }
    blank
}

/// Fields in which two commands of one kind differ.
fn changed(one: &Envelope, other: &Envelope) -> Vec<Field> {
    let pieces = |envelope: &Envelope| {
        let mut pieces = Vec::new();
        if let Call::Data(command) = &mut envelope.call.clone() {
            payload(command, &mut |field, bytes| pieces.push((field, bytes.clone())));
        }
        pieces
    };
    let both = pieces(one).into_iter().zip(pieces(other));
    both.filter(|(one, other)| one != other).map(|((field, _), _)| field).collect()
}

/// Shows every key and value of a command, in order.
pub fn payload(command: &mut Command, each: &mut dyn FnMut(Field, &mut Bytes)) {
    match command {
        Command::Set { key, value, .. } | Command::Append { key, value } => {
            each(Field::Key, key);
            each(Field::Value, value);
        }
        Command::MSet { pairs } => {
            for (key, value) in pairs {
                each(Field::Key, key);
                each(Field::Value, value);
            }
        }
        Command::MGet { keys } | Command::Del { keys } | Command::Exists { keys } => {
            keys.iter_mut().for_each(|key| each(Field::Key, key));
        }
        Command::Get { key }
        | Command::GetDel { key }
        | Command::StrLen { key }
        | Command::Incr { key, .. }
        | Command::Type { key }
        | Command::Ttl { key, .. }
        | Command::Expire { key, .. }
        | Command::Persist { key } => each(Field::Key, key),
        Command::Scan { after, pattern, .. } => {
            after.iter_mut().chain(pattern).for_each(|key| each(Field::Key, key));
        }
        Command::DbSize | Command::FlushAll => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Expiry;

    fn set() -> Envelope {
        Envelope::new(Command::Set {
            key: "k".into(),
            value: "secret".into(),
            expiry: Expiry::None,
            condition: None,
            get: false,
        })
        .id("a")
        .session("s")
    }

    fn value(envelope: &Envelope) -> Bytes {
        match &envelope.call {
            Call::Data(Command::Set { value, .. }) => value.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_class_withholds_when_it_says_so() {
        let key = [7; 32];
        let mut redaction = Redaction::default();
        assert_eq!(redaction.apply(&set(), Purpose::Persist, &key), Ok(None));
        let exported = redaction.apply(&set(), Purpose::Export, &key).unwrap().unwrap();
        assert_eq!(exported.1, [Field::Value]);
        assert_eq!(value(&exported.0), hashed(&key, b"secret"));
        assert_eq!(Envelope { call: set().call, ..exported.0 }, set(), "nothing else is changed");
        redaction.classes.set("set.value", DataClass::NeverPersist).unwrap();
        let kept = redaction.apply(&set(), Purpose::Persist, &key).unwrap().unwrap();
        assert_eq!(value(&kept.0), hashed(&key, b"secret"));
        assert_ne!(value(&kept.0), hashed(&[8; 32], b"secret"));
        redaction.classes.set("value", DataClass::Retainable).unwrap();
        redaction.classes.set("set.value", DataClass::Retainable).unwrap();
        assert_eq!(redaction.apply(&set(), Purpose::Export, &key), Ok(None));
    }

    #[test]
    fn names_are_those_of_the_configuration() {
        let mut classes = Classes::default();
        for field in ["", "values", "set.", "sets.value", "set.val", "Set.value"] {
            let wrong = ClassError::Field(field.to_owned());
            assert_eq!(classes.set(field, DataClass::Retainable), Err(wrong));
        }
        assert_eq!("never_persist".parse(), Ok(DataClass::NeverPersist));
        assert_eq!("never".parse::<DataClass>(), Err(ClassError::Class("never".to_owned())));
    }

    struct Masks;
    impl Redactor for Masks {
        fn redact(&self, envelope: &mut Envelope, _: Purpose) {
            if let Call::Data(command) = &mut envelope.call {
                payload(command, &mut |field, bytes| {
                    if field == Field::Value {
                        *bytes = Bytes::from_static(b"***");
                    }
                });
            }
        }
    }

    struct Meddles(fn(&mut Envelope));
    impl Redactor for Meddles {
        fn redact(&self, envelope: &mut Envelope, _: Purpose) {
            (self.0)(envelope);
        }
    }

    #[test]
    fn a_hook_may_change_the_payload_and_nothing_else() {
        let with = |redactor: Arc<dyn Redactor>| Redaction {
            redactor: Some(redactor),
            ..Redaction::default()
        };
        let kept = with(Arc::new(Masks)).apply(&set(), Purpose::Persist, &[0; 32]);
        let (kept, fields) = kept.unwrap().unwrap();
        assert_eq!((value(&kept), fields), (Bytes::from_static(b"***"), vec![Field::Value]));
        let meddling: [fn(&mut Envelope); 5] = [
            |envelope| envelope.id = Some("b".into()),
            |envelope| envelope.session = None,
            |envelope| envelope.depends_on.push("c".into()),
            |envelope| envelope.timeout_ms = Some(1),
            |envelope| envelope.call = Call::Data(Command::Get { key: "k".into() }),
        ];
        for meddle in meddling {
            let tampered =
                with(Arc::new(Meddles(meddle))).apply(&set(), Purpose::Persist, &[0; 32]);
            assert_eq!(tampered, Err(Tampered));
        }
    }
}
