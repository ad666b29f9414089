//! Where long values lie, asked and changed by whoever collects the value log.

use super::{
    Attempt, Keyspace, Tree,
    descend::{Arrival, Step, To, descend},
};
use crate::{
    Lsn,
    page::{Fence, Held, ValuePointer},
};

impl Tree {
    /// Where the value of `key` that `version` wrote lies in the value log; `None` if that entry is
    /// gone, holds something else, or has its value in memory only.
    ///
    /// # Errors
    /// [`super::Pause::Miss`].
    pub fn pointer(
        &self,
        of: &Keyspace,
        key: &[u8],
        version: Lsn,
    ) -> Attempt<Option<ValuePointer>> {
        self.at_entry(of, key, version, |arrival| {
            let state = arrival.slot.read();
            let content = state.content(arrival.turn)?;
            let (at, is_key) = content.leaf.seek(key, version);
            if !is_key || content.leaf.version(at) != version {
                return Ok(None);
            }
            Ok(match content.leaf.entry(at).held {
                Held::Pointer(pointer) => Some(pointer),
                Held::Memory(number) => content.long(number).at,
                Held::Value(_) | Held::Tombstone => None,
            })
        })
    }

    /// The value that lay at `from` lies at `to` as well, and will be read there. Returns whether
    /// the entry still pointed to `from`. Versions and the journal know nothing of it.
    ///
    /// # Errors
    /// [`super::Pause::Miss`].
    pub fn repoint(
        &self,
        of: &Keyspace,
        key: &[u8],
        version: Lsn,
        from: ValuePointer,
        to: ValuePointer,
    ) -> Attempt<bool> {
        self.at_entry(of, key, version, |arrival| {
            let mut state = arrival.slot.write();
            let content = state.content(arrival.turn)?;
            let (at, is_key) = content.leaf.seek(key, version);
            if !is_key || content.leaf.version(at) != version {
                return Ok(false);
            }
            let in_memory = match content.leaf.entry(at).held {
                Held::Pointer(now) if now == from => None,
                Held::Memory(number) if content.long(number).at == Some(from) => Some(number),
                _ => return Ok(false),
            };
            // No version is given, so a capture that has begun is asked for here.
            let newest = state.lsn;
            state.freeze(self.tail.replayed(newest));
            let content = state.resident();
            match in_memory {
                None => content.leaf.repoint(at, to),
                Some(number) => {
                    let long = content.longs[number as usize].as_mut();
                    long.expect("an entry refers to it").at = Some(to);
                }
            }
            state.changed(newest);
            Ok(true)
        })
    }

    /// Does `act` at the leaf that an entry belongs to.
    fn at_entry<T>(
        &self,
        of: &Keyspace,
        key: &[u8],
        version: Lsn,
        act: impl Fn(Arrival<'_>) -> Result<T, Step>,
    ) -> Attempt<T>
    where
        T: Default,
    {
        loop {
            let roots = of.roots();
            let Some(root) = roots.at(version) else { return Ok(T::default()) };
            match descend(root, To::At(Fence { key, version }), &act) {
                Ok(found) => return Ok(found),
                Err(Step::Structure) => of.await_structure(),
                Err(Step::Restart | Step::Load | Step::Further(_)) => of.check_there()?,
                Err(Step::Pause(pause)) => return Err(pause),
            }
        }
    }
}
