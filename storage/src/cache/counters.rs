//! What a cache tells of itself.

/// What a cache holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Leaves.
    Leaf,
    /// Inner nodes.
    Inner,
    /// Values out of the value log.
    Value,
}

/// What happened to items of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How often one was asked for and there. Of nodes it is not counted here: a hit in the tree
    /// asks nobody.
    pub hits: u64,
    /// How often one was asked for and had to be read.
    pub misses: u64,
    /// How often one was dropped to make room.
    pub evictions: u64,
}

/// What a cache tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes allowed.
    pub budget: u64,
    /// Bytes held, as they were last measured.
    pub bytes: u64,
    /// Of leaves.
    pub leaves: Counts,
    /// Of inner nodes.
    pub inner: Counts,
    /// Of values.
    pub values: Counts,
}

impl Counters {
    pub(super) fn of(&mut self, kind: Kind) -> &mut Counts {
        match kind {
            Kind::Leaf => &mut self.leaves,
            Kind::Inner => &mut self.inner,
            Kind::Value => &mut self.values,
        }
    }
}
