//! Names: directories as processes see them, as the media holds them, and the changes in between.
//!
//! What a file system may lose of its names is a matter of the file system. Modelled is what the
//! journaling ones (ext4, XFS, Btrfs) and soft updates have in common, and no more than that:
//! - A creation, removal or rename is atomic: all of it survives a power cut or nothing. A renamed
//!   file is never without a name, and never under both.
//! - A change survives only with every earlier unsynced change of the same names or the same file.
//! - Otherwise changes survive independently, in any order, until their directory is synced. A rename
//!   belongs to the directory it moves *to*. That a sync of some other file or directory happens to
//!   carry them along, as ext4 does, is not promised here.

use std::collections::{BTreeMap, BTreeSet};

use orloj_kernel::{DiskErrorKind, Entry};

use super::content::Content;

pub(super) type NodeId = u32;
/// The root directory, which is in no table, so that an empty disk allocates nothing.
pub(super) const ROOT: NodeId = u32::MAX;

const NAME_MAX: usize = 255;
const EBUSY: i32 = 16;

/// A directory.
#[derive(Clone, Debug, Default)]
pub(super) struct Dir {
    /// As processes see it.
    pub(super) now: BTreeMap<Box<str>, NodeId>,
    /// As the media holds it.
    pub(super) kept: BTreeMap<Box<str>, NodeId>,
}

#[derive(Clone, Debug, Default)]
pub(super) enum Body {
    #[default]
    Gone,
    File(Content),
    Dir(Dir),
}

/// A file or a directory, for as long as anything refers to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) body: Body,
    /// Its names as processes see it: none or one.
    pub(super) names: u32,
    /// Its names on the media.
    kept_names: u32,
    /// Unsynced changes that speak of it.
    pending: u32,
    /// Open handles, locks and syncs in flight.
    pub(super) handles: u32,
    pub(super) locked: bool,
}

/// A change of names that no sync has covered.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) seq: u64,
    node: NodeId,
    drop: Option<(NodeId, Box<str>)>,
    add: Option<(NodeId, Box<str>)>,
    replaced: Option<NodeId>,
}

impl Change {
    pub(super) fn is_rename(&self) -> bool {
        self.drop.is_some() && self.add.is_some()
    }

    fn home(&self) -> NodeId {
        let place = self.add.as_ref().or(self.drop.as_ref());
        place.expect("a change adds a name or drops one").0
    }

    fn nodes(&self) -> impl Iterator<Item = NodeId> {
        let dirs = [&self.drop, &self.add].map(|place| place.as_ref().map(|(dir, _)| *dir));
        let all = [Some(self.node), self.replaced, dirs[0], dirs[1]];
        all.into_iter().flatten().filter(|node| *node != ROOT)
    }
}

/// What a set of changes touches; a change that touches any of it depends on the set.
#[derive(Default)]
pub(super) struct Touched {
    names: BTreeSet<(NodeId, Box<str>)>,
    nodes: BTreeSet<NodeId>,
}

impl Touched {
    pub(super) fn add(&mut self, change: &Change) {
        self.names.extend([&change.drop, &change.add].into_iter().flatten().cloned());
        self.nodes.extend([Some(change.node), change.replaced].into_iter().flatten());
    }

    pub(super) fn meets(&self, change: &Change) -> bool {
        let mut names = [&change.drop, &change.add].into_iter().flatten();
        let mut nodes = [Some(change.node), change.replaced].into_iter().flatten();
        names.any(|name| self.names.contains(name)) || nodes.any(|node| self.nodes.contains(&node))
    }
}

/// Where a path leads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot<'p> {
    pub(super) dir: NodeId,
    /// Empty if the path ends at `dir` itself.
    pub(super) name: &'p str,
    pub(super) node: Option<NodeId>,
    /// The path ends in a slash, so that only a directory will do.
    slash: bool,
}

/// All names and all nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    root: Dir,
    pub(super) nodes: Vec<Node>,
    free: Vec<NodeId>,
    pub(super) pending: Vec<Change>,
}

