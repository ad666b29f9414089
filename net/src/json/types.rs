//! Every type of request with its fields.

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A list of strings.
    Texts,
    /// A byte string: a string, or `{"base64": "…"}`.
    Bytes,
    /// A list of byte strings.
    Keys,
    /// A list of lists of two byte strings.
    Pairs,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Flag,
    /// A length of time: milliseconds, or a string as `250ms`, `5s`, `2m`, `1h`, `7d`.
    Time,
    /// When a key expires: a [`Kind::Time`] from now, or `{"at": …}` in Unix milliseconds; for
    /// `set` also `"keep"`.
    Deadline,
}

/// A field of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it has to be there.
    pub is_required: bool,
}

const fn must(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, is_required: true }
}

const fn may(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, is_required: false }
}

/// What every command may have besides the fields of its type.
pub const ENVELOPE: &[Field] = &[
    may("id", Kind::Text),
    may("session", Kind::Text),
    may("depends_on", Kind::Texts),
    may("if_session_version", Kind::Number),
    may("idempotency_key", Kind::Text),
    may("timeout", Kind::Time),
    may("durability", Kind::Text),
];

const KEY: &[Field] = &[must("key", Kind::Bytes)];
const KEYS: &[Field] = &[must("keys", Kind::Keys)];

/// The types, whether they are commands and so have an envelope, and their own fields.
pub const TYPES: &[(&str, bool, &[Field])] = &[
    ("get", true, KEY),
    (
        "set",
        true,
        &[
            must("key", Kind::Bytes),
            must("value", Kind::Bytes),
            may("expiry", Kind::Deadline),
            may("condition", Kind::Text),
            may("get", Kind::Flag),
        ],
    ),
    ("getdel", true, KEY),
    ("append", true, &[must("key", Kind::Bytes), must("value", Kind::Bytes)]),
    ("strlen", true, KEY),
    ("incr", true, &[must("key", Kind::Bytes), may("by", Kind::Number)]),
    ("mget", true, KEYS),
    ("mset", true, &[must("pairs", Kind::Pairs)]),
    ("del", true, KEYS),
    ("exists", true, KEYS),
    ("type", true, KEY),
    ("ttl", true, &[must("key", Kind::Bytes), may("form", Kind::Text)]),
    (
        "expire",
        true,
        &[must("key", Kind::Bytes), must("deadline", Kind::Deadline), may("condition", Kind::Text)],
    ),
    ("persist", true, KEY),
    (
        "scan",
        true,
        &[may("after", Kind::Bytes), may("pattern", Kind::Bytes), may("count", Kind::Number)],
    ),
    ("dbsize", true, &[]),
    ("flushall", true, &[]),
    ("create_session", true, &[]),
    ("load_session", true, &[]),
    ("delete_session", true, &[]),
    ("health", false, &[]),
    ("recovery_summary", false, &[]),
    (
        "get_command_history",
        false,
        &[
            may("session", Kind::Text),
            may("server_only", Kind::Flag),
            may("id", Kind::Text),
            may("from", Kind::Number),
            may("to", Kind::Number),
            may("outcome", Kind::Text),
            may("limit", Kind::Number),
            may("cursor", Kind::Number),
        ],
    ),
    ("get_outcome", false, &[must("id", Kind::Text)]),
    ("list_sessions", false, &[may("after", Kind::Text), may("limit", Kind::Number)]),
    ("cancel", false, &[must("id", Kind::Text)]),
    ("subscribe", false, &[may("session", Kind::Text)]),
    ("authenticate", false, &[must("password", Kind::Bytes)]),
    ("unsubscribe", false, &[must("subscription", Kind::Number)]),
];

/// The fields that a request of that type may have, but for `type` and `request`; `None` if there
/// is no such type.
pub fn fields_of(name: &str) -> Option<impl Iterator<Item = &'static Field>> {
    let (_, is_command, own) = TYPES.iter().find(|(other, ..)| *other == name)?;
    let envelope = if *is_command { ENVELOPE } else { &[] };
    Some(own.iter().chain(envelope))
}
