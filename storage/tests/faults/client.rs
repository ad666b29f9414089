//! A client: a drawn series of operations, each told to the model before and after.

use std::time::Duration;

use orloj_kernel::Context;
use orloj_storage::{
    Database, Durability, Error, Lsn, Verdict, database::Keyspace, locks::Mode, txn::Isolation,
};

use crate::{
    everything,
    model::{KEYS, Shared, key, value},
};

/// Operations of a client in one life.
const OPERATIONS: u64 = 40;

struct Client {
    cx: Context,
    db: Database,
    data: Keyspace,
    shared: Shared,
}

/// Works until it has done enough, or nothing can be written any more.
pub(crate) async fn work(cx: Context, db: Database, data: Keyspace, shared: Shared) {
    let client = Client { cx, db, data, shared };
    for _ in 0..OPERATIONS {
        if let Err(error) = client.operate().await {
            match error.verdict() {
                Verdict::Halt => return,
                _ => cx.sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

impl Client {
    fn any_key(&self) -> u64 {
        self.cx.below(KEYS)
    }

    async fn operate(&self) -> Result<(), Error> {
        match self.cx.below(16) {
            0..5 => self.write(true).await,
            5 => self.write(false).await,
            6 => self.compare_and_set().await,
            7 | 8 => self.transact().await,
            9 => self.transact_locked().await,
            10 | 11 => self.read().await,
            12 | 13 => self.scan().await,
            14 => self.db.checkpoint().await.map(|_| ()),
            _ => {
                self.cx.sleep(Duration::from_millis(self.cx.below(30))).await;
                Ok(())
            }
        }
    }

    /// Tells the model what became of a write. What is only buffered may still come to nothing.
    fn told(&self, write: usize, told: Result<Lsn, Error>) -> Result<(), Error> {
        let is_strict = self.db.options().durability == Durability::Strict;
        if is_strict || told.is_err() {
            self.shared.end(write, &told);
        }
        told.map(|_| ())
    }

    async fn write(&self, is_put: bool) -> Result<(), Error> {
        let of = self.any_key();
        let write = self.shared.begin(&[(of, is_put)]);
        let (key, value) = (key(of), value(write, of));
        if self.db.options().durability == Durability::Buffered && self.cx.below(2) == 0 {
            let assigned = loop {
                let tried = match is_put {
                    true => self.db.try_put(&self.data, &key, (&value).into()),
                    false => self.db.try_delete(&self.data, &key),
                };
                match tried {
                    Ok(assigned) => break assigned,
                    Err(pause) => {
                        if let Err(error) = self.db.resolve(pause).await {
                            self.shared.end(write, &Err(error.clone()));
                            return Err(error);
                        }
                    }
                }
            };
            let durable = self.db.durable(assigned).await;
            self.shared.end(write, &durable);
            return durable.map(|_| ());
        }
        let done = match is_put {
            true => self.db.put(&self.data, &key, (&value).into()).await,
            false => self.db.delete(&self.data, &key).await,
        };
        self.told(write, done)
    }

    async fn compare_and_set(&self) -> Result<(), Error> {
        let of = self.any_key();
        let found = self.db.get(&self.data, &key(of), &mut Vec::new()).await?;
        let write = self.shared.begin(&[(of, true)]);
        let (key, value, expected) = (key(of), value(write, of), found.unwrap_or_default());
        let to = Some((&value).into());
        let done = self.db.compare_and_set(&self.data, &key, expected, to).await;
        self.told(write, done)
    }

    async fn transact(&self) -> Result<(), Error> {
        let mut transaction = self.db.begin(Isolation::Serializable)?;
        let keys: Vec<u64> = (0..1 + self.cx.below(3)).map(|_| self.any_key()).collect();
        transaction.get(&self.data, &key(self.any_key()), &mut Vec::new()).await?;
        let mut keys: Vec<(u64, bool)> =
            keys.into_iter().map(|of| (of, self.cx.below(4) > 0)).collect();
        keys.sort_unstable();
        keys.dedup_by_key(|(of, _)| *of);
        let write = self.shared.begin(&keys);
        for (of, is_put) in keys {
            match is_put {
                true => transaction.put(&self.data, &key(of), (&value(write, of)).into())?,
                false => transaction.delete(&self.data, &key(of))?,
            }
        }
        self.told(write, transaction.commit().await)
    }

    async fn transact_locked(&self) -> Result<(), Error> {
        let (one, other) = (self.any_key(), self.any_key());
        let mut transaction = self.db.begin_locked()?;
        let mut bytes = Vec::new();
        transaction.get(&self.data, &key(one), Mode::Update, &mut bytes).await?;
        let mut keys = vec![(one, true), (other, true)];
        keys.dedup();
        let write = self.shared.begin(&keys);
        for (of, _) in keys {
            let put = transaction.put(&self.data, &key(of), (&value(write, of)).into()).await;
            if let Err(error) = put {
                drop(transaction);
                self.shared.end(write, &Err(Error::Over));
                return Err(error);
            }
        }
        self.told(write, transaction.commit().await)
    }

    async fn read(&self) -> Result<(), Error> {
        let (of, known) = (self.any_key(), self.shared.known());
        let mut bytes = Vec::new();
        let found = self.db.get(&self.data, &key(of), &mut bytes).await?;
        self.shared.check(&known, of, found.map(|version| (version, &bytes[..])));
        Ok(())
    }

    async fn scan(&self) -> Result<(), Error> {
        let known = self.shared.known();
        let seen = everything(&self.db, &self.data).await?;
        self.shared.check_scan(&known, &seen);
        Ok(())
    }
}