impl Tree {
    pub(super) fn dir(&self, id: NodeId) -> Option<&Dir> {
        if id == ROOT {
            return Some(&self.root);
        }
        match &self.nodes[id as usize].body {
            Body::Dir(dir) => Some(dir),
            _ => None,
        }
    }

    fn dir_mut(&mut self, id: NodeId) -> &mut Dir {
        if id == ROOT {
            return &mut self.root;
        }
        match &mut self.nodes[id as usize].body {
            Body::Dir(dir) => dir,
            other => unreachable!("node {id} is {other:?} and no directory"),
        }
    }

    pub(super) fn file(&self, id: NodeId) -> Option<&Content> {
        match &self.nodes.get(id as usize)?.body {
            Body::File(content) => Some(content),
            _ => None,
        }
    }

    pub(super) fn file_mut(&mut self, id: NodeId) -> Option<&mut Content> {
        match &mut self.nodes.get_mut(id as usize)?.body {
            Body::File(content) => Some(content),
            _ => None,
        }
    }

    /// Follows `path` from the root; `..` of the root is the root.
    pub(super) fn find<'p>(&self, path: &'p str) -> Result<Spot<'p>, DiskErrorKind> {
        let mut above = Vec::new();
        let mut dir = ROOT;
        let mut parts = path.split('/').filter(|part| !part.is_empty() && *part != ".").peekable();
        let slash = path.ends_with('/') || path.ends_with("/.");
        while let Some(name) = parts.next() {
            if name == ".." {
                dir = above.pop().unwrap_or(ROOT);
                continue;
            }
            if name.len() > NAME_MAX || name.contains('\0') {
                return Err(DiskErrorKind::BadPath);
            }
            let entries = &self.dir(dir).expect("only directories are entered").now;
            let node = entries.get(name).copied();
            if parts.peek().is_none() {
                return Ok(Spot { dir, name, node, slash });
            }
            let node = node.ok_or(DiskErrorKind::NotFound)?;
            self.dir(node).ok_or(DiskErrorKind::BadPath)?;
            above.push(dir);
            dir = node;
        }
        Ok(Spot { dir, name: "", node: None, slash: true })
    }

    /// The file at `path`, to be opened or removed.
    pub(super) fn find_file<'p>(
        &self,
        path: &'p str,
    ) -> Result<(Spot<'p>, Option<NodeId>), DiskErrorKind> {
        let spot = self.find(path)?;
        let is_dir = spot.name.is_empty() || spot.node.is_some_and(|n| self.dir(n).is_some());
        if is_dir || (spot.slash && spot.node.is_some()) {
            return Err(DiskErrorKind::BadPath);
        }
        Ok((spot, spot.node))
    }

    pub(super) fn find_dir(&self, path: &str) -> Result<NodeId, DiskErrorKind> {
        let spot = self.find(path)?;
        if spot.name.is_empty() {
            return Ok(spot.dir);
        }
        let node = spot.node.ok_or(DiskErrorKind::NotFound)?;
        self.dir(node).map(|_| node).ok_or(DiskErrorKind::BadPath)
    }

    /// Whether something is at `path`, of either kind.
    pub(super) fn exists(&self, path: &str) -> bool {
        self.find(path).is_ok_and(|spot| spot.name.is_empty() || spot.node.is_some())
    }

    /// Adds a node under a name that is free.
    pub(super) fn create(
        &mut self,
        seq: u64,
        spot: Spot<'_>,
        body: Body,
    ) -> Result<NodeId, DiskErrorKind> {
        if spot.slash && !matches!(body, Body::Dir(_)) {
            return Err(DiskErrorKind::BadPath);
        }
        let node = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(Node::default());
            (self.nodes.len() - 1) as NodeId
        });
        self.nodes[node as usize] = Node { body, names: 1, ..Node::default() };
        self.dir_mut(spot.dir).now.insert(spot.name.into(), node);
        let add = Some((spot.dir, spot.name.into()));
        self.note(Change { seq, node, drop: None, add, replaced: None });
        Ok(node)
    }

    /// Makes `path` a directory, and the parents it lacks.
    pub(super) fn create_dir(&mut self, seq: u64, path: &str) -> Result<(), DiskErrorKind> {
        let ends = path.char_indices().filter(|(_, c)| *c == '/').map(|(i, _)| i);
        for end in ends.chain([path.len()]) {
            let spot = self.find(&path[..end])?;
            match spot.node {
                Some(node) if self.dir(node).is_none() => return Err(DiskErrorKind::BadPath),
                None if !spot.name.is_empty() => {
                    self.create(seq, spot, Body::Dir(Dir::default()))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, seq: u64, path: &str) -> Result<(), DiskErrorKind> {
        let (spot, node) = self.find_file(path)?;
        let node = node.ok_or(DiskErrorKind::NotFound)?;
        self.dir_mut(spot.dir).now.remove(spot.name);
        self.nodes[node as usize].names -= 1;
        let drop = Some((spot.dir, spot.name.into()));
        self.note(Change { seq, node, drop, add: None, replaced: None });
        Ok(())
    }

    pub(super) fn rename(&mut self, seq: u64, from: &str, to: &str) -> Result<(), DiskErrorKind> {
        let (source, target) = (self.find(from)?, self.find(to)?);
        if source.name.is_empty() || target.name.is_empty() {
            return Err(DiskErrorKind::Io(EBUSY));
        }
        let node = source.node.ok_or(DiskErrorKind::NotFound)?;
        let is_dir = self.dir(node).is_some();
        if !is_dir && (source.slash || target.slash) {
            return Err(DiskErrorKind::BadPath);
        }
        if target.node == Some(node) {
            return Ok(());
        }
        if let Some(replaced) = target.node {
            let fits = match self.dir(replaced) {
                Some(dir) => is_dir && dir.now.is_empty(),
                None => !is_dir,
            };
            if !fits {
                return Err(DiskErrorKind::BadPath);
            }
        }
        if is_dir && self.is_within(target.dir, node) {
            return Err(DiskErrorKind::BadPath);
        }
        self.dir_mut(source.dir).now.remove(source.name);
        self.dir_mut(target.dir).now.insert(target.name.into(), node);
        if let Some(replaced) = target.node {
            self.nodes[replaced as usize].names -= 1;
        }
        let drop = Some((source.dir, source.name.into()));
        let add = Some((target.dir, target.name.into()));
        self.note(Change { seq, node, drop, add, replaced: target.node });
        Ok(())
    }

    /// Whether directory `inner` is `outer` or below it.
    fn is_within(&self, inner: NodeId, outer: NodeId) -> bool {
        inner == outer
            || self.dir(outer).is_some_and(|dir| {
                dir.now
                    .values()
                    .any(|node| self.dir(*node).is_some() && self.is_within(inner, *node))
            })
    }

    pub(super) fn list(&self, path: &str) -> Result<Vec<Entry>, DiskErrorKind> {
        let dir = self.dir(self.find_dir(path)?).expect("found as a directory");
        let entry = |name: &str, file: Option<&Content>| Entry {
            name: name.to_owned(),
            len: file.map_or(0, |f| f.len),
            is_dir: file.is_none(),
        };
        Ok(dir.now.iter().map(|(name, node)| entry(name, self.file(*node))).collect())
    }

    /// Every file that has a name, with its path, in the order of names.
    pub(super) fn files(&self) -> Vec<(String, NodeId)> {
        let mut files = Vec::new();
        self.collect(ROOT, "", &mut files);
        files
    }

    fn collect(&self, dir: NodeId, above: &str, files: &mut Vec<(String, NodeId)>) {
        for (name, node) in &self.dir(dir).expect("only directories are entered").now {
            match self.dir(*node) {
                Some(_) => self.collect(*node, &format!("{above}{name}/"), files),
                None => files.push((format!("{above}{name}"), *node)),
            }
        }
    }

    /// The path of a file or directory that has a name.
    pub(super) fn path(&self, node: NodeId) -> Option<String> {
        self.search(ROOT, node)
    }

    fn search(&self, dir: NodeId, wanted: NodeId) -> Option<String> {
        if dir == wanted {
            return Some(String::new());
        }
        self.dir(dir)?.now.iter().find_map(|(name, node)| {
            if *node == wanted {
                return Some(name.to_string());
            }
            Some(format!("{name}/{}", self.search(*node, wanted)?))
        })
    }

    fn note(&mut self, change: Change) {
        for node in change.nodes() {
            self.nodes[node as usize].pending += 1;
        }
        self.pending.push(change);
    }

    /// Makes the changes of `dir` from before `begin` durable, and those they depend on.
    pub(super) fn settle(&mut self, dir: NodeId, begin: u64) {
        let mut all = self.pending.iter();
        if all.all(|change| change.seq < begin && change.home() == dir) {
            std::mem::take(&mut self.pending).into_iter().for_each(|change| self.commit(change));
            return;
        }
        let mut touched = Touched::default();
        let mut covered = vec![false; self.pending.len()];
        for (i, change) in self.pending.iter().enumerate().rev() {
            if change.seq < begin && (change.home() == dir || touched.meets(change)) {
                touched.add(change);
                covered[i] = true;
            }
        }
        let mut covered = covered.into_iter();
        let (done, pending) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|_| covered.next().expect("one mark for each change"));
        self.pending = pending;
        let done: Vec<Change> = done;
        for change in done {
            self.commit(change);
        }
    }

    /// Brings a change to the media. Those it depends on came first.
    pub(super) fn commit(&mut self, change: Change) {
        let mut unnamed = None;
        if let Some((dir, name)) = &change.drop {
            let kept = &mut self.dir_mut(*dir).kept;
            if kept.get(name) == Some(&change.node) {
                kept.remove(name);
                self.nodes[change.node as usize].kept_names -= 1;
            }
        }
        if let Some((dir, name)) = &change.add {
            unnamed = self.dir_mut(*dir).kept.insert(name.clone(), change.node);
            self.nodes[change.node as usize].kept_names += 1;
        }
        if let Some(node) = unnamed {
            self.nodes[node as usize].kept_names -= 1;
        }
        for node in change.nodes() {
            self.nodes[node as usize].pending -= 1;
        }
        for node in change.nodes().chain(unnamed) {
            self.release(node);
        }
    }

    /// Whether the loss of a change is to be seen: its name is there, or gone, and the media differs.
    pub(super) fn felt(&self, change: &Change) -> bool {
        let at = |(dir, name): &(NodeId, Box<str>)| {
            let dir = self.dir(*dir).expect("a change keeps its directories");
            (dir.now.get(name).copied(), dir.kept.get(name).copied())
        };
        match (&change.add, &change.drop) {
            (Some(place), _) => {
                let (now, kept) = at(place);
                now == Some(change.node) && kept != now
            }
            (None, Some(place)) => {
                let (now, kept) = at(place);
                now.is_none() && kept == Some(change.node)
            }
            (None, None) => false,
        }
    }

    /// Frees a node that nothing refers to any more.
    pub(super) fn release(&mut self, id: NodeId) {
        let node = &mut self.nodes[id as usize];
        if node.names + node.kept_names + node.pending + node.handles > 0 {
            return;
        }
        match std::mem::take(&mut node.body) {
            Body::Gone => {}
            Body::File(_) => self.free.push(id),
            Body::Dir(dir) => {
                self.free.push(id);
                for child in dir.kept.into_values() {
                    self.nodes[child as usize].kept_names -= 1;
                    self.release(child);
                }
            }
        }
    }

    /// Begins a new life after a power cut: what the media holds is all there is.
    pub(super) fn restart(&mut self) {
        self.pending.clear();
        let mut names = vec![0; self.nodes.len()];
        let mut dirs = vec![ROOT];
        while let Some(dir) = dirs.pop() {
            let dir = self.dir_mut(dir);
            dir.now = dir.kept.clone();
            for node in dir.kept.values() {
                names[*node as usize] += 1;
            }
            let children: Vec<NodeId> = dir.kept.values().copied().collect();
            dirs.extend(children.into_iter().filter(|node| self.dir(*node).is_some()));
        }
        self.free.clear();
        for (id, (node, names)) in self.nodes.iter_mut().zip(names).enumerate() {
            let body = if names > 0 { std::mem::take(&mut node.body) } else { Body::Gone };
            *node = Node { body, names, kept_names: names, ..Node::default() };
            if names == 0 {
                self.free.push(id as NodeId);
            }
        }
    }
}
