//! Transactions of all kinds: what each read, and must still have been so when it committed.

use std::collections::BTreeMap;

use orloj_invariants::engine::{Change, Look, WriteId, value};
use orloj_storage::{
    Error,
    database::{KeyRange, Keyspace, Value},
    locks::Mode,
    txn::{
        Isolation, Seen,
        single::{Access, Action, Row, SingleShot, Test},
    },
};

use super::{client::Client, life::Life};

/// What a transaction is going to write: by keyspace and key, the deadline if it is a put.
type Plan = BTreeMap<(u32, Vec<u8>), (Keyspace, Option<Option<u64>>)>;

impl Client {
    /// Up to four keys, most of them put.
    fn some_writes(&self) -> Plan {
        let mut plan = Plan::new();
        for _ in 0..self.below(5) {
            let Some(space) = self.some_space() else { break };
            let put = (self.below(4) > 0).then(|| self.some_deadline());
            plan.insert((space.id().0, self.some_key()), (space, put));
        }
        plan
    }

    /// What was seen of a key, as the witness keeps it; `None` if the value makes no sense.
    fn seen(
        &self,
        space: &Keyspace,
        key: &[u8],
        (seen, bytes): (Option<Seen>, &[u8]),
        now: u64,
    ) -> Option<Look> {
        let Life { db, recorder, .. } = &*self.life;
        let keyspace = space.id().0;
        let found = match seen.and_then(|seen| seen.version) {
            None => None,
            Some(version) => {
                let found = recorder.reads(keyspace, key, version.0, bytes)?;
                Some((found.version, found.write))
            }
        };
        Some(Look::at_key(keyspace, key, found, (now, now), recorder.latest(db)))
    }

    pub(super) async fn transact(&self) -> Result<(), Error> {
        let Life { db, recorder, .. } = &*self.life;
        let is_serializable = self.below(3) > 0;
        let isolation = if is_serializable { Isolation::Serializable } else { Isolation::Snapshot };
        let (begun, _, now) = recorder.begins_read(db);
        let mut transaction = db.begin(isolation)?;
        let version = transaction.version().0;
        let mut looks = Vec::new();
        for _ in 0..self.below(4) {
            let Some(space) = self.some_space() else { break };
            if self.below(3) == 0 {
                let (one, other) = (self.some_key(), self.some_key());
                let (from, to) = (one.clone().min(other.clone()), one.max(other));
                let range = KeyRange { from: &from, to: Some(&to) };
                let mut scan = transaction.scan(&space, range).await?;
                let mut found = Vec::new();
                while let Some(entry) = transaction.next(&mut scan).await? {
                    let version = entry.version.expect("it has written nothing yet").0;
                    found.extend(recorder.reads(space.id().0, entry.key, version, entry.value));
                }
                let (to, latest) = (Some(to), recorder.latest(db));
                let now = (now, now);
                looks.push(Look { keyspace: space.id().0, from, to, found, now, latest });
            } else {
                let (key, mut bytes) = (self.some_key(), Vec::new());
                let seen = transaction.get(&space, &key, &mut bytes).await?;
                looks.extend(self.seen(&space, &key, (seen, &bytes), now));
            }
        }
        for look in &looks {
            recorder.shows(db, look.clone(), (version, version), begun);
        }
        let plan = self.some_writes();
        if plan.is_empty() {
            return transaction.commit().await.map(|_| ());
        }
        let rests_on = if is_serializable { looks } else { Vec::new() };
        let since = (!is_serializable).then_some(version);
        let id = self.begins(changes(&plan), rests_on, since);
        for ((keyspace, key), (space, put)) in &plan {
            let done = match put {
                Some(deadline) => {
                    let bytes = value(id, *keyspace, key);
                    transaction.put(space, key, Value { bytes: &bytes, deadline: *deadline })
                }
                None => transaction.delete(space, key),
            };
            if let Err(error) = done {
                recorder.came_to_nothing(id);
                return Err(error);
            }
        }
        if self.below(8) == 0 {
            // Dropped, it never was.
            recorder.came_to_nothing(id);
            return Ok(());
        }
        self.ends(id, transaction.commit().await)
    }

