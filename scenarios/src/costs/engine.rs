//! Operations of the storage engine's users, in the process that has it open.

use std::time::Duration;

use orloj_kernel::Context;
use orloj_storage::{
    Database, Durability, Error, Options, Retention, database::Keyspace, txn::Isolation,
};

use super::{Cost, Meter, Sums, VALUE, calm, key, set_disk};
use crate::node::NODE;

/// How often an operation is done that is counted.
const TIMES: u64 = 200;
/// Keys that are there before.
const KEYS: u64 = 1_000;
/// Keys that a scan shows, and that are written between two checkpoints.
const MANY: u64 = 100;

pub(super) fn all() -> Result<Vec<Cost>, String> {
    let strict = Durability::Strict;
    Ok(vec![
        cost("engine.put.strict", TIMES, world(strict, put))?,
        cost("engine.put.buffered", TIMES, world(Durability::Buffered, put))?,
        cost("engine.put.in_memory", TIMES, world(Durability::InMemory, put))?,
        cost("engine.get", TIMES, world(strict, get))?,
        cost("engine.scan-of-100", TIMES / 10, world(strict, scan))?,
        cost("engine.transaction.strict", TIMES, world(strict, transaction))?,
        cost("engine.checkpoint-of-100", TIMES / 20, world(strict, checkpoint))?,
        cost("engine.open", 1, world(strict, open))?,
    ])
}

fn cost(name: &str, times: u64, figures: Result<Sums, String>) -> Result<Cost, String> {
    let Sums(figures) = figures.map_err(|why| format!("{name}: {why}"))?;
    Ok(Cost { name: name.to_owned(), times, figures })
}

/// A database with its keys, and a user of it.
struct User {
    cx: Context,
    db: Database,
    space: Keyspace,
}

fn options(durability: Durability) -> Options {
    Options { sweeps: false, ..Options::new("data", durability) }
}

fn world<F>(
    durability: Durability,
    drive: impl FnOnce(User) -> F + Send + 'static,
) -> Result<Sums, String>
where
    F: Future<Output = Result<Sums, Error>> + Send + 'static,
{
    let mut sim = calm();
    let cx = sim.idle_host(NODE);
    set_disk(&mut sim);
    let ended = sim.run(cx, async move {
        let db = match durability {
            Durability::InMemory => Database::in_memory(cx, options(durability))?,
            _ => Database::open(cx, options(durability)).await?.0,
        };
        let space = db.create_keyspace("space", Retention::default()).await?;
        let user = User { cx, db, space };
        user.put(0..KEYS).await?;
        drive(user).await
    });
    let ended = ended.map_err(|failure| format!("{}: {}", failure.law, failure.evidence))?;
    ended.map_err(|error| error.to_string())
}

impl User {
    async fn put(&self, numbers: std::ops::Range<u64>) -> Result<(), Error> {
        for number in numbers {
            self.db.put(&self.space, &key(number), VALUE.into()).await?;
        }
        Ok(())
    }
}

async fn put(user: User) -> Result<Sums, Error> {
    let meter = Meter::start();
    user.put(KEYS..KEYS + TIMES).await?;
    Ok(meter.stop())
}

async fn get(user: User) -> Result<Sums, Error> {
    let snapshot = user.db.snapshot()?;
    let mut value = Vec::new();
    let meter = Meter::start();
    for number in 0..TIMES {
        user.db.get(&user.space, &key(number * 5), &mut value).await?;
    }
    let sums = meter.stop();
    drop(snapshot);
    Ok(sums)
}

async fn scan(user: User) -> Result<Sums, Error> {
    let meter = Meter::start();
    for number in 0..TIMES / 10 {
        let snapshot = user.db.snapshot()?;
        let (from, to) = (key(number * 10), key(number * 10 + MANY));
        let range = (from.as_slice()..to.as_slice()).into();
        let mut cursor = user.db.cursor(&user.space, range, &snapshot)?;
        while cursor.next().await?.is_some() {}
    }
    Ok(meter.stop())
}

/// Two keys read and two written.
async fn transaction(user: User) -> Result<Sums, Error> {
    let mut value = Vec::new();
    let meter = Meter::start();
    for number in 0..TIMES {
        let mut transaction = user.db.begin(Isolation::Serializable)?;
        for key in [key(number), key(number + MANY)] {
            transaction.get(&user.space, &key, &mut value).await?;
            transaction.put(&user.space, &key, VALUE.into())?;
        }
        transaction.commit().await?;
    }
    Ok(meter.stop())
}

async fn checkpoint(user: User) -> Result<Sums, Error> {
    let mut sums = Sums::default();
    for round in 0..TIMES / 20 {
        user.put(round * MANY..(round + 1) * MANY).await?;
        let meter = Meter::start();
        user.db.checkpoint().await?;
        sums += meter.stop();
    }
    Ok(sums)
}

/// Opens what a process before it has closed in order.
async fn open(user: User) -> Result<Sums, Error> {
    let User { cx, db, space } = user;
    drop(space);
    db.close().await?;
    cx.sleep(Duration::from_secs(1)).await;
    let meter = Meter::start();
    let (db, _) = Database::open(cx, options(Durability::Strict)).await?;
    let sums = meter.stop();
    drop(db);
    Ok(sums)
}
