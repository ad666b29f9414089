//! What looks at all keys.

use bytes::Bytes;
use orloj_net::{Answer, Command, Key, UnixMs, glob_matches};
use orloj_storage::{Error, database::KeyRange};

use super::{Store, execute::count, name};

/// Most keys that one page of a scan examines, whatever was asked for.
const PAGE_MAX: usize = 10_000;
/// Entries of the index of deadlines that are looked at together.
const STEP: usize = 256;

impl Store {
    /// Carries out a command that looks at all keys. What this turn changed so far is committed for
    /// that.
    ///
    /// # Errors
    /// What the engine says.
    pub(crate) async fn walk(&mut self, command: &Command) -> Result<Answer, Error> {
        match command {
            Command::Scan { after, pattern, count } => {
                self.scan(after.as_ref(), pattern.as_ref(), *count).await
            }
            Command::DbSize => {
                let dead = self.dead().await?;
                Ok(count(self.counts.keys as usize - dead))
            }
            other => unreachable!("{} names its keys", other.name()),
        }
    }

    async fn scan(
        &mut self,
        after: Option<&Key>,
        pattern: Option<&Bytes>,
        wanted: u32,
    ) -> Result<Answer, Error> {
        let at = self.db.newest_snapshot()?;
        // Right behind it: no key lies between.
        let from = after.map_or(Vec::new(), |key| [&name::of(key)[..], &[0]].concat());
        let mut rest = self.db.keys(&self.strings, KeyRange { from: &from, to: None }, &at)?;
        let wanted = (wanted as usize).min(PAGE_MAX);
        let (mut examined, mut last, mut keys) = (0, None, Vec::new());
        while let Some(item) = rest.next().await? {
            if item.deadline.is_some_and(|deadline| UnixMs(deadline) <= self.clock) {
                continue;
            }
            if examined == wanted {
                return Ok(Answer::Page { next: last, keys });
            }
            examined += 1;
            let key = Bytes::copy_from_slice(name::client(item.key));
            if pattern.is_none_or(|glob| glob_matches(glob, &key)) {
                keys.push(key.clone());
            }
            last = Some(key);
        }
        Ok(Answer::Page { next: None, keys })
    }

    /// How many keys are dead and not yet deleted.
    async fn dead(&mut self) -> Result<usize, Error> {
        let (mut after, mut dead) = (self.sweeper.clone(), 0);
        loop {
            let due = self.db.due(after.as_ref(), self.clock.0, STEP).await?;
            for entry in &due {
                if let Some((at, keyspace, key)) = entry.what()
                    && keyspace == self.strings.id()
                {
                    dead += usize::from(self.holds_until(name::client(key), UnixMs(at)).await?);
                }
            }
            match due.len() < STEP {
                true => return Ok(dead),
                false => after = due.last().cloned(),
            }
        }
    }

    /// Whether `key` holds something, and until then.
    async fn holds_until(&mut self, key: &[u8], deadline: UnixMs) -> Result<bool, Error> {
        let is_it = |entry: &super::Entry| entry.deadline == Some(deadline);
        if let Some(row) = self.rows.get(key) {
            return Ok(row.entry.as_ref().is_some_and(is_it));
        }
        let row = self.read(key).await?;
        let holds = row.entry.as_ref().is_some_and(is_it);
        self.rows.insert(key, row);
        Ok(holds)
    }

    /// Deletes at most `limit` keys that are dead, with the next commit. What cannot be read is
    /// tried again when more keys have died.
    ///
    /// # Errors
    /// What the engine says.
    pub(crate) async fn sweep(&mut self, limit: usize) -> Result<(), Error> {
        self.backlog = false;
        let due = self.db.due(self.sweeper.as_ref(), self.clock.0, limit).await?;
        let mut stale = Vec::new();
        for entry in &due {
            match entry.what() {
                Some((at, keyspace, key)) if keyspace == self.strings.id() => {
                    let key = name::client(key);
                    if self.holds_until(key, UnixMs(at)).await? {
                        let gone = self.replace(key, None);
                        assert_eq!(gone, Ok(()), "its row was looked at");
                        continue;
                    }
                }
                _ => {}
            }
            // Its key was cleared with all others.
            stale.push(entry.clone());
        }
        self.backlog = due.len() == limit;
        self.sweeper = due.last().cloned().or(self.sweeper.take());
        self.swept.extend(stale);
        Ok(())
    }
}
