//! Mending the trees of a generation: what cannot be read is left out, what is whole stays where it
//! is, and every node above something that changed is written anew, behind the last page.

use std::collections::{BTreeMap, BTreeSet};

use super::Loss;
use crate::{
    Error, KeyspaceId, Lsn,
    journal::DatabaseId,
    page::{
        Fence, FenceBuf, Held, InnerPage, Leaf, PAGE_HEAD, PageHeader, PagePtr, PageType, UNIT,
        ValuePointer, open, seal,
    },
    pager::{Bits, Pager},
    vlog::{Appender, Record, ValueLog, record_size},
};

/// A node that a parent refers to.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) ptr: PagePtr,
    pub(super) keyspace: KeyspaceId,
    /// `None` for a root, which may have any but that of a leaf.
    pub(super) level: Option<u8>,
    pub(super) lower: FenceBuf,
    pub(super) upper: Option<FenceBuf>,
}

/// A leaf that lies in the file and that nobody referred to yet.
#[derive(Clone, Debug)]
struct Orphan {
    node: Node,
    generation: u64,
}

/// Mends the trees of one generation.
pub(super) struct Mender<'a> {
    pub(super) pager: &'a Pager,
    pub(super) values: &'a ValueLog,
    pub(super) database: DatabaseId,
    /// What the generation that is mended says of itself.
    pub(super) generation: u64,
    pub(super) lsn: Lsn,
    /// What the pages that are written will be of.
    pub(super) next: u64,
    /// The units that the generation marks; `None` if that cannot be read.
    pub(super) marked: Option<Bits>,
    /// Where values of bad segments go; `None` while nothing is written.
    pub(super) appender: Option<Appender>,
    /// Value segments that shall not be referred to any more.
    pub(super) bad_segments: BTreeSet<u32>,
    /// Where the next page goes.
    pub(super) end: u64,
    /// Units in which pages lie.
    pub(super) used: Bits,
    /// Bytes of each value segment that are referred to.
    pub(super) live: BTreeMap<u32, u64>,
    pub(super) losses: Vec<Loss>,
    /// Whether a node is not what it was.
    pub(super) changed: bool,
    orphans: Option<Vec<Orphan>>,
}

