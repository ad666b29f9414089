//! Requests, read and written.

use serde_json::{Map, Value, json};

use super::{
    REQUEST_MAX,
    fields::{Fields, byte_string, need, of_deadline},
    parse::parse,
    types::fields_of,
};
use crate::{
    Blob, Command, Condition, ExpireCondition, Expiry, TimeForm, UnixMs,
    envelope::{
        Call, Code, Envelope, Failure, Filter, Id, MESSAGE_MAX, Question, Safety, SessionName,
    },
    words::ECHO_MAX,
};

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What its answer repeats: a string, a whole number, `true`, `false` or `null`.
    pub request: Option<Value>,
    /// What is asked.
    pub ask: Ask,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A command. Its rules are not checked yet: see [`Envelope::validate`].
    Command(Envelope),
    /// A question, which keeps its rules.
    Question(Question),
    /// To be told what happens to commands from now on.
    Subscribe {
        /// Of one session; of all otherwise.
        session: Option<SessionName>,
    },
    /// To be let in.
    Authenticate {
        /// What the node's clients have to know.
        password: Blob,
    },
    /// No more of it.
    Unsubscribe {
        /// The number with which the subscription was answered.
        subscription: u64,
    },
}

/// Text that is no request.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// See [`Message::request`].
    pub request: Option<Value>,
    /// The id of the command that it would have been.
    pub id: Option<Id>,
    /// Why.
    pub failure: Failure,
    /// Whether it is not even an object of JSON: the connection is closed after the answer.
    pub is_malformed: bool,
}

/// The request that `text` is, white space around it allowed.
///
/// # Errors
/// [`Refused`], naming the field where it is one.
pub fn decode(text: &[u8]) -> Result<Message, Refused> {
    let malformed = |failure| Refused { request: None, id: None, failure, is_malformed: true };
    if text.len() > MESSAGE_MAX {
        let failure = Failure::new(Code::TooLarge, "longer than what is taken")
            .with("max_bytes", MESSAGE_MAX.to_string());
        return Err(malformed(failure));
    }
    let tree = parse(text).map_err(|error| {
        let what = format!("not understood: {error}");
        malformed(Failure::new(Code::Invalid, what).with("reason", "malformed"))
    })?;
    let Value::Object(members) = tree.value else {
        let failure = Failure::new(Code::Invalid, "a request is one JSON object");
        return Err(malformed(failure.with("reason", "malformed")));
    };
    let mut fields = Fields(members);
    let id = fields.0.get("id").and_then(Value::as_str).map(Id::from);
    let request = fields.0.remove("request");
    let (request, echoed) = match request {
        Some(value) if !is_scalar(&value) => {
            let rule = "is not a string of 256 bytes at most, a whole number, true, false or null";
            (None, Err(Failure::invalid("request", rule)))
        }
        request => (request, Ok(())),
    };
    let ask = echoed
        .and_then(|()| tree.twice.map_or(Ok(()), |name| Err(about_field(&name, "stands twice"))))
        .and_then(|()| ask(fields));
    match ask {
        Ok(ask) => Ok(Message { request, ask }),
        Err(failure) => Err(Refused { request, id, failure, is_malformed: false }),
    }
}

fn is_scalar(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) => true,
        Value::Number(number) => !number.is_f64(),
        Value::String(text) => text.len() <= REQUEST_MAX,
        Value::Array(_) | Value::Object(_) => false,
    }
}

