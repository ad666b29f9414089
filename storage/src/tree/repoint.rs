//! Values that move within the value log: the entries that refer to them follow.

use super::{
    Attempt, Tree,
    descend::{Arrival, Step, To, descend},
    keyspace::Keyspace,
    slot::InnerSlot,
};
use crate::{
    Error, KeyspaceId, Lsn,
    page::{Entry, Fence, Held, ValuePointer},
};

impl Tree {
    /// Whether this version of `key` has its value at `from`. If it has, and there is a `to`, it
    /// has its value there from now on. Nobody else moves values meanwhile, and no capture goes on.
    ///
    /// # Errors
    /// [`super::Pause::Miss`].
    pub fn repoint(
        &self,
        of: KeyspaceId,
        key: &[u8],
        version: Lsn,
        from: ValuePointer,
        to: Option<ValuePointer>,
    ) -> Attempt<bool> {
        let keyspace = match self.keyspace(of) {
            Err(Error::NoKeyspace { .. }) => return Ok(false),
            keyspace => keyspace?,
        };
        let roots = keyspace.roots().clone();
        let older = roots.older.iter().map(|(_, root)| root);
        for root in [&roots.top].into_iter().chain(older) {
            if self.repoint_below(&keyspace, root, Fence { key, version }, from, to)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn repoint_below(
        &self,
        of: &Keyspace,
        root: &std::sync::Arc<InnerSlot>,
        place: Fence<'_>,
        from: ValuePointer,
        to: Option<ValuePointer>,
    ) -> Attempt<bool> {
        loop {
            let step = descend(root, To::At(place), |arrival: Arrival<'_>| {
                let mut state = arrival.slot.write();
                let content = state.content(arrival.turn)?;
                let (at, found) = content.leaf.seek(place.key, place.version);
                if !found {
                    return Ok(false);
                }
                let entry = content.leaf.entry(at);
                let is_there = match entry.held {
                    Held::Pointer(pointer) => pointer == from,
                    Held::Memory(number) => content.long(number).at == Some(from),
                    Held::Value(_) | Held::Tombstone => false,
                };
                let Some(to) = to.filter(|_| is_there) else { return Ok(is_there) };
                let deadline = entry.deadline;
                let in_memory = match entry.held {
                    Held::Memory(number) => Some(number as usize),
                    _ => None,
                };
                let newest = state.lsn;
                let ticket = self.tail.replayed(newest);
                state.freeze(ticket);
                let content = state.resident();
                match in_memory {
                    Some(number) => {
                        let long = content.longs[number].as_mut();
                        long.expect("an entry refers to it").at = Some(to);
                    }
                    None => {
                        let suffix = place.key[content.leaf.prefix_len()..].to_vec();
                        let (version, held) = (place.version, Held::Pointer(to));
                        content.leaf.remove(at);
                        let entry = Entry { suffix: &suffix, version, deadline, held };
                        if !content.leaf.fits(1, entry.size()) {
                            content.leaf.grow(content.leaf.size() + entry.size());
                        }
                        content.leaf.insert(at, &entry);
                    }
                }
                state.changed(newest);
                Ok(true)
            });
            match step {
                Ok(done) => return Ok(done),
                Err(Step::Restart | Step::Load | Step::Further(_)) => {}
                Err(Step::Structure) => of.await_structure(),
                Err(Step::Pause(pause)) => return Err(pause),
            }
        }
    }
}
