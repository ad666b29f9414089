//! A runtime of one host and one disk, for the journal's own tests: power fails at a chosen disk
//! operation and any subset of what was not synced survives.

use std::{
    collections::BTreeMap,
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context as TaskContext, Poll, Waker},
};

use orloj_kernel::{
    Clock, Context, Datagram, Directory, Disk, DiskError, DiskErrorKind, Entropy, Entry, HostKey,
    Instant, Io, Listener, Network, OpenMode, Probe, RawFile, RawLock, Site, Spawner, Stream, Task,
    TaskKey, Timer, WallTime,
};

const SECTOR: usize = 512;
const ME: HostKey = HostKey(0);

/// Xorshift: enough for choosing what survives.
#[derive(Clone, Debug)]
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[derive(Clone, Debug, Default)]
struct Inode {
    cached: Vec<u8>,
    durable: Vec<u8>,
}

type Names = BTreeMap<String, usize>;

#[derive(Debug)]
pub(super) struct State {
    pub(super) chance: Chance,
    inodes: Vec<Inode>,
    names: Names,
    /// Every state of the names since the last sync of a directory, the durable one first.
    past: Vec<Names>,
    now: u64,
    /// Disk operations left before power fails.
    pub(super) fuse: u64,
    /// Bytes left before the disk is full.
    pub(super) room: u64,
    /// Writes to let pass before one fails; then they work again.
    pub(super) write_fails: Option<u64>,
    /// Syncs to let pass before one fails and drops what it should have kept.
    pub(super) sync_fails: Option<u64>,
    pub(super) operations: u64,
}

/// The world. It lives as long as the test process, as every runtime does.
pub(super) struct World {
    state: Mutex<State>,
    tasks: Mutex<Vec<(u64, Option<Task>)>>,
}

#[derive(Clone, Copy)]
pub(super) struct Handle(&'static World);

impl Handle {
    pub(super) fn new(seed: u64) -> Handle {
        let state = State {
            chance: Chance(seed),
            inodes: Vec::new(),
            names: Names::new(),
            past: Vec::new(),
            now: 0,
            fuse: u64::MAX,
            room: u64::MAX,
            write_fails: None,
            sync_fails: None,
            operations: 0,
        };
        Handle(Box::leak(Box::new(World { state: Mutex::new(state), tasks: Mutex::default() })))
    }

    pub(super) fn state(&self) -> MutexGuard<'static, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn context(&self) -> Context {
        let world: &'static Handle = Box::leak(Box::new(*self));
        Context::new(world, ME)
    }

    /// Runs `main` until it ends, or until power fails: `None`.
    pub(super) fn run<T>(&self, main: impl Future<Output = T>) -> Option<T> {
        let mut main = std::pin::pin!(main);
        let mut cx = TaskContext::from_waker(Waker::noop());
        for _ in 0..1_000_000 {
            if let Poll::Ready(out) = main.as_mut().poll(&mut cx) {
                return Some(out);
            }
            self.poll_tasks(&mut cx);
            let mut state = self.state();
            state.now += 1_000_000;
            if state.fuse == 0 {
                drop(state);
                self.tasks().clear();
                return None;
            }
        }
        panic!("nothing has happened for a million rounds");
    }

    fn tasks(&self) -> MutexGuard<'static, Vec<(u64, Option<Task>)>> {
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_tasks(&self, cx: &mut TaskContext<'_>) {
        let count = self.tasks().len();
        for index in 0..count {
            let Some(mut task) = self.tasks().get_mut(index).and_then(|t| t.1.take()) else {
                continue;
            };
            if task.as_mut().poll(cx).is_pending() {
                self.tasks()[index].1 = Some(task);
            }
        }
    }

    /// Power fails: of everything unsynced any part survives.
    pub(super) fn power_cut(&self) {
        self.tasks().clear();
        let mut guard = self.state();
        let state = &mut *guard;
        let chance = &mut state.chance;
        state.past.push(std::mem::take(&mut state.names));
        state.names = state.past.swap_remove(chance.below(state.past.len() as u64) as usize);
        state.past.clear();
        for inode in &mut state.inodes {
            let len = match chance.below(2) {
                0 => inode.durable.len(),
                _ => inode.cached.len(),
            };
            let style = chance.below(4);
            inode.durable.resize(len, 0);
            inode.cached.resize(len, 0);
            for at in (0..len).step_by(SECTOR) {
                let end = len.min(at + SECTOR);
                let (new, old) = (&inode.cached[at..end], &mut inode.durable[at..end]);
                if new == &*old {
                    continue;
                }
                let cut = chance.below((end - at) as u64 + 1) as usize;
                match (style, chance.below(6)) {
                    (0, _) | (_, 0) => {}
                    (1, _) | (_, 1 | 2) => old.copy_from_slice(new),
                    (_, 3) => old[..cut].copy_from_slice(&new[..cut]),
                    (_, 4) => old[cut..].copy_from_slice(&new[cut..]),
                    _ => old.iter_mut().for_each(|b| *b = chance.next() as u8),
                }
            }
            inode.cached.clone_from(&inode.durable);
        }
        (state.fuse, state.room) = (u64::MAX, u64::MAX);
        (state.write_fails, state.sync_fails) = (None, None);
    }

    /// The files under `dir`, as they are now.
    pub(super) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        state.names.iter().map(|(n, i)| (n.clone(), state.inodes[*i].cached.clone())).collect()
    }

    /// Makes the disk hold `files`, durably.
    pub(super) fn put(&self, files: &BTreeMap<String, Vec<u8>>) {
        let mut state = self.state();
        for (name, bytes) in files {
            let inode = state.inodes.len();
            state.inodes.push(Inode { cached: bytes.clone(), durable: bytes.clone() });
            state.names.insert(name.clone(), inode);
        }
    }

    /// Changes a file behind everybody's back; durable.
    pub(super) fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let inode = state.names[name];
        change(&mut state.inodes[inode].cached);
        state.inodes[inode].durable = state.inodes[inode].cached.clone();
    }

    /// Removes a file behind everybody's back.
    pub(super) fn lose(&self, name: &str) {
        self.state().names.remove(name).expect("the file is there");
        self.state().past.clear();
    }

    /// Counts one disk operation; false when power has failed.
    fn tick(&self) -> bool {
        let mut state = self.state();
        state.operations += 1;
        state.fuse = state.fuse.saturating_sub(1);
        state.fuse > 0
    }

    /// One operation on the disk: it happens, or power fails before it, for ever.
    fn io<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Io<'static, T> {
        let me = *self;
        Box::pin(async move {
            if !me.tick() {
                std::future::pending::<()>().await;
            }
            act(&mut me.state())
        })
    }
}

