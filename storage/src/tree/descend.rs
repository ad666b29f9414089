//! The way from a root to a leaf.

use std::sync::Arc;

use super::{
    Pause,
    load::Miss,
    node::{Child, Inner},
    slot::{InnerSlot, LeafSlot},
};
use crate::{
    Lsn,
    page::{Fence, FenceBuf},
};

/// Why the end of a way was not reached.
#[derive(Debug)]
pub(crate) enum Step {
    /// A split or merge was faster: begin at the root again.
    Restart,
    /// A change of the inner nodes is half done: wait for it, then begin again.
    Structure,
    /// The versions of the key go on in the leaf that begins at this one of them.
    Further(Lsn),
    /// The leaf at the end is on disk.
    Load,
    /// Something has to be done first.
    Pause(Pause),
}

impl From<Pause> for Step {
    fn from(pause: Pause) -> Step {
        Step::Pause(pause)
    }
}

/// Which leaf is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To<'a> {
    /// The one that a place belongs to.
    At(Fence<'a>),
    /// The one that the place right before this one belongs to.
    Before(Fence<'a>),
    /// The last.
    End,
}

impl To<'_> {
    #[inline]
    fn find(self, node: &Inner) -> usize {
        match self {
            To::At(target) => node.find(target),
            To::Before(target) => node.find_before(target),
            To::End => node.count() - 1,
        }
    }
}

/// A leaf's slot as its parent knows it.
#[derive(Clone, Copy)]
pub(crate) struct Arrival<'a> {
    pub(crate) slot: &'a Arc<LeafSlot>,
    /// What the turn of its fences must be.
    pub(crate) turn: u32,
    parent: &'a Arc<Inner>,
    at: usize,
}

impl<'a> Arrival<'a> {
    pub(crate) fn lower(&self) -> Fence<'a> {
        self.parent.lower(self.at)
    }

    pub(crate) fn upper(&self) -> Option<Fence<'a>> {
        self.parent.upper(self.at)
    }

    /// The node above it, and which of its children it is.
    pub(crate) fn in_parent(&self) -> (Arc<Inner>, usize) {
        (self.parent.clone(), self.at)
    }

    /// What [`Step::Load`] asks for.
    #[cold]
    pub(crate) fn miss(&self) -> Step {
        let keyspace = self.parent.keyspace;
        Miss::of_leaf(self.slot, keyspace, self.lower(), self.upper())
            .map_or(Step::Restart, |miss| Step::Pause(Pause::Miss(miss)))
    }
}

/// Walks from `root` to the leaf that `to` says and does `act` there.
#[inline]
pub(crate) fn descend<T>(
    root: &Arc<InnerSlot>,
    to: To<'_>,
    act: impl FnOnce(Arrival<'_>) -> Result<T, Step>,
) -> Result<T, Step> {
    walk(root, 0, None, to, act)
}

fn walk<T>(
    slot: &Arc<InnerSlot>,
    turn: u32,
    parent: Option<(&Inner, usize)>,
    to: To<'_>,
    act: impl FnOnce(Arrival<'_>) -> Result<T, Step>,
) -> Result<T, Step> {
    let node = slot.node.load();
    let Some(node) = node.as_ref() else { return Err(inner_miss(slot, parent)) };
    if node.turn != turn {
        return Err(Step::Structure);
    }
    let at = to.find(node);
    match node.child(at) {
        Child::Inner(below, turn) => walk(below, *turn, Some((node, at)), to, act),
        Child::Leaf(slot, turn) => {
            let arrival = Arrival { slot, turn: *turn, parent: node, at };
            match act(arrival) {
                Err(Step::Load) => Err(arrival.miss()),
                done => done,
            }
        }
    }
}

#[cold]
fn inner_miss(slot: &Arc<InnerSlot>, parent: Option<(&Inner, usize)>) -> Step {
    let (lower, upper) = match parent {
        Some((node, at)) => (node.lower(at), node.upper(at)),
        None => (Fence::FIRST, None),
    };
    let keyspace = parent.map(|(node, _)| node.keyspace);
    Miss::of_inner(slot, keyspace, lower, upper)
        .map_or(Step::Restart, |miss| Step::Pause(Pause::Miss(miss)))
}

/// A node on the way to a leaf, and which of its children the way goes through.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) slot: Arc<InnerSlot>,
    pub(crate) node: Arc<Inner>,
    pub(crate) at: usize,
}

/// The way from `root` to the resident leaf at `target`, top first. The caller holds the structure
/// mutex, so nothing on it changes, and the leaf's latch, so all of it is resident.
pub(crate) fn path(root: &Arc<InnerSlot>, target: Fence<'_>) -> (Vec<Passed>, Arc<LeafSlot>) {
    let mut path = Vec::new();
    let mut slot = root.clone();
    loop {
        let node = slot.node.load_full().expect("all above a resident leaf is resident");
        let at = node.find(target);
        let child = node.child(at).clone();
        path.push(Passed { slot, node, at });
        match child {
            Child::Inner(below, _) => slot = below,
            Child::Leaf(leaf, _) => return (path, leaf),
        }
    }
}

/// A leaf found without latching it.
#[derive(Debug)]
pub(crate) struct FoundLeaf {
    pub(crate) slot: Arc<LeafSlot>,
    pub(crate) turn: u32,
    pub(crate) lower: FenceBuf,
    pub(crate) upper: Option<FenceBuf>,
}

/// The leaf that `to` says, as its parent knows it.
pub(crate) fn find_leaf(root: &Arc<InnerSlot>, to: To<'_>) -> Result<FoundLeaf, Step> {
    descend(root, to, |arrival| {
        Ok(FoundLeaf {
            slot: arrival.slot.clone(),
            turn: arrival.turn,
            lower: arrival.lower().to_buf(),
            upper: arrival.upper().map(Fence::to_buf),
        })
    })
}
