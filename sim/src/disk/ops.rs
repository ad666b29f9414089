//! Operations under way: issued by a task, carried out when their latency has passed, whether or
//! not anybody still waits.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use orloj_kernel::{DiskErrorKind, Entry, OpenMode, mutant};

use super::{DiskOp, EIO, FileKey, LockKey, Luck, SimDisk, SyncToken};
use crate::{
    choice::Stream,
    graph::Kind,
    host::Crash,
    task::Wake,
    world::{Event, World, try_with, with},
};

/// What is to be done.
#[derive(Debug)]
pub(super) enum Work {
    Open(String, OpenMode),
    Remove(String),
    Rename(String, String),
    List(String),
    CreateDir(String),
    Lock(String),
    /// The beginning of a sync, which may have failed.
    SyncDir(Result<SyncToken, DiskErrorKind>),
    Sync(Result<SyncToken, DiskErrorKind>),
    Read(FileKey, u64, Vec<u8>),
    Write(FileKey, u64, Vec<u8>),
    Size(FileKey),
    SetLen(FileKey, u64),
}

/// What came of it: a buffer of the caller's, and the answer.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) buf: Vec<u8>,
    pub(super) answer: Result<Answer, DiskErrorKind>,
}

#[derive(Debug)]
pub(super) enum Answer {
    Done,
    Number(u64),
    File(FileKey),
    Lock(LockKey),
    Entries(Vec<Entry>),
}

impl Answer {
    pub(super) fn number(self) -> u64 {
        match self {
            Answer::Number(number) => number,
            other => unreachable!("expected a number, not {other:?}"),
        }
    }
}

impl Work {
    /// The kind of operation and the bytes it moves, for its latency.
    fn cost(&self) -> (DiskOp, usize) {
        match self {
            Work::Read(_, _, buf) => (DiskOp::Read, buf.len()),
            Work::Write(_, _, buf) => (DiskOp::Write, buf.len()),
            Work::Sync(_) | Work::SyncDir(_) => (DiskOp::Sync, 0),
            _ => (DiskOp::Name, 0),
        }
    }

    /// The file that must stay open until the operation ends.
    fn file(&self) -> Option<FileKey> {
        match self {
            Work::Read(file, ..)
            | Work::Write(file, ..)
            | Work::Size(file)
            | Work::SetLen(file, _) => Some(*file),
            _ => None,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Work::Open(..) => "open",
            Work::Remove(_) => "remove",
            Work::Rename(..) => "rename",
            Work::List(_) => "list",
            Work::CreateDir(_) => "create_dir",
            Work::Lock(_) => "lock",
            Work::SyncDir(_) => "sync_dir",
            Work::Sync(_) => "sync",
            Work::Read(..) => "read",
            Work::Write(..) => "write",
            Work::Size(_) => "size",
            Work::SetLen(..) => "set_len",
        }
    }

    /// What it is about, while its machine is up.
    fn path(&self, disk: &SimDisk) -> String {
        let path = match self {
            Work::Open(path, _)
            | Work::Remove(path)
            | Work::List(path)
            | Work::CreateDir(path)
            | Work::Lock(path)
            | Work::Rename(_, path) => Some(path.clone()),
            Work::SyncDir(token) | Work::Sync(token) => {
                token.ok().and_then(|token| disk.path_of_sync(token))
            }
            Work::Read(file, ..)
            | Work::Write(file, ..)
            | Work::Size(file)
            | Work::SetLen(file, _) => disk.path(*file),
        };
        path.unwrap_or_default()
    }

    /// It in words.
    fn shown(&self, path: &str) -> String {
        let name = self.name();
        match self {
            Work::Read(_, at, buf) => format!("{name} {path}, {} B at {at}", buf.len()),
            Work::Write(_, at, buf) => format!("{name} {path}, {} B at {at}", buf.len()),
            Work::SetLen(_, len) => format!("{name} {path} to {len} B"),
            Work::Rename(from, _) => format!("{name} {from} to {path}"),
            _ => format!("{name} {path}").trim_end().to_owned(),
        }
    }