/// The beginning of a client's own word.
fn head(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut end = text.len().min(ECHO_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

fn about_field(name: &str, rule: &str) -> Failure {
    let name = head(name);
    Failure::new(Code::Invalid, format!("{name} {rule}")).with("field", name)
}

fn ask(mut fields: Fields) -> Result<Ask, Failure> {
    let name = need("type", fields.text("type")?)?;
    let Some(known) = fields_of(&name) else {
        let name = head(&name);
        let what = format!("there is no command {name}");
        return Err(Failure::new(Code::UnknownCommand, what).with("type", name));
    };
    let known: Vec<&str> = known.map(|field| field.name).collect();
    if let Some(unknown) = fields.0.keys().find(|field| !known.contains(&field.as_str())) {
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let rule = format!("is no field of {name}, whose fields are: {known}");
        return Err(about_field(unknown, &rule));
    }
    let ask = match &*name {
        "subscribe" => Ask::Subscribe { session: fields.text("session")?.map(Into::into) },
        "authenticate" => {
            Ask::Authenticate { password: need("password", fields.bytes("password")?)?.into() }
        }
        "unsubscribe" => {
            Ask::Unsubscribe { subscription: need("subscription", fields.number("subscription")?)? }
        }
        name => match question(name, &mut fields)? {
            Some(question) => {
                question.validate()?;
                Ask::Question(question)
            }
            None => Ask::Command(envelope(name, &mut fields)?),
        },
    };
    Ok(ask)
}

fn question(name: &str, fields: &mut Fields) -> Result<Option<Question>, Failure> {
    let id = |fields: &mut Fields| need("id", fields.text("id")?).map(Id::from);
    Ok(Some(match name {
        "health" => Question::Health,
        "recovery_summary" => Question::RecoverySummary,
        "get_command_history" => Question::History(Filter {
            session: fields.text("session")?.map(Into::into),
            server_only: fields.flag("server_only")?.unwrap_or(false),
            id: fields.text("id")?.map(Into::into),
            from: fields.number("from")?.map(UnixMs),
            to: fields.number("to")?.map(UnixMs),
            outcome: fields.text("outcome")?,
            limit: fields.small("limit")?.unwrap_or(0),
            cursor: fields.number("cursor")?,
        }),
        "get_outcome" => Question::Outcome(id(fields)?),
        "list_sessions" => Question::Sessions {
            after: fields.text("after")?.map(Into::into),
            limit: fields.small("limit")?.unwrap_or(100),
        },
        "cancel" => Question::Cancel(id(fields)?),
        _ => return Ok(None),
    }))
}

fn envelope(name: &str, fields: &mut Fields) -> Result<Envelope, Failure> {
    Ok(Envelope {
        id: fields.text("id")?.map(Into::into),
        session: fields.text("session")?.map(Into::into),
        depends_on: {
            let ids = fields.texts("depends_on")?.unwrap_or_default();
            ids.into_iter().map(Into::into).collect()
        },
        if_session_version: fields.number("if_session_version")?,
        idempotency_key: fields.text("idempotency_key")?.map(Into::into),
        timeout_ms: fields.time("timeout")?,
        durability: fields.word("durability", Safety::ALL.map(|safety| (safety.name(), safety)))?,
        call: match name {
            "create_session" => Call::CreateSession,
            "load_session" => Call::LoadSession,
            "delete_session" => Call::DeleteSession,
            name => Call::Data(command(name, fields)?),
        },
    })
}

const CONDITIONS: [(&str, Condition); 2] =
    [("absent", Condition::Absent), ("present", Condition::Present)];
const EXPIRE_CONDITIONS: [(&str, ExpireCondition); 5] = [
    ("absent", ExpireCondition::Absent),
    ("present", ExpireCondition::Present),
    ("later", ExpireCondition::Later),
    ("earlier", ExpireCondition::Earlier),
    ("present_earlier", ExpireCondition::PresentEarlier),
];
const TIME_FORMS: [(&str, TimeForm); 4] = [
    ("seconds_left", TimeForm::SecondsLeft),
    ("millis_left", TimeForm::MillisLeft),
    ("unix_seconds", TimeForm::UnixSeconds),
    ("unix_millis", TimeForm::UnixMillis),
];
/// Keys of a page of a scan, as in Redis.
const COUNT: u32 = 10;

fn command(name: &str, fields: &mut Fields) -> Result<Command, Failure> {
    let key = |fields: &mut Fields| need("key", fields.bytes("key")?);
    let keys = |fields: &mut Fields| need("keys", fields.keys("keys")?);
    Ok(match name {
        "get" => Command::Get { key: key(fields)? },
        "set" => Command::Set {
            key: key(fields)?,
            value: need("value", fields.bytes("value")?)?,
            expiry: fields.expiry("expiry")?.unwrap_or(Expiry::None),
            condition: fields.word("condition", CONDITIONS)?,
            get: fields.flag("get")?.unwrap_or(false),
        },
        "getdel" => Command::GetDel { key: key(fields)? },
        "append" => {
            Command::Append { key: key(fields)?, value: need("value", fields.bytes("value")?)? }
        }
        "strlen" => Command::StrLen { key: key(fields)? },
        "incr" => Command::Incr { key: key(fields)?, by: fields.integer("by")?.unwrap_or(1) },
        "mget" => Command::MGet { keys: keys(fields)? },
        "mset" => Command::MSet { pairs: need("pairs", fields.pairs("pairs")?)? },
        "del" => Command::Del { keys: keys(fields)? },
        "exists" => Command::Exists { keys: keys(fields)? },
        "type" => Command::Type { key: key(fields)? },
        "ttl" => Command::Ttl {
            key: key(fields)?,
            form: fields.word("form", TIME_FORMS)?.unwrap_or(TimeForm::SecondsLeft),
        },
        "expire" => Command::Expire {
            key: key(fields)?,
            deadline: need("deadline", fields.deadline("deadline")?)?,
            condition: fields.word("condition", EXPIRE_CONDITIONS)?,
        },
        "persist" => Command::Persist { key: key(fields)? },
        "scan" => Command::Scan {
            after: fields.bytes("after")?,
            pattern: fields.bytes("pattern")?,
            count: fields.small("count")?.unwrap_or(COUNT),
        },
        "dbsize" => Command::DbSize,
        "flushall" => Command::FlushAll,
        other => unreachable!("{other} stands in the table of types"),
    })
}

/// The text of a request, which [`decode`] reads back. What is as it would be if it were left out
/// is left out.
pub fn encode(message: &Message) -> String {
    let mut out = Out(Map::new());
    if let Some(request) = &message.request {
        out.0.insert("request".to_owned(), request.clone());
    }
    match &message.ask {
        Ask::Command(envelope) => out.envelope(envelope),
        Ask::Question(question) => out.question(question),
        Ask::Subscribe { session } => {
            out.put("type", "subscribe");
            out.option("session", session.as_deref());
        }
        Ask::Authenticate { password } => {
            out.put("type", "authenticate");
            out.put("password", byte_string(password));
        }
        Ask::Unsubscribe { subscription } => {
            out.put("type", "unsubscribe");
            out.put("subscription", *subscription);
        }
    }
    Value::Object(out.0).to_string()
}

struct Out(Map<String, Value>);

impl Out {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    fn option(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    fn word<T: PartialEq>(&mut self, name: &str, all: &[(&'static str, T)], one: Option<&T>) {
        let word = one.and_then(|one| all.iter().find(|(_, other)| other == one));
        self.option(name, word.map(|(word, _)| *word));
    }

    fn envelope(&mut self, envelope: &Envelope) {
        let Envelope {
            id,
            session,
            depends_on,
            if_session_version,
            idempotency_key,
            timeout_ms,
            durability,
            call,
        } = envelope;
        self.put("type", call.name());
        self.option("id", id.as_deref());
        self.option("session", session.as_deref());
        if !depends_on.is_empty() {
            self.put("depends_on", depends_on.iter().map(|id| &**id).collect::<Vec<&str>>());
        }
        self.option("if_session_version", *if_session_version);
        self.option("idempotency_key", idempotency_key.as_deref());
        self.option("timeout", *timeout_ms);
        self.option("durability", durability.map(Safety::name));
        if let Call::Data(command) = call {
            self.command(command);
        }
    }

    fn command(&mut self, command: &Command) {
        let all =
            |keys: &[bytes::Bytes]| keys.iter().map(|key| byte_string(key)).collect::<Value>();
        match command {
            Command::Get { key }
            | Command::GetDel { key }
            | Command::StrLen { key }
            | Command::Type { key }
            | Command::Persist { key } => self.put("key", byte_string(key)),
            Command::Set { key, value, expiry, condition, get } => {
                self.put("key", byte_string(key));
                self.put("value", byte_string(value));
                match expiry {
                    Expiry::None => {}
                    Expiry::Keep => self.put("expiry", "keep"),
                    Expiry::By(deadline) => self.put("expiry", of_deadline(*deadline)),
                }
                self.word("condition", &CONDITIONS, condition.as_ref());
                self.option("get", get.then_some(true));
            }
            Command::Append { key, value } => {
                self.put("key", byte_string(key));
                self.put("value", byte_string(value));
            }
            Command::Incr { key, by } => {
                self.put("key", byte_string(key));
                self.put("by", *by);
            }
            Command::MGet { keys } | Command::Del { keys } | Command::Exists { keys } => {
                self.put("keys", all(keys));
            }
            Command::MSet { pairs } => {
                let pairs =
                    pairs.iter().map(|(key, value)| json!([byte_string(key), byte_string(value)]));
                self.put("pairs", pairs.collect::<Value>());
            }
            Command::Ttl { key, form } => {
                self.put("key", byte_string(key));
                self.word("form", &TIME_FORMS, Some(form));
            }
            Command::Expire { key, deadline, condition } => {
                self.put("key", byte_string(key));
                self.put("deadline", of_deadline(*deadline));
                self.word("condition", &EXPIRE_CONDITIONS, condition.as_ref());
            }
            Command::Scan { after, pattern, count } => {
                self.option("after", after.as_deref().map(byte_string));
                self.option("pattern", pattern.as_deref().map(byte_string));
                self.put("count", *count);
            }
            Command::DbSize | Command::FlushAll => {}
        }
    }

    fn question(&mut self, question: &Question) {
        match question {
            Question::Health => self.put("type", "health"),
            Question::RecoverySummary => self.put("type", "recovery_summary"),
            Question::History(filter) => {
                let Filter { session, server_only, id, from, to, outcome, limit, cursor } = filter;
                self.put("type", "get_command_history");
                self.option("session", session.as_deref());
                self.option("server_only", server_only.then_some(true));
                self.option("id", id.as_deref());
                self.option("from", from.map(|at| at.0));
                self.option("to", to.map(|at| at.0));
                self.option("outcome", outcome.as_deref());
                self.option("limit", (*limit > 0).then_some(*limit));
                self.option("cursor", *cursor);
            }
            Question::Outcome(id) => {
                self.put("type", "get_outcome");
                self.put("id", &**id);
            }
            Question::Sessions { after, limit } => {
                self.put("type", "list_sessions");
                self.option("after", after.as_deref());
                self.put("limit", *limit);
            }
            Question::Cancel(id) => {
                self.put("type", "cancel");
                self.put("id", &**id);
            }
        }
    }
}
