//! What a shot does to what its keys hold: a pure function.

use super::{
    Action, SingleShot, Test,
    kind::{Kind, int, int_value, kind},
};

/// What a key holds: its value, and its deadline (Unix ms) if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::txn) struct Holds {
    pub(in crate::txn) value: Vec<u8>,
    pub(in crate::txn) deadline: Option<u64>,
}

/// Why nothing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Abort {
    /// An assert does not hold.
    #[error("assert {at} does not hold of the key with the id {id}: {test:?}")]
    Assert {
        /// Which, from 0.
        at: usize,
        /// Of which key.
        id: u32,
        /// What it asserts.
        test: Test,
    },
    /// What was to be added to is no integer.
    #[error("the key with the id {id} holds no integer")]
    NotAnInt {
        /// The id of its key.
        id: u32,
    },
    /// The sum does not fit.
    #[error("the integer of the key with the id {id} would overflow")]
    Overflow {
        /// The id of its key.
        id: u32,
    },
}

/// What one operation says: the value that `GET` found or `ADD` made.
pub type Answer = Option<Vec<u8>>;

/// What comes of a shot whose asserts hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::txn) struct Decided {
    /// Per row, what the key holds afterwards, or `None` if the shot leaves it alone.
    pub(in crate::txn) writes: Vec<Option<Option<Holds>>>,
    /// Of every `GET` and `ADD`, in order.
    pub(in crate::txn) answers: Vec<Answer>,
}

impl SingleShot<'_> {
    /// Judges and carries out the shot on what each row's key holds.
    pub(in crate::txn) fn decide(&self, before: &[Option<Holds>]) -> Result<Decided, Abort> {
        assert_eq!(before.len(), self.rows.len(), "one for every row");
        for (at, (row, test)) in self.asserts.iter().enumerate() {
            if !test.holds(before[*row].as_ref().map(|held| held.value.as_slice())) {
                return Err(Abort::Assert { at, id: self.rows[*row].id, test: *test });
            }
        }
        let mut writes: Vec<Option<Option<Holds>>> = vec![None; self.rows.len()];
        let mut answers = Vec::new();
        for (row, action) in &self.actions {
            let id = self.rows[*row].id;
            let now = writes[*row].as_ref().unwrap_or(&before[*row]).as_ref();
            let write = match *action {
                Action::Get => {
                    answers.push(now.map(|held| held.value.clone()));
                    continue;
                }
                Action::Put { value, deadline } => Some(Holds { value: value.to_vec(), deadline }),
                Action::Delete => None,
                Action::Add(by) => {
                    let old = now.map_or(Some(0), |held| int(&held.value));
                    let sum = old.ok_or(Abort::NotAnInt { id })?.checked_add(by);
                    let value = int_value(sum.ok_or(Abort::Overflow { id })?);
                    answers.push(Some(value.clone()));
                    Some(Holds { value, deadline: now.and_then(|held| held.deadline) })
                }
            };
            writes[*row] = Some(write);
        }
        Ok(Decided { writes, answers })
    }
}

impl Test {
    /// Whether it holds of a key that holds `value`, or nothing.
    fn holds(&self, value: Option<&[u8]>) -> bool {
        let payload = |of: Kind| match value.and_then(kind) {
            Some((is, rest)) if is == of => Some(rest),
            _ => None,
        };
        match self {
            Test::Exists => value.is_some(),
            Test::NotExists => value.is_none(),
            Test::Type(of) => payload(*of).is_some(),
            Test::IntEq(number) => value.and_then(int) == Some(*number),
            Test::BytesHashEq(hash) => hashes_to(payload(Kind::Bytes), hash),
            Test::StringHashEq(hash) => hashes_to(payload(Kind::String), hash),
        }
    }
}

fn hashes_to(payload: Option<&[u8]>, hash: &[u8; 32]) -> bool {
    payload.is_some_and(|payload| blake3::hash(payload).as_bytes() == hash)
}