    /// The answer to whoever asks a machine that is down, or was when the operation was under way.
    fn refuse(self) -> Outcome {
        let buf = match self {
            Work::Read(_, _, buf) | Work::Write(_, _, buf) => buf,
            _ => Vec::new(),
        };
        Outcome { buf, answer: Err(DiskErrorKind::Io(EIO)) }
    }

    fn carry_out(self, disk: &mut SimDisk, luck: &mut Luck<'_>) -> Outcome {
        let mut spent = Vec::new();
        let done = |()| Answer::Done;
        let answer = match self {
            Work::Open(path, mode) => disk.open(&path, mode, luck).map(Answer::File),
            Work::Remove(path) => disk.remove(&path).map(done),
            Work::Rename(from, to) => disk.rename(&from, &to).map(done),
            Work::List(dir) => disk.list(&dir).map(Answer::Entries),
            Work::CreateDir(dir) => disk.create_dir(&dir, luck).map(done),
            Work::Lock(path) => disk.lock(&path, luck).map(Answer::Lock),
            Work::SyncDir(sync) => sync.and_then(|sync| disk.end_sync_dir(sync, luck)).map(done),
            Work::Sync(sync) => sync.and_then(|sync| disk.end_sync(sync, luck)).map(done),
            Work::Read(file, offset, mut buf) => {
                let read = disk.read_at(file, offset, &mut buf, luck);
                spent = buf;
                read.map(|n| Answer::Number(n as u64))
            }
            Work::Write(file, offset, buf) => {
                let written = disk.write_at(file, offset, &buf, luck);
                spent = buf;
                written.map(done)
            }
            Work::Size(file) => disk.size(file).map(Answer::Number),
            Work::SetLen(file, len) => disk.set_len(file, len).map(done),
        };
        Outcome { buf: spent, answer }
    }
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Free,
    UnderWay(Work),
    Ended(Outcome),
}

#[derive(Debug, Default)]
struct Slot {
    life: u32,
    host: u32,
    state: State,
    /// Whether its future is still there.
    awaited: bool,
    wake: Wake,
}

/// Every operation under way in a world.
#[derive(Debug, Default)]
pub(crate) struct Ops {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Ops {
    fn add(&mut self, host: u32, state: State) -> (u32, u32) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let s = &mut self.slots[slot as usize];
        (s.host, s.state, s.awaited) = (host, state, true);
        (slot, s.life)
    }

    /// The slot of an operation that has not been settled.
    fn get(&mut self, slot: u32, life: u32) -> Option<&mut Slot> {
        self.slots.get_mut(slot as usize).filter(|s| s.life == life)
    }

    fn release(&mut self, slot: u32) -> Wake {
        let s = &mut self.slots[slot as usize];
        s.life = s.life.wrapping_add(1);
        s.state = State::Free;
        self.free.push(slot);
        s.wake.take()
    }
}

/// Waits for one operation.
pub(super) struct Pending {
    world: u32,
    slot: u32,
    life: u32,
}

impl Future for Pending {
    type Output = Outcome;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let (poll, wake) = with(|w| {
            let s = w.disk_ops.get(self.slot, self.life).expect("awaited, and not ended before");
            match std::mem::take(&mut s.state) {
                State::Ended(outcome) => (Poll::Ready(outcome), w.disk_ops.release(self.slot)),
                state => {
                    s.state = state;
                    let before = s.wake.take();
                    s.wake.set(cx.waker());
                    (Poll::Pending, before)
                }
            }
        });
        // A waker may be foreign, and is not dropped while the world is in use.
        drop(wake);
        poll
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let wake = try_with(self.world, |w| {
            let s = w.disk_ops.get(self.slot, self.life)?;
            s.awaited = false;
            match std::mem::take(&mut s.state) {
                State::Ended(outcome) => {
                    let host = s.host;
                    w.disown(host, outcome);
                    Some(w.disk_ops.release(self.slot))
                }
                state => {
                    s.state = state;
                    Some(s.wake.take())
                }
            }
        });
        drop(wake);
    }
}

