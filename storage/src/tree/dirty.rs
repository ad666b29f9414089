//! Nodes on their way to the disk.

use std::{borrow::Cow, sync::Arc};

use super::{
    Capture,
    slot::{Body, Content, LeafSlot},
};
use crate::{
    KeyspaceId, Lsn,
    page::{Held, Leaf, UNIT, ValuePointer},
};

/// A node of a capture that must be written, as it was when it was copied.
#[derive(Debug)]
pub struct Dirty<'a> {
    pub(super) capture: &'a mut Capture,
    pub(super) keyspace: KeyspaceId,
    pub(super) node: Node,
}

#[derive(Debug)]
pub(super) enum Node {
    Leaf(Arc<LeafSlot>, Content),
    /// Its image and the checksum of its references.
    Inner(Vec<u8>, u32),
}

/// A value that must go to the value log before the leaf that has it can be written.
#[derive(Clone, Debug)]
pub struct LongValue {
    /// To be named to [`Dirty::place`].
    pub number: u32,
    /// Its key.
    pub key: Vec<u8>,
    /// What wrote it.
    pub version: Lsn,
    /// The value.
    pub bytes: Arc<[u8]>,
}

impl Dirty<'_> {
    /// The keyspace it belongs to.
    pub fn keyspace(&self) -> KeyspaceId {
        self.keyspace
    }

    /// Whether it is a leaf.
    pub fn is_leaf(&self) -> bool {
        matches!(self.node, Node::Leaf(..))
    }

    /// The values that must go to the value log first.
    pub fn long_values(&self) -> Vec<LongValue> {
        let Node::Leaf(_, content) = &self.node else { return Vec::new() };
        if content.longs.is_empty() {
            return Vec::new();
        }
        let leaf = &content.leaf;
        let long = |entry: crate::page::Entry<'_>| {
            let Held::Memory(number) = entry.held else { return None };
            let long = content.long(number);
            let key = [leaf.prefix(), entry.suffix].concat();
            let (version, bytes) = (entry.version, long.bytes.clone());
            long.at.is_none().then_some(LongValue { number, key, version, bytes })
        };
        leaf.entries(0..leaf.count()).filter_map(long).collect()
    }

    /// The long value of this number lies `at`.
    pub fn place(&mut self, number: u32, at: ValuePointer) {
        if let Node::Leaf(_, content) = &mut self.node {
            let long = content.longs[number as usize].as_mut().expect("one of its long values");
            long.at = Some(at);
        }
    }

    /// Its image in whole units, to be sealed. It has no address yet.
    ///
    /// # Panics
    /// If a long value has no place.
    pub fn image(&self) -> Image<'_> {
        match &self.node {
            Node::Leaf(_, content) if content.longs.is_empty() => Image::Leaf(&content.leaf),
            Node::Leaf(_, content) => Image::Bytes(content.image().into()),
            Node::Inner(image, _) => Image::Bytes(image.into()),
        }
    }
}

/// The image of a node, which is written to its place without a copy on the way.
#[derive(Debug)]
pub enum Image<'a> {
    /// It has to be encoded.
    Leaf(&'a Leaf),
    /// It has been.
    Bytes(Cow<'a, [u8]>),
}

impl Image<'_> {
    /// How many units it takes.
    pub fn units(&self) -> usize {
        match self {
            Image::Leaf(leaf) => leaf.units(),
            Image::Bytes(bytes) => bytes.len() / UNIT,
        }
    }

    /// Writes it to `place`: zeros, as many units as it takes.
    pub fn write(&self, place: &mut [u8]) {
        match self {
            Image::Leaf(leaf) => leaf.encode_to(place),
            Image::Bytes(bytes) => place.copy_from_slice(bytes),
        }
    }

    /// The same on its own.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut image = vec![0; self.units() * UNIT];
        self.write(&mut image);
        image
    }
}

impl Content {
    /// The image of a leaf, pointers in the place of what is in memory only.
    fn image(&self) -> Vec<u8> {
        let leaf = &self.leaf;
        let (lower, upper, all) = (leaf.lower_fence(), leaf.upper_fence(), 0..leaf.count());
        let on_disk = leaf.rebuilt(lower, upper, all, 0, |_, mut entry| {
            if let Held::Memory(number) = entry.held {
                entry.held = Held::Pointer(self.long(number).at.expect("it was given a place"));
            }
            Some(entry)
        });
        on_disk.encode()
    }

    /// Notes in a leaf where those of its long values lie that this copy of it knows the places of.
    pub(super) fn tell_places(&self, to: &mut Body) {
        let Body::Resident(now) = to else { return };
        for known in self.longs.iter().flatten().filter(|long| long.at.is_some()) {
            let all = now.longs.iter_mut().flatten();
            for long in all.filter(|long| Arc::ptr_eq(&long.bytes, &known.bytes)) {
                long.at = known.at;
            }
        }
    }
}
