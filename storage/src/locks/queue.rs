//! One key: who holds it and who waits for it.

use std::collections::VecDeque;

use orloj_kernel::Reply;

use super::Owner;

/// How a key is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// To read. Goes with other readers, and never becomes more.
    Shared,
    /// To read now and perhaps write later. Goes with readers but with no other of its kind, so two
    /// that want to write cannot wait for each other's reading.
    Update,
    /// To write. Goes with nothing.
    Exclusive,
}

impl Mode {
    fn goes_with(self, other: Mode) -> bool {
        use Mode::{Shared, Update};
        matches!((self, other), (Shared, Shared | Update) | (Update, Shared))
    }
}

/// Somebody who waits. The reply is sent when the lock is had; dropped, there is none to be had.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) owner: Owner,
    pub(super) mode: Mode,
    /// Whether it only wants to be told of its turn, and has nothing then.
    pub(super) passes: bool,
    pub(super) reply: Reply<()>,
}

/// What became of taking a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is held, from now on or already.
    Held,
    /// It is held as shared, which is not what was asked for now.
    Refused,
    /// Others are in the way.
    MustWait,
}

/// The lock of one key.
#[derive(Debug, Default)]
pub(super) struct Lock {
    holders: Vec<(Owner, Mode)>,
    queue: VecDeque<Request>,
}

impl Lock {
    /// Takes it if nobody is in the way, waiting ones included.
    pub(super) fn take(&mut self, owner: Owner, mode: Mode) -> Taken {
        match self.mode_of(owner) {
            Some(held) if held >= mode => return Taken::Held,
            Some(Mode::Shared) => return Taken::Refused,
            _ => {}
        }
        if self.is_in_the_way(owner, mode, self.queue.len()) {
            return Taken::MustWait;
        }
        self.hold(owner, mode);
        Taken::Held
    }

    /// Queues a request that must wait: the one that has the key already goes first, for all
    /// others wait for it anyway.
    pub(super) fn enqueue(&mut self, request: Request) {
        assert!(!self.waits(request.owner), "{:?} waits twice for one key", request.owner);
        match self.mode_of(request.owner) {
            Some(_) => self.queue.push_front(request),
            None => self.queue.push_back(request),
        }
    }

    /// Gives the lock to everybody in the queue who can have it now.
    pub(super) fn grant(&mut self) -> Vec<Reply<()>> {
        let mut granted = Vec::new();
        let mut at = 0;
        while at < self.queue.len() {
            let Request { owner, mode, passes, .. } = self.queue[at];
            if self.is_in_the_way(owner, mode, at) {
                // Nothing goes with an exclusive request, so nobody behind it can be served.
                if mode == Mode::Exclusive {
                    break;
                }
                at += 1;
                continue;
            }
            if !passes {
                self.hold(owner, mode);
            }
            granted.extend(self.queue.remove(at).map(|request| request.reply));
        }
        granted
    }

    /// Lets go of it, if held.
    pub(super) fn release(&mut self, owner: Owner) {
        self.holders.retain(|(holder, _)| *holder != owner);
    }

    /// Stops waiting. `false` if it did not wait.
    pub(super) fn cancel(&mut self, owner: Owner) -> bool {
        let before = self.queue.len();
        self.queue.retain(|request| request.owner != owner);
        self.queue.len() < before
    }

    /// Whom `owner` waits for: everybody who holds the key or asked earlier, and does not go with
    /// what it asks for. Nobody, if it does not wait.
    pub(super) fn blockers(&self, owner: Owner) -> Vec<Owner> {
        let Some(at) = self.queue.iter().position(|request| request.owner == owner) else {
            return Vec::new();
        };
        self.in_the_way(owner, self.queue[at].mode, at).collect()
    }

    pub(super) fn is_held_by_another(&self, than: Option<Owner>) -> bool {
        self.holders.iter().any(|(holder, _)| Some(*holder) != than)
    }

    /// Whether nobody is interested any more.
    pub(super) fn is_idle(&self) -> bool {
        self.holders.is_empty() && self.queue.is_empty()
    }

    /// Asserts the invariants of the module.
    pub(super) fn check(&self) {
        for (at, (owner, mode)) in self.holders.iter().enumerate() {
            let clash = self.holders[..at].iter().find(|(_, other)| !mode.goes_with(*other));
            assert_eq!(clash, None, "{owner:?} holds the key as {mode:?} beside another");
        }
        if let Some(first) = self.queue.front() {
            let Request { owner, mode, .. } = *first;
            assert!(self.is_in_the_way(owner, mode, 0), "{owner:?} waits for nobody");
        }
    }

    fn mode_of(&self, owner: Owner) -> Option<Mode> {
        self.holders.iter().find(|(holder, _)| *holder == owner).map(|(_, mode)| *mode)
    }

    fn waits(&self, owner: Owner) -> bool {
        self.queue.iter().any(|request| request.owner == owner)
    }

