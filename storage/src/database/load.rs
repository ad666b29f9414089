//! Loading a whole keyspace.

use super::{Database, Keyspace};
use crate::{
    Error, Lsn, Verdict,
    bulk::Load,
    engine::Engine,
    page::{Claim, PagePtr},
    record::Op,
};

impl Database {
    /// Has a keyspace hold `entries`, which ascend by key, and nothing else: what was in it before
    /// is cleared. Nobody sees any of it before all is there, and snapshots taken before never do.
    /// It is durable on return, whatever the mode.
    ///
    /// The entries do not pass through the journal, nor through memory: leaves are filled to three
    /// quarters and written to `data.pages` as they come. So it costs a tenth of what puts do.
    /// All entries are of one version, which is older than the one returned, since which the
    /// keyspace holds them. Values have 65,535 bytes at most and stay in their leaves, however
    /// long.
    ///
    /// # Errors
    /// [`Error::LoadOrder`] if a key is not behind the one before it, [`Error::KeyLength`],
    /// [`Error::ValueLength`], [`Error::NoKeyspace`]; [`Error::RolledBack`] if the disk took no
    /// writes meanwhile. The keyspace then is what it was.
    pub async fn load_keyspace<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        into: &Keyspace,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Lsn, Error> {
        self.check_open()?;
        self.check_own(into)?;
        let Some(files) = &self.0.files else { return self.load_in_memory(into, entries).await };
        let begun = self.begin_load().await?;
        files.engine.know_loads().await;
        let written = write(&files.engine, into, begun.0, entries).await;
        if let Err(error) = &written
            && error.verdict() == Verdict::Halt
        {
            files.writer.halt(error.clone());
        }
        let (root, claim) = written?;
        let taken_back = self.times_taken_back();
        let load = || self.tree().load(&into.0, root, claim.clone(), begun);
        let version = self.ask(load).await?;
        self.durable(self.assigned(version, taken_back)).await
    }

    /// The version that the entries of a load will have, and how often history had been taken back
    /// before it was given.
    async fn begin_load(&self) -> Result<(Lsn, usize), Error> {
        let times = self.times_taken_back();
        let clock = [Op::Clock(self.now())];
        let version = self.ask(|| self.tree().commit(&[], &clock)).await?;
        self.arm();
        Ok((version, times))
    }

    /// The same without files: all of it is one commit.
    async fn load_in_memory<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        into: &Keyspace,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Lsn, Error> {
        let entries: Vec<(K, V)> = entries.into_iter().collect();
        let out_of_order = entries.windows(2).find(|two| two[0].0.as_ref() >= two[1].0.as_ref());
        if let Some([_, (key, _)]) = out_of_order {
            return Err(Error::LoadOrder { key: key.as_ref().into() });
        }
        let keyspace = into.id();
        let puts = entries.iter().map(|(key, value)| {
            let (key, value) = (key.as_ref(), value.as_ref());
            Op::Put { keyspace, key, value, deadline: None }
        });
        let ops: Vec<Op<'_>> = [Op::Clear(keyspace)].into_iter().chain(puts).collect();
        self.ask(|| self.tree().commit(&[], &ops)).await
    }
}

async fn write<K: AsRef<[u8]>, V: AsRef<[u8]>>(
    engine: &Engine,
    into: &Keyspace,
    version: Lsn,
    entries: impl IntoIterator<Item = (K, V)>,
) -> Result<(PagePtr, Claim), Error> {
    let mut load = Load::new(engine, into.id(), version);
    for (key, value) in entries {
        load.push(key.as_ref(), value.as_ref()).await?;
    }
    load.finish().await
}
