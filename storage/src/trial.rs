//! A small database over the engine, for its tests: one writer that waits for everything, and a
//! model that knows what any recovery may find.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use orloj_kernel::{Context, OpenMode};

use crate::{
    Durability, Error, KeyspaceId, Lsn, Options, Retention,
    checkpoint::{Checkpoint, Checkpointed},
    engine::Engine,
    journal::{AppendError, Log, Records},
    record::Op,
    recover::{self, Opened, Report},
    tree::{Attempt, Cursor, Pause},
    vlog::Appender,
};

/// Keeps the newest version of each key.
pub(crate) const NEWEST: KeyspaceId = KeyspaceId(16);
/// Keeps every version.
pub(crate) const ALL: KeyspaceId = KeyspaceId(17);

/// What a transaction of a trial does: keys with their new values, in one keyspace.
pub(crate) type Change = (KeyspaceId, Vec<(Vec<u8>, Option<Vec<u8>>)>);
/// The keys of a keyspace and their values.
type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// Everything ever asked for, by version: the first is version 1.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) history: Vec<Change>,
    /// How many of them no crash may take back.
    pub(crate) durable: usize,
}

impl Model {
    /// A keyspace after the first `upto` changes. The first two make the keyspaces.
    pub(crate) fn state(&self, of: KeyspaceId, upto: usize) -> State {
        let mut state = State::new();
        for (keyspace, writes) in &self.history[..upto] {
            if *keyspace != of {
                continue;
            }
            for (key, value) in writes {
                match value {
                    Some(value) => state.insert(key.clone(), value.clone()),
                    None => state.remove(key),
                };
            }
        }
        state
    }
}

/// Why a trial's database ended its life.
#[derive(Debug)]
pub(crate) enum End {
    Engine(Error),
    /// Whether records are in the journal may be unknown.
    Journal(#[expect(dead_code, reason = "for whoever reads why a trial failed")] AppendError),
}

impl From<Error> for End {
    fn from(error: Error) -> End {
        End::Engine(error)
    }
}

/// A database of a trial.
pub(crate) struct Trial {
    pub(crate) engine: Arc<Engine>,
    pub(crate) log: Log,
    pub(crate) values: Appender,
    pub(crate) report: Report,
    _lock: Box<dyn orloj_kernel::RawLock>,
}

/// Small pages, small segments, little memory.
pub(crate) fn options() -> Options {
    Options {
        page_bytes: 4096,
        inline_bytes: 300,
        cache_bytes: 64 * 4096,
        segment_bytes: 64 << 10,
        checkpoint_every: Duration::from_secs(1),
        ..Options::new("db", Durability::Strict)
    }
}

impl Trial {
    pub(crate) async fn open(cx: Context) -> Result<Trial, Error> {
        Trial::open_with(cx, options()).await
    }

    pub(crate) async fn open_with(cx: Context, options: Options) -> Result<Trial, Error> {
        let Opened { engine, log, values, lock, report } =
            recover::open(cx, &options, None).await?;
        Ok(Trial { engine, log, values, report, _lock: lock })
    }

    /// Asks until there is an answer.
    pub(crate) async fn resolve<T>(&self, ask: impl FnMut() -> Attempt<T>) -> Result<T, Error> {
        match self.engine.answer(ask).await {
            Ok(answer) => Ok(answer),
            Err(Pause::Failed(error)) => Err(error),
            Err(pause) => panic!("one transaction is no batch: {pause:?}"),
        }
    }

    /// Commits a change in memory. The first two make the keyspaces.
    pub(crate) async fn commit(&self, model: &mut Model, mut change: Change) -> Result<Lsn, Error> {
        let create = [(NEWEST, "newest", Retention::default()), (ALL, "all", Retention::All)];
        if model.history.len() < create.len() {
            change.1.clear();
        }
        let (keyspace, writes) = &change;
        let ops: Vec<Op<'_>> = match create.get(model.history.len()) {
            Some((keyspace, name, keep)) => {
                vec![Op::Create { keyspace: *keyspace, name, keep: *keep }]
            }
            None => writes
                .iter()
                .map(|(key, value)| match value {
                    Some(value) => Op::Put { keyspace: *keyspace, key, value, deadline: None },
                    None => Op::Delete { keyspace: *keyspace, key },
                })
                .collect(),
        };
        let version = self.resolve(|| self.engine.tree().commit(&[], &ops)).await?;
        model.history.push(change);
        assert_eq!(version, Lsn(model.history.len() as u64));
        Ok(version)
    }