    fn hold(&mut self, owner: Owner, mode: Mode) {
        self.release(owner);
        self.holders.push((owner, mode));
    }

    /// Who keeps `owner` from having the key, of the holders and the first `ahead` of the queue.
    fn in_the_way(&self, owner: Owner, mode: Mode, ahead: usize) -> impl Iterator<Item = Owner> {
        let upgrades = self.mode_of(owner).is_some();
        let holders = self.holders.iter().copied();
        // Whoever has the key already goes before all who only ask for it.
        let ahead = if upgrades { 0 } else { ahead };
        let earlier = self.queue.iter().take(ahead).map(|request| (request.owner, request.mode));
        holders
            .chain(earlier)
            .filter(move |(other, theirs)| *other != owner && !mode.goes_with(*theirs))
            .map(|(other, _)| other)
    }

    fn is_in_the_way(&self, owner: Owner, mode: Mode, ahead: usize) -> bool {
        self.in_the_way(owner, mode, ahead).next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Owner = Owner(1);
    const B: Owner = Owner(2);
    const C: Owner = Owner(3);
    const D: Owner = Owner(4);

    fn ask(lock: &mut Lock, owner: Owner, mode: Mode) -> Taken {
        let taken = lock.take(owner, mode);
        if taken == Taken::MustWait {
            lock.enqueue(Request { owner, mode, passes: false, reply: Reply::new().0 });
        }
        lock.check();
        taken
    }

    fn leave(lock: &mut Lock, owner: Owner) -> Vec<(Owner, Mode)> {
        lock.release(owner);
        lock.cancel(owner);
        lock.grant();
        lock.check();
        lock.holders.clone()
    }

    #[test]
    fn readers_share_and_a_writer_is_alone() {
        let mut lock = Lock::default();
        assert_eq!(ask(&mut lock, A, Mode::Shared), Taken::Held);
        assert_eq!(ask(&mut lock, B, Mode::Shared), Taken::Held);
        assert_eq!(ask(&mut lock, C, Mode::Exclusive), Taken::MustWait);
        assert_eq!(lock.blockers(C), [A, B]);
        assert_eq!(leave(&mut lock, A), [(B, Mode::Shared)]);
        assert_eq!(leave(&mut lock, B), [(C, Mode::Exclusive)]);
        assert_eq!(leave(&mut lock, C), []);
        assert!(lock.is_idle());
    }

    #[test]
    fn a_reader_does_not_overtake_a_waiting_writer() {
        let mut lock = Lock::default();
        ask(&mut lock, A, Mode::Shared);
        ask(&mut lock, B, Mode::Exclusive);
        assert_eq!(ask(&mut lock, C, Mode::Shared), Taken::MustWait);
        assert_eq!((lock.blockers(B), lock.blockers(C)), (vec![A], vec![B]));
        assert_eq!(leave(&mut lock, A), [(B, Mode::Exclusive)]);
        assert_eq!(leave(&mut lock, B), [(C, Mode::Shared)]);
    }

    #[test]
    fn a_writer_that_gives_up_lets_those_behind_it_through() {
        let mut lock = Lock::default();
        ask(&mut lock, A, Mode::Shared);
        ask(&mut lock, B, Mode::Exclusive);
        ask(&mut lock, C, Mode::Shared);
        ask(&mut lock, D, Mode::Update);
        let together = [(A, Mode::Shared), (C, Mode::Shared), (D, Mode::Update)];
        assert_eq!(leave(&mut lock, B), together);
    }

    #[test]
    fn only_a_lock_taken_for_update_becomes_exclusive() {
        let mut lock = Lock::default();
        ask(&mut lock, A, Mode::Shared);
        assert_eq!(ask(&mut lock, A, Mode::Update), Taken::Refused);
        assert_eq!(ask(&mut lock, A, Mode::Exclusive), Taken::Refused);
        ask(&mut lock, B, Mode::Update);
        assert_eq!(ask(&mut lock, C, Mode::Update), Taken::MustWait, "one of its kind");
        // The upgrade waits for the reader alone and goes before those who wait already.
        assert_eq!(ask(&mut lock, B, Mode::Exclusive), Taken::MustWait);
        assert_eq!((lock.blockers(B), lock.blockers(C)), (vec![A], vec![B, B]));
        assert_eq!(leave(&mut lock, A), [(B, Mode::Exclusive)]);
        assert_eq!(ask(&mut lock, B, Mode::Shared), Taken::Held, "more than asked for");
        assert_eq!(leave(&mut lock, B), [(C, Mode::Update)]);
    }

    #[test]
    fn a_lone_holder_for_update_is_not_held_up_by_those_who_wait() {
        let mut lock = Lock::default();
        ask(&mut lock, A, Mode::Update);
        ask(&mut lock, B, Mode::Exclusive);
        assert_eq!(ask(&mut lock, A, Mode::Exclusive), Taken::Held);
        assert_eq!(lock.blockers(B), [A]);
    }
}