/// Begins an operation on `host`, which ends after its latency. Dropping the future does not take
/// it back.
pub(super) fn issue(w: &mut World, host: u32, work: Work) -> Pending {
    let (op, bytes) = work.cost();
    let h = &mut w.hosts[host as usize];
    let (slot, life) = if h.alive {
        if let Some(file) = work.file() {
            h.disk.share(file);
        }
        let mut luck = Luck { choices: &mut w.choices, faults: &mut w.faults };
        let at = w.now.saturating_add(h.disk.latency(op, bytes, w.now, &mut luck));
        w.counts.asks_disk(op, bytes);
        let shown = w.trace.close.then(|| work.shown(&work.path(&h.disk)));
        let (slot, life) = w.disk_ops.add(host, State::UnderWay(work));
        w.queue.push(at, Event::Disk { slot, life });
        if let Some(shown) = shown {
            w.note_disk(host, (slot, life), &shown);
        }
        (slot, life)
    } else {
        w.disk_ops.add(host, State::Ended(work.refuse()))
    };
    Pending { world: w.id, slot, life }
}

impl World {
    /// The latency of an operation has passed.
    pub(crate) fn disk_event(&mut self, slot: u32, life: u32) {
        let Some(s) = self.disk_ops.get(slot, life) else { return };
        let State::UnderWay(work) = std::mem::take(&mut s.state) else { return };
        let (host, awaited) = (s.host, s.awaited);
        let outcome = self.carry_out(host, work, (slot, life));
        if awaited {
            let s = &mut self.disk_ops.slots[slot as usize];
            s.state = State::Ended(outcome);
            let wake = s.wake.take();
            self.wake(wake);
        } else {
            self.disown(host, outcome);
            self.disk_ops.release(slot);
        }
    }

    fn carry_out(&mut self, host: u32, mut work: Work, op: (u32, u32)) -> Outcome {
        if let Work::SyncDir(Ok(token)) = &mut work
            && mutant!(self, "runtime.synced_names_are_lost")
        {
            *token = token.of_nothing();
        }
        let (name, file) = (work.name(), work.file());
        let noted = self.trace.close.then(|| Noted::of(&work, &self.hosts[host as usize].disk));
        let disk = &mut self.hosts[host as usize].disk;
        let mut luck = Luck { choices: &mut self.choices, faults: &mut self.faults };
        let outcome = work.carry_out(disk, &mut luck);
        let path = match self.trace.tells() && outcome.answer.is_err() {
            true => file.and_then(|file| disk.path(file)),
            false => None,
        };
        if let Some(file) = file {
            disk.close(file);
        }
        if let Some(noted) = noted {
            self.note_disk_done(host, op, &noted, &outcome.answer);
        }
        if outcome.answer.is_ok() {
            let disk = &mut self.hosts[host as usize].disk;
            disk.done.writes += u64::from(name == "write");
            disk.done.syncs += u64::from(name == "sync");
            if !self.disk_watch.is_empty() {
                std::mem::take(&mut self.disk_watch).into_iter().for_each(|t| self.wake_task(t));
            }
        }
        if let Err(kind) = &outcome.answer {
            let on = path.map_or(String::new(), |path| format!(" {path}"));
            self.tell(Some(host), "disk", format_args!("{name}{on}: {kind}"));
        }
        outcome
    }

    /// Nobody will take what an operation has brought.
    fn disown(&mut self, host: u32, outcome: Outcome) {
        let disk = &mut self.hosts[host as usize].disk;
        match outcome.answer {
            Ok(Answer::File(file)) => disk.close(file),
            Ok(Answer::Lock(lock)) => disk.unlock(lock),
            _ => {}
        }
    }

