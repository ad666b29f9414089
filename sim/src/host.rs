//! Hosts: each a machine with its own clock, disk, network identity and processes.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, PoisonError},
};

use orloj_kernel::{Context, Directory, Task};

use crate::{
    clock::HostClock,
    disk::SimDisk,
    fault::FaultClass,
    graph::Kind,
    task::TaskId,
    world::{Event, World},
};

/// Makes the process of a host, once per boot. Shared with the task that runs it first thing, so
/// that a host that dies before its first poll can be booted again.
pub(crate) type Boot = Arc<Mutex<dyn FnMut(Context) -> Task + Send>>;

/// How a host goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process dies. The machine lives: its page cache survives, and its peers get a reset.
    Process,
    /// The machine loses power: unsynced data may be lost or torn, and its peers hear nothing.
    Power,
}

pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    pub(crate) rack: u32,
    pub(crate) clock: HostClock,
    pub(crate) disk: SimDisk,
    pub(crate) directory: Arc<Directory>,
    pub(crate) boot: Option<Boot>,
    /// Counts the times it was started; handles of an earlier boot are dead.
    pub(crate) boots: u32,
    pub(crate) alive: bool,
    pub(crate) paused: bool,
    /// Tasks that became ready during a pause.
    pub(crate) parked: Vec<u32>,
    /// Polls until it dies at an await point; `u64::MAX` for never.
    pub(crate) polls_left: u64,
    /// How it dies then.
    pub(crate) strike: Crash,
}

impl World {
    pub(crate) fn add_host(&mut self, name: &str, rack: u32, boot: Option<Boot>) -> u32 {
        let id = u32::try_from(self.hosts.len()).expect("fewer than 2^32 hosts");
        let namesake = self.hosts_by_name.insert(name.to_owned(), id);
        assert!(namesake.is_none(), "two hosts are called {name}; names are addresses");
        let [_, _, high, low] = (id + 1).to_be_bytes();
        self.hosts.push(Host {
            name: name.to_owned(),
            address: IpAddr::V4(Ipv4Addr::new(10, 0, high, low)),
            rack,
            clock: HostClock::new(),
            disk: SimDisk::new(),
            directory: Arc::new(Directory::new()),
            boot,
            boots: 0,
            alive: false,
            paused: false,
            parked: Vec::new(),
            polls_left: u64::MAX,
            strike: Crash::Process,
        });
        self.net.add_host();
        self.start(id);
        id
    }

    /// Boots a host that is down.
    pub(crate) fn start(&mut self, id: u32) {
        let context = self.context(id);
        let host = &mut self.hosts[id as usize];
        assert!(!host.alive, "{} is up already", host.name);
        host.alive = true;
        if host.boots > 0 {
            host.directory = Arc::new(Directory::new());
        }
        host.boots += 1;
        let boots = host.boots;
        if let Some(boot) = host.boot.clone() {
            let task = Box::pin(async move {
                // Made inside of the task, so that the factory runs on its host and may fail there.
                let process = boot.lock().unwrap_or_else(PoisonError::into_inner)(context);
                process.await;
            });
            self.tell_as(Kind::Boot, Some(id), "host", format_args!("boot {boots}"));
            self.spawn(id, "main", task);
        }
    }

    /// Takes a host down at once: every task of it is dropped where it stands.
    pub(crate) fn crash(&mut self, id: u32, how: Crash) {
        if !self.hosts[id as usize].alive {
            return;
        }
        self.tell_as(Kind::Crash, Some(id), "host", format_args!("CRASH {how:?}"));
        self.faults.count(match how {
            Crash::Process => FaultClass::HostCrash,
            Crash::Power => FaultClass::HostPowerLoss,
        });
        self.end_host(id, how);
    }

    /// Ends whatever runs on a host, as `how` would.
    pub(crate) fn end_host(&mut self, id: u32, how: Crash) {
        let host = &mut self.hosts[id as usize];
        if !host.alive {
            return;
        }
        host.alive = false;
        host.paused = false;
        host.polls_left = u64::MAX;
        self.net_crash(id, how);
        let parked = std::mem::take(&mut self.hosts[id as usize].parked);
        for slot in parked {
            self.slots[slot as usize].queued = false;
            if !self.slots[slot as usize].used {
                self.free.push(slot);
            }
        }
        for slot in 0..self.slots.len() {
            let s = &self.slots[slot];
            if s.used && s.host == id {
                self.end_task(TaskId::new(slot as u32, s.life));
            }
        }
        self.disk_crash(id, how);
    }

    /// Freezes a host for `length` of world time. Its clocks go on; it notices nothing.
    pub(crate) fn pause(&mut self, id: u32, length: u64) {
        let host = &mut self.hosts[id as usize];
        if !host.alive || host.paused {
            return;
        }
        host.paused = true;
        self.marked = true;
        let boot = host.boots;
        self.faults.count(FaultClass::HostPause);
        let us = length / 1_000;
        self.tell_as(Kind::Pause, Some(id), "host", format_args!("PAUSE for {us} us"));
        self.queue.push(self.now + length, Event::Resume { host: id, boot });
    }

    pub(crate) fn resume(&mut self, id: u32, boot: u32) {
        let host = &mut self.hosts[id as usize];
        if !host.paused || host.boots != boot {
            return;
        }
        host.paused = false;
        let parked = std::mem::take(&mut host.parked);
        self.tell_as(Kind::Resume, Some(id), "host", format_args!("resumes"));
        for slot in parked {
            self.ready.push(slot);
        }
    }

    /// The await point at which a host was to die has come.
    #[cold]
    pub(crate) fn struck_at_await(&mut self, id: u32) {
        let how = self.hosts[id as usize].strike;
        self.faults.count(FaultClass::HostKillAtAwait);
        self.crash(id, how);
    }

    pub(crate) fn host_named(&self, name: &str) -> Option<u32> {
        self.hosts_by_name.get(name).copied()
    }
}