    pub(super) async fn transact_locked(&self) -> Result<(), Error> {
        let Life { db, recorder, .. } = &*self.life;
        let (_, _, now) = recorder.begins_read(db);
        let mut transaction = db.begin_locked()?;
        let plan = self.some_writes();
        if self.below(2) == 0 {
            let set: Vec<(&Keyspace, &[u8], Mode)> = plan
                .iter()
                .map(|((_, key), (space, _))| (space, key.as_slice(), Mode::Update))
                .collect();
            transaction.lock(&set).await?;
        }
        let mut looks = Vec::new();
        for _ in 0..1 + self.below(3) {
            let Some(space) = self.some_space() else { break };
            if self.below(4) == 0 {
                let (one, other) = (self.some_key(), self.some_key());
                let (from, to) = (one.clone().min(other.clone()), one.max(other));
                let range = KeyRange { from: &from, to: Some(&to) };
                let mut scan = transaction.scan(&space, range).await?;
                let mut found = Vec::new();
                while let Some(entry) = transaction.next(&mut scan).await? {
                    let version = entry.version.expect("it has written nothing yet").0;
                    found.extend(recorder.reads(space.id().0, entry.key, version, entry.value));
                }
                let (to, latest) = (Some(to), recorder.latest(db));
                let now = (now, now);
                looks.push(Look { keyspace: space.id().0, from, to, found, now, latest });
            } else {
                let (key, mut bytes) = (self.some_key(), Vec::new());
                let writes = plan.contains_key(&(space.id().0, key.clone()));
                let mode = if writes || self.below(2) == 0 { Mode::Update } else { Mode::Shared };
                let seen = transaction.get(&space, &key, mode, &mut bytes).await?;
                looks.extend(self.seen(&space, &key, (seen, &bytes), now));
            }
        }
        let id = self.begins(changes(&plan), looks, None);
        for ((keyspace, key), (space, put)) in &plan {
            let done = match put {
                Some(deadline) => {
                    let bytes = value(id, *keyspace, key);
                    let value = Value { bytes: &bytes, deadline: *deadline };
                    transaction.put(space, key, value).await
                }
                None => transaction.delete(space, key).await,
            };
            if let Err(error) = done {
                recorder.came_to_nothing(id);
                return Err(error);
            }
        }
        if plan.is_empty() {
            // Of one that writes nothing the version is one at which all of it was so.
            recorder.came_to_nothing(id);
            return transaction.commit().await.map(|_| ());
        }
        self.ends(id, transaction.commit().await)
    }

    /// Puts two keys if a third still is as it was seen.
    pub(super) async fn shoot(&self, space: &Keyspace) -> Result<(), Error> {
        let Life { db, recorder, .. } = &*self.life;
        let (seen_key, put_key) = (self.some_key(), self.some_key());
        if seen_key == put_key {
            return Ok(());
        }
        let (look, _) = self.look_up(space, &seen_key).await?;
        let Some(look) = look else { return Ok(()) };
        let keyspace = space.id().0;
        let test = match look.found.first() {
            None => Test::NotExists,
            Some(found) => {
                let bytes = value(found.write, keyspace, &seen_key);
                Test::BytesHashEq(*blake3::hash(&bytes[1..]).as_bytes())
            }
        };
        let put = |key: &[u8]| Change::Put { keyspace, key: key.to_vec(), deadline: None };
        let id: WriteId = self.begins(vec![put(&seen_key), put(&put_key)], vec![look], None);
        let row = |id, key| Row { id, access: Access::Write, keyspace: space.id(), key };
        let rows = vec![row(1, seen_key.as_slice()), row(2, put_key.as_slice())];
        let (one, other) = (value(id, keyspace, &seen_key), value(id, keyspace, &put_key));
        let actions = [
            (2, Action::Put { value: &other, deadline: None }),
            (1, Action::Put { value: &one, deadline: None }),
        ];
        let shot = SingleShot::new(rows, &[(1, test)], &actions).expect("the shot makes sense");
        match db.execute(&shot).await {
            Ok(outcome) if outcome.result.is_err() => {
                recorder.came_to_nothing(id);
                Ok(())
            }
            done => self.ends(id, done.map(|outcome| outcome.version)),
        }
    }
}

fn changes(plan: &Plan) -> Vec<Change> {
    let change = |((keyspace, key), (_, put)): (&(u32, Vec<u8>), &(Keyspace, Option<_>))| {
        let (keyspace, key) = (*keyspace, key.clone());
        match put {
            Some(deadline) => Change::Put { keyspace, key, deadline: *deadline },
            None => Change::Delete { keyspace, key },
        }
    };
    plan.iter().map(change).collect()
}