impl State {
    fn rename_to(&mut self, change: impl FnOnce(&mut Names)) {
        let before = self.names.clone();
        self.past.push(before);
        change(&mut self.names);
    }
}

struct Opened {
    world: Handle,
    inode: usize,
}

fn count_down(left: &mut Option<u64>) -> bool {
    match left {
        Some(0) => {
            *left = None;
            true
        }
        Some(n) => {
            *n -= 1;
            false
        }
        None => false,
    }
}

impl RawFile for Opened {
    fn read_at(
        &self,
        offset: u64,
        mut buf: Vec<u8>,
    ) -> Io<'_, (Vec<u8>, Result<usize, DiskErrorKind>)> {
        let inode = self.inode;
        self.world.io(move |s| {
            let from = &s.inodes[inode].cached;
            let from = from.get(offset as usize..).unwrap_or_default();
            let n = from.len().min(buf.len());
            buf[..n].copy_from_slice(&from[..n]);
            (buf, Ok(n))
        })
    }

    fn write_at(&self, offset: u64, buf: Vec<u8>) -> Io<'_, (Vec<u8>, Result<(), DiskErrorKind>)> {
        let inode = self.inode;
        let (world, start) = (self.world, offset as usize);
        Box::pin(async move {
            let alive = world.tick();
            let result = {
                let mut state = world.state();
                let fails = count_down(&mut state.write_fails);
                let file = &mut state.inodes[inode].cached;
                let grown = (start + buf.len()).saturating_sub(file.len()) as u64;
                let full = grown > state.room;
                // What a failed write leaves is anything.
                let keep = match full || fails {
                    true => state.chance.below(buf.len() as u64 + 1) as usize,
                    false => buf.len(),
                };
                let file = &mut state.inodes[inode].cached;
                if !full {
                    file.resize(file.len().max(start + keep), 0);
                    file[start..start + keep].copy_from_slice(&buf[..keep]);
                    state.room -= grown.min(state.room);
                }
                match (full, fails) {
                    (true, _) => Err(DiskErrorKind::Full),
                    (_, true) => Err(DiskErrorKind::Io(5)),
                    _ => Ok(()),
                }
            };
            if !alive {
                std::future::pending::<()>().await;
            }
            (buf, result)
        })
    }

    fn sync(&self) -> Io<'_, Result<(), DiskErrorKind>> {
        let inode = self.inode;
        self.world.io(move |s| {
            let fails = count_down(&mut s.sync_fails);
            let file = &mut s.inodes[inode];
            if fails {
                file.cached.clone_from(&file.durable);
                return Err(DiskErrorKind::Io(5));
            }
            file.durable.clone_from(&file.cached);
            Ok(())
        })
    }

    fn size(&self) -> Io<'_, Result<u64, DiskErrorKind>> {
        let inode = self.inode;
        self.world.io(move |s| Ok(s.inodes[inode].cached.len() as u64))
    }

    fn set_len(&self, len: u64) -> Io<'_, Result<(), DiskErrorKind>> {
        let inode = self.inode;
        self.world.io(move |s| {
            s.inodes[inode].cached.resize(len as usize, 0);
            Ok(())
        })
    }
}

