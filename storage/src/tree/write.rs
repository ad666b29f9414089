//! Writing one key without a condition: a commit that needs no lists.

use super::{
    Attempt, Keyspace, Tree,
    descend::{Arrival, Step, To, descend},
    keyspace::Roots,
    split::Write,
};
use crate::{
    Error, Lsn,
    page::{Fence, NEWEST, Slot},
    record::{KEY_MAX, Op, VALUE_MAX},
};

impl Tree {
    /// Gives `key` a value, until `deadline` (Unix ms) if there is one. It is assigned, and not
    /// durable.
    ///
    /// # Errors
    /// [`super::Pause`]; nothing happened then.
    pub fn put(
        &self,
        to: &Keyspace,
        key: &[u8],
        value: &[u8],
        deadline: Option<u64>,
    ) -> Attempt<Lsn> {
        check_sizes(key, value)?;
        self.write(to, &Write { key, value: Some(value), deadline })
    }

    /// Deletes `key`, which need not be there. It is assigned, not durable.
    ///
    /// # Errors
    /// [`super::Pause`]; nothing happened then.
    pub fn delete(&self, from: &Keyspace, key: &[u8]) -> Attempt<Lsn> {
        check_sizes(key, &[])?;
        self.write(from, &Write { key, value: None, deadline: None })
    }

    #[inline]
    fn write(&self, to: &Keyspace, write: &Write<'_>) -> Attempt<Lsn> {
        let mut newest = NEWEST;
        loop {
            let roots = to.roots();
            if roots.dropped {
                return Err(Error::NoKeyspace { name: to.name().into() }.into());
            }
            let way = To::At(Fence { key: write.key, version: newest });
            let step =
                descend(&roots.top, way, |arrival| self.write_leaf(to, &roots, arrival, write));
            match step {
                Ok(version) => return Ok(version),
                Err(Step::Further(version)) => newest = version,
                Err(Step::Restart | Step::Load) => {}
                Err(Step::Structure) => to.await_structure(),
                Err(Step::Pause(pause)) => return Err(pause),
            }
        }
    }

    #[inline]
    fn write_leaf(
        &self,
        to: &Keyspace,
        roots: &Roots,
        arrival: Arrival<'_>,
        write: &Write<'_>,
    ) -> Result<Lsn, Step> {
        let mut state = arrival.slot.write();
        state.warm();
        let content = state.content_mut(arrival.turn)?;
        let need = write.size(&content.leaf, self.sizes.inline);
        let fits = content.leaf.fits(1, need)
            || self.make_room(to, content, need + Slot::SIZE) && content.leaf.fits(1, need);
        let structure = (!fits).then(|| self.structure());
        let next = self.tail.next()?;
        if !to.is_current(roots) {
            return Err(Step::Restart);
        }
        // Where versions were taken back, fences among those of a key may be newer than the next.
        if !state.resident().leaf.holds(write.key, next.version()) {
            return Err(Step::Further(next.version()));
        }
        let ticket = next.assign(|record| write.op(to.id()).write(record, true));
        let version = ticket.version;
        state.freeze(ticket);
        if structure.is_some() {
            let more = self.spread(&mut state, &[*write], |_| version);
            self.publish(&roots.top, arrival.slot, &mut state, more, ticket);
        } else {
            state.resident().insert(write, version, self.sizes.inline);
        }
        state.changed(version);
        Ok(version)
    }
}

impl<'a> Write<'a> {
    /// It as an operation of a record.
    #[inline]
    pub(crate) fn op(&self, keyspace: crate::KeyspaceId) -> Op<'a> {
        match self.value {
            Some(value) => Op::Put { keyspace, key: self.key, value, deadline: self.deadline },
            None => Op::Delete { keyspace, key: self.key },
        }
    }
}

/// # Errors
/// [`Error::KeyLength`], [`Error::ValueLength`].
#[inline]
pub(crate) fn check_sizes(key: &[u8], value: &[u8]) -> Result<(), Error> {
    if key.is_empty() || key.len() > KEY_MAX {
        return Err(Error::KeyLength { len: key.len() });
    }
    if value.len() > VALUE_MAX {
        return Err(Error::ValueLength { len: value.len() });
    }
    Ok(())
}