    /// Makes everything committed durable.
    pub(crate) async fn flush(&mut self, model: &mut Model) -> Result<(), End> {
        let mut records = Records::new();
        let tail = self.engine.tree().tail();
        let last = tail.drain(&mut records);
        if !records.is_empty() {
            self.log.append(&[records], true).await.map_err(End::Journal)?;
        }
        tail.durable(last);
        model.durable = last.0 as usize;
        Ok(())
    }

    /// A checkpoint of all that is committed, and then the journal is trimmed.
    pub(crate) async fn checkpoint(&mut self, model: &mut Model) -> Result<Checkpointed, End> {
        self.flush(model).await?;
        let done = Checkpoint::begin(&self.engine).write(&mut self.values).await?;
        self.log.trim(done.keep).await.map_err(|e| End::Engine(e.into()))?;
        Ok(done)
    }

    /// Everything in a keyspace at `at`.
    pub(crate) async fn scan(&self, of: KeyspaceId, at: Lsn) -> Result<State, Error> {
        let keyspace = self.engine.tree().keyspace(of)?;
        let mut cursor = Cursor::new(&keyspace, b"", None, at)?;
        let mut found = State::new();
        loop {
            let item = self
                .resolve(|| {
                    let item = cursor.next()?;
                    Ok(item.map(|i| (i.key.to_vec(), i.version, i.value.to_vec(), i.pointer)))
                })
                .await?;
            let Some((key, version, mut value, pointer)) = item else { return Ok(found) };
            if let Some(at) = pointer {
                value = self.engine.value(at, of, &key, version).await?.to_vec();
            }
            found.insert(key, value);
        }
    }

    /// Compares everything with the model: now, and at an older version that is kept.
    pub(crate) async fn compare(&self, model: &Model, older: usize) -> Result<(), Error> {
        let now = model.history.len();
        if now < 2 {
            return Ok(());
        }
        for (of, at) in [(NEWEST, now), (ALL, now), (ALL, older.clamp(2, now))] {
            let found = self.scan(of, Lsn(at as u64)).await?;
            let expected = model.state(of, at);
            let differs = |key: &&Vec<u8>| found.get(*key) != expected.get(*key);
            let keys = found.keys().chain(expected.keys());
            let first = keys.filter(differs).map(|key| String::from_utf8_lossy(key)).next();
            assert_eq!(first, None, "keyspace {of} at {at} of {now}: this key differs");
        }
        Ok(())
    }

    /// What recovery found must be a beginning of what was asked for, with all that is durable.
    pub(crate) fn recovered(&self, model: &mut Model) {
        let last = self.engine.tree().tail().assigned().0 as usize;
        assert!(last >= model.durable, "{last} of {} durable changes", model.durable);
        assert!(last <= model.history.len(), "{last} of {} changes", model.history.len());
        model.history.truncate(last);
        model.durable = last;
    }
}

/// Every file below `dir`, as it is.
pub(crate) async fn files(cx: Context, dir: &str) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in cx.list(dir).await.expect("a disk that works") {
        let path = format!("{dir}/{}", entry.name);
        if entry.is_dir {
            found.extend(Box::pin(files(cx, &path)).await);
        } else {
            let file = cx.open(&path, OpenMode::Read).await.expect("a disk that works");
            let bytes = file.read_at(0, entry.len as usize).await.expect("a disk that works");
            found.insert(path, bytes);
        }
    }
    found
}

/// Damages a file.
pub(crate) async fn overwrite(cx: Context, path: &str, at: u64, bytes: Vec<u8>) {
    let file = cx.open(path, OpenMode::Write).await.expect("a disk that works");
    file.write_sync(at, bytes).await.expect("a disk that works");
}

/// Changes drawn from a seed.
#[derive(Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// One to four keys out of `keys`, with short and sometimes long values.
    pub(crate) fn change(&mut self, keys: u64) -> Change {
        let keyspace = if self.below(4) == 0 { ALL } else { NEWEST };
        let mut writes: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        for _ in 0..1 + self.below(4) {
            let key = format!("key {:05}", self.below(keys)).into_bytes();
            let len = match self.below(12) {
                0 => 300 + self.below(3000),
                _ => self.below(120),
            };
            let fill = self.below(256) as u8;
            let value = (self.below(6) > 0).then(|| vec![fill; len as usize]);
            writes.insert(key, value);
        }
        (keyspace, writes.into_iter().collect())
    }
}