impl Disk for Handle {
    fn open(
        &self,
        _: HostKey,
        path: &str,
        mode: OpenMode,
    ) -> Io<'static, Result<Box<dyn RawFile>, DiskError>> {
        let (world, path) = (*self, path.to_owned());
        self.io(move |s| {
            let inode = match (s.names.get(&path), mode) {
                (Some(_), OpenMode::CreateNew) => {
                    return Err(DiskError::new("open", &path, DiskErrorKind::AlreadyExists));
                }
                (Some(inode), _) => *inode,
                (None, OpenMode::Read | OpenMode::Write) => {
                    return Err(DiskError::new("open", &path, DiskErrorKind::NotFound));
                }
                (None, _) => {
                    s.inodes.push(Inode::default());
                    let inode = s.inodes.len() - 1;
                    s.rename_to(|names| {
                        names.insert(path, inode);
                    });
                    inode
                }
            };
            let file: Box<dyn RawFile> = Box::new(Opened { world, inode });
            Ok(file)
        })
    }

    fn remove(&self, _: HostKey, path: &str) -> Io<'static, Result<(), DiskError>> {
        let path = path.to_owned();
        self.io(move |s| {
            if !s.names.contains_key(&path) {
                return Err(DiskError::new("remove", &path, DiskErrorKind::NotFound));
            }
            s.rename_to(|names| {
                names.remove(&path);
            });
            Ok(())
        })
    }

    fn rename(&self, _: HostKey, from: &str, to: &str) -> Io<'static, Result<(), DiskError>> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.io(move |s| {
            s.rename_to(|names| {
                let inode = names.remove(&from).expect("what is renamed is there");
                names.insert(to, inode);
            });
            Ok(())
        })
    }

    fn list(&self, _: HostKey, dir: &str) -> Io<'static, Result<Vec<Entry>, DiskError>> {
        let dir = format!("{dir}/");
        self.io(move |s| {
            let names = s.names.iter().filter_map(|(n, i)| Some((n.strip_prefix(&dir)?, i)));
            Ok(names
                .map(|(name, inode)| Entry {
                    name: name.to_owned(),
                    len: s.inodes[*inode].cached.len() as u64,
                    is_dir: false,
                })
                .collect())
        })
    }

    fn create_dir(&self, _: HostKey, _: &str) -> Io<'static, Result<(), DiskError>> {
        self.io(|_| Ok(()))
    }

    fn sync_dir(&self, _: HostKey, _: &str) -> Io<'static, Result<(), DiskError>> {
        self.io(|s| {
            s.past.clear();
            Ok(())
        })
    }

    fn lock(&self, _: HostKey, path: &str) -> Io<'static, Result<Box<dyn RawLock>, DiskError>> {
        let error = DiskError::new("lock", path, DiskErrorKind::Denied);
        Box::pin(async move { Err(error) })
    }
}

impl Clock for Handle {
    fn now(&self, _: HostKey) -> Instant {
        Instant(self.state().now)
    }
    fn wall(&self, _: HostKey) -> WallTime {
        WallTime(self.state().now / 1_000)
    }
    fn poll_timer(
        &self,
        host: HostKey,
        deadline: Instant,
        _: &mut Timer,
        _: &mut TaskContext<'_>,
    ) -> Poll<()> {
        if self.now(host) >= deadline { Poll::Ready(()) } else { Poll::Pending }
    }
    fn drop_timer(&self, _: u64) {}
}

impl Spawner for Handle {
    fn spawn(&self, _: HostKey, _: &'static str, task: Task) -> TaskKey {
        let mut tasks = self.tasks();
        let key = tasks.last().map_or(0, |t| t.0 + 1);
        tasks.push((key, Some(task)));
        TaskKey(key)
    }
    fn abort(&self, key: TaskKey) {
        let task = self.tasks().iter_mut().find(|t| t.0 == key.0).and_then(|t| t.1.take());
        drop(task);
    }
    fn block_on(&self, _: HostKey, _: Pin<&mut dyn Future<Output = ()>>) {
        unimplemented_here()
    }
}

impl Entropy for Handle {
    fn entropy(&self, _: HostKey) -> u64 {
        self.state().chance.next()
    }
}

impl Probe for Handle {
    fn buggify(&self, _: HostKey, _: &'static Site) -> bool {
        self.state().chance.below(8) == 0
    }
    fn observe(&self, _: HostKey, _: &'static Site, _: bool) {}
    fn violated(&self, _: HostKey, site: &'static Site, evidence: fmt::Arguments<'_>) {
        panic!("{}: {evidence}", site.name);
    }
    fn traces(&self, _: HostKey) -> bool {
        false
    }
    fn trace(&self, _: HostKey, _: &'static str, _: fmt::Arguments<'_>) {}
    fn mutant(&self, _: HostKey, _: &'static str) -> bool {
        false
    }
    fn directory(&self, _: HostKey) -> Arc<Directory> {
        Arc::default()
    }
}

impl Network for Handle {
    fn connect(&self, _: HostKey, _: &str) -> Io<'static, io::Result<Stream>> {
        unimplemented_here()
    }
    fn listen(&self, _: HostKey, _: &str) -> Io<'static, io::Result<Listener>> {
        unimplemented_here()
    }
    fn bind(&self, _: HostKey, _: &str) -> Io<'static, io::Result<Datagram>> {
        unimplemented_here()
    }
}

fn unimplemented_here<T>() -> T {
    panic!("the journal uses neither a network nor a blocking runtime");
}
