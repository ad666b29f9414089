//! What a key went through: the engine's account beside the model's.

use orloj_invariants::{
    About, History, Model, Moment, Timeline, engine, show_answer, show_bytes, show_command,
};
use orloj_net::{Key, UnixMs};

/// One key.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The key, as in evidence.
    pub key: String,
    /// What touched it, in order.
    pub rows: Vec<Row>,
}

/// One thing that touched a key.
#[derive(Clone, Debug)]
pub struct Row {
    /// Simulated nanoseconds.
    pub at: u64,
    /// Whose doing it was.
    pub who: String,
    /// What was done.
    pub what: String,
    /// What the engine said.
    pub seen: String,
    /// What the model says.
    pub expected: String,
    /// Whether they contradict each other.
    pub wrong: bool,
}

/// Keys of a violation that are shown.
const KEYS: usize = 4;
/// Rows of each: the last before the violation, and those after.
const ROWS: usize = 40;

/// The ledgers of the keys that a violation in a node's history is about.
pub(crate) fn of_node(history: &History, when: Moment, about: &About) -> Vec<Ledger> {
    let timeline = Timeline::new(history);
    about.keys.iter().take(KEYS).map(|key| of_key(&timeline, when, key)).collect()
}

fn of_key(timeline: &Timeline<'_>, when: Moment, key: &Key) -> Ledger {
    let history = timeline.history;
    let mut rows = Vec::new();
    for (life, (l, steps)) in history.lives.iter().zip(&timeline.steps).enumerate() {
        let mut model = timeline.store_at(life, l.recovered);
        rows.push(Row {
            at: l.began.0,
            who: format!("life {}", life + 1),
            what: format!("recovered turn {}", l.recovered),
            seen: String::new(),
            expected: held(&model, key, UnixMs(0)),
            wrong: false,
        });
        for step in steps {
            let executed = timeline.executed(step.place);
            // What the model would have answered is in the step already.
            let _ = model.judge(&executed.command, executed.at, &executed.answer);
            if !executed.command.keys().any(|k| k == key) {
                continue;
            }
            let says = step.expected.as_ref().map(|answer| format!("{}; ", show_answer(answer)));
            let now = held(&model, key, executed.at);
            rows.push(Row {
                at: executed.seen.0,
                who: executed.op.map_or("nobody".to_owned(), |op| op.to_string()),
                what: format!("{}, turn {}", show_command(&executed.command), executed.version),
                seen: show_answer(&executed.answer),
                expected: format!("{}{now}", says.unwrap_or_default()),
                wrong: step.expected.is_some(),
            });
        }
    }
    for dump in &history.dumps {
        let found = dump.entries.iter().find(|entry| entry.key == *key);
        let seen = found.map_or("holds nothing".to_owned(), |e| holds(&e.value));
        let expected = held(&timeline.last, key, dump.at);
        rows.push(Row {
            at: dump.seen.0,
            who: "judge".to_owned(),
            what: format!("read whole, {} recoveries later", dump.recoveries),
            wrong: seen != expected,
            seen,
            expected,
        });
    }
    rows.sort_by_key(|row| row.at);
    Ledger { key: show_bytes(key), rows: around(rows, when) }
}

/// What a key holds by the model.
fn held(model: &Model, key: &Key, now: UnixMs) -> String {
    let entry = model.entries(now).find(|(k, ..)| *k == key);
    entry.map_or("holds nothing".to_owned(), |(_, value, _)| holds(value))
}

fn holds(value: &orloj_net::Value) -> String {
    format!("holds {}", show_bytes(value.as_ref()))
}

/// The rows around a moment.
fn around(mut rows: Vec<Row>, when: Moment) -> Vec<Row> {
    let before = rows.partition_point(|row| row.at <= when.0);
    rows.drain(..before.saturating_sub(ROWS));
    rows.truncate(ROWS + ROWS / 2);
    rows
}

/// The ledgers of the keys that a violation in the history of an engine by itself is about. The
/// model is that of the writes which were acknowledged.
pub(crate) fn of_engine(history: &engine::History, when: Moment, about: &About) -> Vec<Ledger> {
    let mut model = engine::Model::default();
    for (id, write) in history.writes.iter().enumerate() {
        if let engine::Told::Version { version, .. } = write.told {
            model.apply(id, version, &write.changes);
        }
    }
    let of_key = |key: &Key| {
        let key: &[u8] = key;
        let mut rows = Vec::new();
        for (id, write) in history.writes.iter().enumerate() {
            let touches = |change: &&engine::Change| match change {
                engine::Change::Put { key: k, .. } | engine::Change::Delete { key: k, .. } => {
                    k == key
                }
                engine::Change::Clear(_) | engine::Change::Drop(_) => false,
            };
            for change in write.changes.iter().filter(touches) {
                let (seen, at) = match write.told {
                    engine::Told::Nothing => ("nobody was told".to_owned(), write.invoked),
                    engine::Told::Refused => ("refused".to_owned(), write.invoked),
                    engine::Told::TakenBack { .. } => ("taken back".to_owned(), write.invoked),
                    engine::Told::Version { at, version, .. } => (format!("version {version}"), at),
                };
                rows.push(Row {
                    at: at.0,
                    who: format!("write {id}"),
                    what: match change {
                        engine::Change::Put { keyspace, .. } => format!("put in {keyspace}"),
                        _ => "delete".to_owned(),
                    },
                    seen,
                    expected: String::new(),
                    wrong: false,
                });
            }
        }
        for read in &history.reads {
            let look = &read.look;
            let inside = *look.from <= *key && look.to.as_ref().is_none_or(|to| key < &to[..]);
            if !inside {
                continue;
            }
            let found = look.found.iter().find(|found| found.key == key);
            let seen = found.map(|found| (found.version, found.write));
            let entry = model.get(look.keyspace, key, read.at.1);
            let told = entry.filter(|entry| entry.put.is_some()).map(|e| (e.version, e.write));
            let words = |entry: Option<(u64, usize)>| match entry {
                None => "nothing".to_owned(),
                Some((version, write)) => format!("write {write}, version {version}"),
            };
            rows.push(Row {
                at: read.done.0,
                who: "reader".to_owned(),
                what: format!("read at version {} of {}", read.at.1, look.keyspace),
                seen: words(seen),
                expected: words(told),
                wrong: seen != told,
            });
        }
        rows.sort_by_key(|row| row.at);
        Ledger { key: show_bytes(key), rows: around(rows, when) }
    };
    about.keys.iter().take(KEYS).map(of_key).collect()
}