    /// A host goes down. What its process had asked for may still happen, and nobody there hears of
    /// it.
    pub(crate) fn disk_crash(&mut self, host: u32, how: Crash) {
        for slot in 0..self.disk_ops.slots.len() {
            let s = &mut self.disk_ops.slots[slot];
            if s.host != host || !matches!(s.state, State::UnderWay(_)) {
                continue;
            }
            let State::UnderWay(work) = std::mem::take(&mut s.state) else { continue };
            let (awaited, life) = (s.awaited, s.life);
            let outcome = match self.choices.draw(Stream::Disk, "disk.crash.done", 2) {
                0 => work.refuse(),
                _ => {
                    let Outcome { buf, .. } = self.carry_out(host, work, (slot as u32, life));
                    Outcome { buf, answer: Err(DiskErrorKind::Io(EIO)) }
                }
            };
            if awaited {
                let s = &mut self.disk_ops.slots[slot];
                s.state = State::Ended(outcome);
                let wake = s.wake.take();
                self.wake(wake);
            } else {
                self.disk_ops.release(slot as u32);
            }
        }
        let disk = &mut self.hosts[host as usize].disk;
        match how {
            Crash::Process => disk.process_crash(),
            Crash::Power => {
                let before = self.trace.tells().then(|| self.faults.clone());
                let mut luck = Luck { choices: &mut self.choices, faults: &mut self.faults };
                disk.power_cut(&mut luck);
                if let Some(before) = before {
                    self.tell_cut(host, &before);
                }
            }
        }
    }

    /// Tells what a power cut took.
    fn tell_cut(&mut self, host: u32, before: &crate::fault::Faults) {
        let new = self.faults.injections().map(|(class, n)| (class, n - before.injected(class)));
        let new: Vec<String> =
            new.filter(|(_, n)| *n > 0).map(|(class, n)| format!("{n} {}", class.name())).collect();
        if !new.is_empty() {
            self.tell(Some(host), "disk", format_args!("power cut: {}", new.join(", ")));
        }
    }
}

/// What the recorder of a graph is told of an operation that was carried out.
struct Noted {
    text: String,
    path: String,
    /// What it was called before, if it was renamed.
    from: Option<String>,
    writes: bool,
    syncs: bool,
}

impl Noted {
    #[cold]
    fn of(work: &Work, disk: &SimDisk) -> Noted {
        let path = work.path(disk);
        Noted {
            text: work.shown(&path),
            path,
            from: match work {
                Work::Rename(from, _) => Some(from.clone()),
                _ => None,
            },
            writes: matches!(work, Work::Write(..) | Work::SetLen(..) | Work::Rename(..)),
            syncs: matches!(work, Work::Sync(_) | Work::SyncDir(_)),
        }
    }
}

impl World {
    #[cold]
    fn note_disk(&mut self, host: u32, op: (u32, u32), shown: &str) {
        let asked = self.record(Kind::Disk, host, None, shown, None);
        if let (Some(asked), Some(tape)) = (asked, &mut self.trace.tape) {
            tape.disk_begins(op, asked);
        }
    }

    #[cold]
    fn note_disk_done(
        &mut self,
        host: u32,
        op: (u32, u32),
        noted: &Noted,
        answer: &Result<Answer, DiskErrorKind>,
    ) {
        let asked = self.trace.tape.as_mut().and_then(|tape| tape.disk_asked(op));
        let kind = if noted.syncs && answer.is_ok() { Kind::Synced } else { Kind::DiskDone };
        let text = match answer {
            Ok(_) => noted.text.clone(),
            Err(error) => format!("{}: {error}", noted.text),
        };
        let done = self.record(kind, host, Some("disk"), &text, asked);
        if let (Some(done), Some(tape)) = (done, &mut self.trace.tape) {
            if let Some(from) = &noted.from {
                tape.uses(done, host, from, false);
            }
            tape.uses(done, host, &noted.path, noted.writes);
        }
    }
}
