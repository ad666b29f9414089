//! Writes of history in the order of the tree.

use std::collections::BTreeMap;

use crate::{
    Error, KeyspaceId, Lsn,
    engine::Engine,
    page::fence::common,
    record::{self, Op},
    tree::{Attempt, Pause, Tree},
};

/// Writes that are put into the tree at once.
const CHUNK: usize = 1024;

/// Writes of history, to be sorted and applied together: that makes one pass over the leaves out of
/// visits at random.
///
/// They are sorted by eight bytes of their keys, behind what all keys of the keyspace have in
/// common: numbers in a row, so that no key is looked at again but where these are the same.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The version of each, and the operation as it stands in its record.
    bytes: Vec<u8>,
    /// Where each begins.
    starts: Vec<u32>,
    /// Of each keyspace the first key, and how many bytes of it all others begin with.
    prefixes: BTreeMap<KeyspaceId, (Vec<u8>, usize)>,
    /// In order, each as keyspace, head and start, once they are sorted; and how many of them are
    /// applied.
    sorted: Vec<u128>,
    done: usize,
}

impl Batch {
    /// Adds a write of the record at `lsn`, which is `op` and stands as `bytes`.
    pub(super) fn add(&mut self, lsn: Lsn, op: &Op<'_>, bytes: &[u8]) {
        let (Op::Put { keyspace, key, .. } | Op::Delete { keyspace, key }) = *op else {
            unreachable!("it writes to no key: {op:?}");
        };
        debug_assert!(self.sorted.is_empty(), "it is being applied");
        match self.prefixes.get_mut(&keyspace) {
            Some((first, same)) => {
                if !key.starts_with(&first[..*same]) {
                    *same = common(&first[..*same], key);
                }
            }
            None => _ = self.prefixes.insert(keyspace, (key.to_vec(), key.len())),
        }
        self.starts.push(u32::try_from(self.bytes.len()).expect("a batch is below 4 GiB"));
        self.bytes.extend_from_slice(&lsn.0.to_le_bytes());
        self.bytes.extend_from_slice(bytes);
    }

    /// How many they are.
    pub(super) fn count(&self) -> usize {
        self.starts.len()
    }

    /// Bytes they take.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + self.starts.len() * (size_of::<u32>() + size_of::<u128>())
    }

    fn write(&self, start: u32) -> (Lsn, Op<'_>) {
        let (lsn, op) = self.bytes[start as usize..].split_first_chunk().expect("a version");
        (Lsn(u64::from_le_bytes(*lsn)), record::op(op).expect("it made sense before"))
    }

    fn place(&self, start: u32) -> (KeyspaceId, &[u8]) {
        match self.write(start).1 {
            Op::Put { keyspace, key, .. } | Op::Delete { keyspace, key } => (keyspace, key),
            _ => unreachable!("only writes to keys are in a batch"),
        }
    }

    fn sort(&mut self) {
        let head = |start: &u32| {
            let (keyspace, key) = self.place(*start);
            let prefix = self.prefixes[&keyspace].1;
            let mut head = [0; 8];
            let suffix = &key[prefix..];
            let len = suffix.len().min(8);
            head[..len].copy_from_slice(&suffix[..len]);
            u128::from(keyspace.0) << 96
                | u128::from(u64::from_be_bytes(head)) << 32
                | u128::from(*start)
        };
        let mut sorted: Vec<u128> = self.starts.iter().map(head).collect();
        sorted.sort_unstable();
        // Where heads are the same keys decide, and then the order in which they came.
        let mut from = 0;
        while from < sorted.len() {
            let head = sorted[from] >> 32;
            let same = sorted[from..].iter().take_while(|other| **other >> 32 == head).count();
            if same > 1 {
                let place = |at: &u128| self.place(*at as u32);
                sorted[from..from + same].sort_by(|a, b| place(a).cmp(&place(b)));
            }
            from += same;
        }
        self.sorted = sorted;
    }

    /// Puts all of it into `tree`. After a pause it goes on where it was.
    ///
    /// # Errors
    /// Those of [`Tree::apply_sorted`].
    pub(super) fn apply(&mut self, tree: &Tree) -> Attempt<()> {
        if self.sorted.is_empty() {
            self.sort();
        }
        while self.done < self.sorted.len() {
            let (done, applied) = self.apply_chunk(tree);
            self.done = done;
            applied?;
        }
        self.clear();
        Ok(())
    }

    /// Puts some more of it into `tree`; how many are done then.
    fn apply_chunk(&self, tree: &Tree) -> (usize, Attempt<()>) {
        let end = self.sorted.len().min(self.done + CHUNK);
        let kept = (self.done..end).filter(|at| !self.is_outdated(tree, *at));
        let places: Vec<usize> = kept.collect();
        let chunk: Vec<(Lsn, Op<'_>)> =
            places.iter().map(|at| self.write(self.sorted[*at] as u32)).collect();
        let mut left = &chunk[..];
        let applied = tree.apply_sorted(&mut left);
        (if left.is_empty() { end } else { places[chunk.len() - left.len()] }, applied)
    }

    /// Whether nobody can ask for the write at `at` since the next one is to the same key.
    fn is_outdated(&self, tree: &Tree, at: usize) -> bool {
        let next = self.sorted.get(at + 1).filter(|next| **next >> 32 == self.sorted[at] >> 32);
        let Some(next) = next.map(|next| *next as u32) else { return false };
        let (keyspace, key) = self.place(self.sorted[at] as u32);
        self.place(next).1 == key && tree.is_outdated(keyspace, self.write(next).0)
    }

    /// As [`Batch::apply`], loading what is missed.
    pub(super) async fn load_and_apply(&mut self, engine: &Engine) -> Result<(), Error> {
        loop {
            match self.apply(&engine.tree) {
                Ok(()) => return Ok(()),
                Err(Pause::Miss(miss)) => _ = engine.load(miss).await?,
                Err(Pause::Failed(error)) => return Err(error),
                Err(pause) => unreachable!("nobody else is there during a recovery: {pause:?}"),
            }
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.starts.clear();
        self.prefixes.clear();
        self.sorted.clear();
        self.done = 0;
    }
}
