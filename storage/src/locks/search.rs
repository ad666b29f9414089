//! Who waits for whom, and who must die for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Locks, Owner, Place, Taken, holder::Shared, queue::Request};

/// An owner at a key.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) at: Place,
    pub(super) owner: Arc<Shared>,
    /// Whether it may be made to die: it holds other locks that it did not take in order.
    pub(super) is_mortal: bool,
}

impl Locks {
    /// Queues a request, unless it can be had after all, and breaks every cycle that this closes.
    ///
    /// A cycle needs a last one to begin to wait, and that one searches. Waiting begins only here,
    /// under one mutex, so no two searches miss each other's edge. Edges may vanish meanwhile; then
    /// somebody dies for a cycle that would have opened by itself, which is allowed and needs an
    /// owner to give up at that very moment.
    pub(super) fn wait(&self, waiting: Waiting, request: Request) -> Taken {
        let me = request.owner;
        let mut all = self.waiting();
        let taken = self.enqueue(&waiting.at, request);
        if taken != Taken::MustWait {
            return taken;
        }
        all.insert(me, waiting);
        while let Some(cycle) = self.cycle(me, &all) {
            let victim = cycle.iter().copied().filter(|owner| all[owner].is_mortal).max();
            let victim = victim.expect("those who lock in order do not wait in a circle");
            let Waiting { at, owner, .. } = all.remove(&victim).expect("it waits");
            if self.cancel(victim, &at) {
                owner.die(self, &at);
            }
        }
        taken
    }

    /// Forgets where `owner` waited.
    pub(super) fn no_longer_waits(&self, owner: Owner) {
        self.waiting().remove(&owner);
    }

    /// The owners of a circle of waiting that goes through `me`, if there is one.
    pub(super) fn cycle(&self, me: Owner, all: &BTreeMap<Owner, Waiting>) -> Option<Vec<Owner>> {
        let mut seen = BTreeSet::from([me]);
        // The path from `me`, each with those it waits for that are still to be followed.
        let mut path = vec![(me, self.waits_for(me, all))];
        while let Some((_, next)) = path.last_mut() {
            let Some(owner) = next.pop() else {
                path.pop();
                continue;
            };
            if owner == me {
                return Some(path.into_iter().map(|(owner, _)| owner).collect());
            }
            if seen.insert(owner) {
                path.push((owner, self.waits_for(owner, all)));
            }
        }
        None
    }

    fn waits_for(&self, owner: Owner, all: &BTreeMap<Owner, Waiting>) -> Vec<Owner> {
        all.get(&owner).map(|waiting| self.blockers(owner, &waiting.at)).unwrap_or_default()
    }
}