impl<'a> Mender<'a> {
    pub(super) fn new(pager: &'a Pager, values: &'a ValueLog, database: DatabaseId) -> Mender<'a> {
        let mut used = Bits::default();
        used.add(0, 1);
        Mender {
            pager,
            values,
            database,
            generation: 0,
            lsn: Lsn(0),
            next: 0,
            marked: None,
            appender: None,
            bad_segments: BTreeSet::new(),
            end: 1,
            used,
            live: BTreeMap::new(),
            losses: Vec::new(),
            changed: false,
            orphans: None,
        }
    }

    /// Mends all below a root and returns where it lies then.
    pub(super) async fn root(
        &mut self,
        keyspace: KeyspaceId,
        ptr: PagePtr,
    ) -> Result<PagePtr, Error> {
        let (lower, upper) = (Fence::FIRST.to_buf(), None);
        self.node(Node { ptr, keyspace, level: None, lower, upper }).await
    }

    async fn node(&mut self, node: Node) -> Result<PagePtr, Error> {
        let (header, image) = match self.read(&node).await? {
            Some(page) => page,
            None => return self.rescue(&node).await,
        };
        let mended = self.mended(&node, header.level, image).await?;
        if mended != node.ptr {
            // Nobody refers to its old place any more.
            self.used.take(node.ptr.unit, node.ptr.units.into());
        }
        Ok(mended)
    }

    /// As [`Mender::node`], of one that could be read.
    async fn mended(&mut self, node: &Node, level: u8, image: Vec<u8>) -> Result<PagePtr, Error> {
        if level == 0 {
            let leaf = Leaf::read(image).expect("it was looked at");
            return self.leaf(node, leaf).await;
        }
        let below = InnerPage::read(&image, |page| children(page, node));
        let children = below.expect("it was looked at");
        let mut refs = Vec::with_capacity(children.len());
        let mut is_same = true;
        for child in &children {
            let ptr = Box::pin(self.node(child.clone())).await?;
            is_same &= ptr == child.ptr;
            refs.push(ptr);
        }
        if is_same {
            return Ok(node.ptr);
        }
        let pieces: Vec<_> =
            children.into_iter().zip(refs).map(|(child, ptr)| (child.lower, ptr)).collect();
        self.inner(node, level, &pieces).await
    }

    /// The page of a node, if it is what its parent says. Its units are taken then.
    async fn read(&mut self, node: &Node) -> Result<Option<(PageHeader, Vec<u8>)>, Error> {
        let ptr = node.ptr;
        if (ptr.unit..ptr.unit + u64::from(ptr.units)).any(|unit| self.used.has(unit)) {
            return Ok(None);
        }
        let (header, image) = match self.pager.read(ptr).await {
            Ok(page) => page,
            Err(Error::Corrupt(_) | Error::Disk(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let expected = node.level.unwrap_or(header.level.max(1));
        let is_it = header.level == expected
            && header.keyspace == node.keyspace
            && header.generation <= self.generation
            && header.lsn <= self.lsn
            && match header.kind {
                PageType::Leaf => expected == 0 && fits_leaf(&image, node),
                PageType::Inner => {
                    let fits = |page: &InnerPage<'_>| {
                        page.children[0].0 == node.lower.get()
                            && page.upper == node.upper.as_ref().map(FenceBuf::get)
                    };
                    expected > 0 && InnerPage::read(&image, fits) == Some(true)
                }
                PageType::Catalogue | PageType::Space => false,
            };
        if is_it {
            self.used.add(ptr.unit, ptr.units.into());
        }
        Ok(is_it.then_some((header, image)))
    }

    /// A leaf, every value of which is looked at.
    async fn leaf(&mut self, node: &Node, leaf: Leaf) -> Result<PagePtr, Error> {
        let mut held: BTreeMap<usize, Option<ValuePointer>> = BTreeMap::new();
        for at in 0..leaf.count() {
            let entry = leaf.entry(at);
            let Held::Pointer(pointer) = entry.held else { continue };
            let (key, version) = ([leaf.prefix(), entry.suffix].concat(), entry.version);
            let size = record_size(key.len(), pointer.len as usize) as u64;
            let value = match self.values.read(pointer, node.keyspace, &key, version).await {
                Ok(value) => value,
                Err(Error::Corrupt(_) | Error::Disk(_)) => {
                    held.insert(at, None);
                    self.losses.push(Loss::Value { keyspace: node.keyspace, key, version });
                    continue;
                }
                Err(error) => return Err(error),
            };
            if !self.bad_segments.contains(&pointer.segment) {
                *self.live.entry(pointer.segment).or_default() += size;
            } else if let Some(appender) = &mut self.appender {
                let keyspace = node.keyspace;
                let record = Record { keyspace, version, key: &key, value: &value };
                let to = appender.append(&record).await?;
                *self.live.entry(to.segment).or_default() += size;
                held.insert(at, Some(to));
            } else {
                self.changed = true;
            }
        }
        if held.is_empty() {
            return Ok(node.ptr);
        }
        let (lower, upper, all) = (leaf.lower_fence(), leaf.upper_fence(), 0..leaf.count());
        let mended = leaf.rebuilt(lower, upper, all, 0, |at, mut entry| {
            match held.get(&at) {
                // What was there is not known. What was there before would be a lie.
                Some(None) => entry.held = Held::Tombstone,
                Some(Some(to)) => entry.held = Held::Pointer(*to),
                None => {}
            }
            Some(entry)
        });
        self.write(mended.encode()).await
    }

    /// What can be had of a node that cannot be read: the leaves below it that are still there.
    async fn rescue(&mut self, node: &Node) -> Result<PagePtr, Error> {
        let level = node.level;
        if level == Some(0) {
            return self.empty(node, node.lower.clone(), node.upper.clone()).await;
        }
        let mut pieces = Vec::new();
        let mut at = node.lower.clone();
        for orphan in self.below(node).await? {
            if orphan.node.lower != at {
                let gap = self.empty(node, at.clone(), Some(orphan.node.lower.clone())).await?;
                pieces.push((at, gap));
            }
            let (lower, upper) = (orphan.node.lower.clone(), orphan.node.upper.clone());
            pieces.push((lower, self.node_of_leaf(orphan.node).await?));
            let Some(upper) = upper else {
                return self.tower(node, &pieces).await;
            };
            at = upper;
        }
        if node.upper.as_ref() != Some(&at) {
            let gap = self.empty(node, at.clone(), node.upper.clone()).await?;
            pieces.push((at, gap));
        }
        self.tower(node, &pieces).await
    }

    async fn node_of_leaf(&mut self, node: Node) -> Result<PagePtr, Error> {
        Box::pin(self.node(node)).await
    }

    /// Inner nodes over leaves, as many as the place in the tree asks for.
    async fn tower(
        &mut self,
        node: &Node,
        pieces: &[(FenceBuf, PagePtr)],
    ) -> Result<PagePtr, Error> {
        let mut ptr = self.inner(node, 1, pieces).await?;
        for level in 2..=node.level.unwrap_or(1) {
            ptr = self.inner(node, level, &[(node.lower.clone(), ptr)]).await?;
        }
        Ok(ptr)
    }

    async fn inner(
        &mut self,
        node: &Node,
        level: u8,
        pieces: &[(FenceBuf, PagePtr)],
    ) -> Result<PagePtr, Error> {
        let children = pieces.iter().map(|(lower, ptr)| (lower.get(), *ptr)).collect();
        let upper = node.upper.as_ref().map(FenceBuf::get);
        let (keyspace, lsn) = (node.keyspace, self.lsn);
        let image = InnerPage { keyspace, level, lsn, children, upper }.encode();
        self.write(image).await
    }

    /// An empty leaf where keys are lost.
    async fn empty(
        &mut self,
        node: &Node,
        lower: FenceBuf,
        upper: Option<FenceBuf>,
    ) -> Result<PagePtr, Error> {
        let to = upper.as_ref().map(|upper| upper.key.to_vec());
        self.losses.push(Loss::Keys { keyspace: node.keyspace, from: lower.key.to_vec(), to });
        let leaf = Leaf::new(node.keyspace, lower.get(), upper.as_ref().map(FenceBuf::get), 0);
        self.write(leaf.encode()).await
    }

    /// Writes a page behind all others, unless nothing is to be written.
    pub(super) async fn write(&mut self, mut image: Vec<u8>) -> Result<PagePtr, Error> {
        self.changed = true;
        let page = seal(&mut image, self.database, self.end, self.next);
        self.end += u64::from(page.units);
        self.used.add(page.unit, page.units.into());
        if self.appender.is_some() {
            self.pager.file().write_at(page.offset(), image).await?;
        }
        Ok(page)
    }

    /// Leaves that lie within a node's fences, in order, none over another.
    async fn below(&mut self, node: &Node) -> Result<Vec<Orphan>, Error> {
        if self.orphans.is_none() {
            self.orphans = Some(self.find_orphans().await?);
        }
        let within = |orphan: &&Orphan| {
            let (inner, outer) = (orphan.node.upper.as_ref(), node.upper.as_ref());
            orphan.node.keyspace == node.keyspace
                && orphan.node.lower.get() >= node.lower.get()
                && outer.is_none_or(|outer| inner.is_some_and(|inner| inner.get() <= outer.get()))
        };
        let mut chosen: Vec<Orphan> = Vec::new();
        // The newest first: what lies over it is what it replaced.
        for orphan in self.orphans.iter().flatten().filter(within) {
            let is_apart = |other: &Orphan| {
                let before = |a: &Orphan, b: &Orphan| {
                    a.node.upper.as_ref().is_some_and(|end| end.get() <= b.node.lower.get())
                };
                before(orphan, other) || before(other, orphan)
            };
            if chosen.iter().all(is_apart) {
                chosen.push(orphan.clone());
            }
        }
        chosen.sort_by(|a, b| a.node.lower.get().cmp(&b.node.lower.get()));
        Ok(chosen)
    }

    /// Every leaf in the file that the generation may have, the newest first.
    async fn find_orphans(&self) -> Result<Vec<Orphan>, Error> {
        let mut found = Vec::new();
        for (ptr, header, image) in pages(self.pager, self.database, PageType::Leaf).await? {
            let is_marked = self.marked.as_ref().is_none_or(|marked| marked.has(ptr.unit));
            if !is_marked || header.generation > self.generation || header.lsn > self.lsn {
                continue;
            }
            let Some(leaf) = Leaf::read(image) else { continue };
            let node = Node {
                ptr,
                keyspace: header.keyspace,
                level: Some(0),
                lower: leaf.lower_fence().to_buf(),
                upper: leaf.upper_fence().map(Fence::to_buf),
            };
            found.push(Orphan { node, generation: header.generation });
        }
        found.sort_by_key(|orphan| std::cmp::Reverse(orphan.generation));
        Ok(found)
    }
}

/// Every intact page of a kind, wherever in the file it lies.
pub(super) async fn pages(
    pager: &Pager,
    database: DatabaseId,
    kind: PageType,
) -> Result<Vec<(PagePtr, PageHeader, Vec<u8>)>, Error> {
    let size = pager.file().size().await?;
    let mut found = Vec::new();
    for unit in 1..size / UNIT as u64 {
        let Ok(head) = pager.file().read_at(unit * UNIT as u64, PAGE_HEAD).await else { continue };
        let Some(header) = PageHeader::read(&head) else { continue };
        let len = header.len as usize;
        let is_page = header.kind == kind
            && header.unit == unit
            && len.is_multiple_of(UNIT)
            && unit * UNIT as u64 + len as u64 <= size;
        let Ok(units) = u16::try_from(len / UNIT) else { continue };
        if !is_page || units == 0 {
            continue;
        }
        let Ok(image) = pager.file().read_at(unit * UNIT as u64, len).await else { continue };
        let sum = u32::from_le_bytes(head[..4].try_into().expect("four bytes"));
        let ptr = PagePtr { unit, units, sum, generation: header.generation as u32 };
        if open(&image, database, ptr).is_ok() {
            found.push((ptr, header, image));
        }
    }
    Ok(found)
}

fn fits_leaf(image: &[u8], node: &Node) -> bool {
    Leaf::read(image.to_vec()).is_some_and(|leaf| {
        let upper = node.upper.as_ref().map(FenceBuf::get);
        (leaf.lower_fence(), leaf.upper_fence()) == (node.lower.get(), upper)
    })
}

fn children(page: &InnerPage<'_>, node: &Node) -> Vec<Node> {
    let ends = page.children.iter().skip(1).map(|(at, _)| Some(*at)).chain([page.upper]);
    let child = |((lower, ptr), upper): (&(Fence<'_>, PagePtr), Option<Fence<'_>>)| Node {
        ptr: *ptr,
        keyspace: node.keyspace,
        level: Some(page.level - 1),
        lower: lower.to_buf(),
        upper: upper.map(Fence::to_buf),
    };
    page.children.iter().zip(ends).map(child).collect()
}
