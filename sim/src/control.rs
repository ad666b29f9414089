//! What a scenario may do to its world.

use std::{sync::Arc, time::Duration};

use orloj_kernel::{Context, Directory, Instant, Site, Status};

use crate::{
    choice::{Choices, Stream},
    fault::{FaultClass, Faults},
    graph::Kind,
    host::Crash,
    net::{Latency, LinkFault, NetFaults},
    verdict::Failure,
    world::{World, with},
};

/// The controls of the world that runs on this thread. Hosts are named.
#[derive(Clone, Copy, Debug)]
pub struct Control;

pub(crate) fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn id(w: &World, host: &str) -> u32 {
    w.host_named(host).unwrap_or_else(|| panic!("no host is called {host}"))
}

impl Control {
    /// World time: what a clock without fault would show.
    pub fn now(&self) -> Instant {
        Instant(with(|w| w.now))
    }

    /// The context of a host, valid for its present boot.
    pub fn context(&self, host: &str) -> Context {
        with(|w| w.context(id(w, host)))
    }

    /// The names of all hosts.
    pub fn hosts(&self) -> Vec<String> {
        with(|w| w.hosts.iter().map(|h| h.name.clone()).collect())
    }

    /// Takes a host down at once. Does nothing if it is down.
    pub fn crash(&self, host: &str, how: Crash) {
        with(|w| w.crash(id(w, host), how));
    }

    /// Ends what a host's process has left running, its own end being no fault.
    pub fn exit(&self, host: &str) {
        with(|w| {
            let host = id(w, host);
            if w.hosts[host as usize].alive {
                w.tell_as(Kind::Crash, Some(host), "host", format_args!("its process has ended"));
            }
            w.end_host(host, Crash::Process);
        });
    }

    /// Boots a host that is down. Does nothing if it is up.
    pub fn restart(&self, host: &str) {
        with(|w| {
            let host = id(w, host);
            if !w.hosts[host as usize].alive {
                w.start(host);
            }
        });
    }

    /// Whether a host is up.
    pub fn is_up(&self, host: &str) -> bool {
        with(|w| w.hosts[id(w, host) as usize].alive)
    }

    /// How often a host was booted.
    pub fn boots(&self, host: &str) -> u32 {
        with(|w| w.hosts[id(w, host) as usize].boots)
    }

    /// Lets a host die after `polls` more polls of its tasks: at an await point that time cannot
    /// name.
    pub fn kill_after_polls(&self, host: &str, polls: u64, how: Crash) {
        with(|w| {
            let host = id(w, host);
            w.marked = true;
            (w.hosts[host as usize].polls_left, w.hosts[host as usize].strike) = (polls, how);
        });
    }

    /// Takes down every host of a rack by power loss.
    pub fn power_off_rack(&self, rack: u32) {
        with(|w| {
            w.faults.count(FaultClass::RackPowerLoss);
            for host in 0..w.hosts.len() as u32 {
                if w.hosts[host as usize].rack == rack {
                    w.crash(host, Crash::Power);
                }
            }
        });
    }

    /// Puts a host into a rack. All start in rack 0.
    pub fn set_rack(&self, host: &str, rack: u32) {
        with(|w| {
            let host = id(w, host);
            w.hosts[host as usize].rack = rack;
        });
    }

    /// Freezes a host for a while of world time.
    pub fn pause(&self, host: &str, length: Duration) {
        with(|w| w.pause(id(w, host), nanos(length)));
    }

    /// Takes a host down and replaces its disk by an empty one.
    pub fn replace(&self, host: &str) {
        with(|w| {
            let host = id(w, host);
            w.crash(host, Crash::Power);
            w.faults.count(FaultClass::HostReplaced);
            w.hosts[host as usize].disk.replace();
        });
    }

    /// Sets what is wrong with the link from one host to another; `None` heals it.
    pub fn link(&self, from: &str, to: &str, fault: Option<LinkFault>) {
        with(|w| {
            let (from, to) = (id(w, from), id(w, to));
            w.tell(Some(from), "link", format_args!("to host {to}: {fault:?}"));
            w.net.links.set(from, to, fault);
            w.release_held();
        });
    }

    /// Cuts every link between two groups of hosts, both ways.
    pub fn partition(&self, one: &[&str], other: &[&str]) {
        for a in one {
            for b in other {
                self.link(a, b, Some(LinkFault::Cut));
                self.link(b, a, Some(LinkFault::Cut));
            }
        }
    }

    /// Resets every connection between two hosts, and says how many there were.
    pub fn reset_connections(&self, a: &str, b: &str) -> usize {
        with(|w| w.reset_between(id(w, a), id(w, b)))
    }

    /// Sets the delay of deliveries.
    pub fn set_latency(&self, latency: Latency) {
        with(|w| w.net.latency = latency);
    }

    /// Sets the rates of network faults from now on.
    pub fn set_net_faults(&self, faults: NetFaults) {
        with(|w| {
            faults.enable(&mut w.faults);
            w.net.set_faults(faults);
        });
    }

    /// Sets how fast a host's clocks run: nanoseconds gained in a second.
    pub fn drift_clock(&self, host: &str, ppb: i64) {
        with(|w| {
            let (host, now) = (id(w, host), w.now);
            w.faults.count(FaultClass::ClockDrift);
            w.hosts[host as usize].clock.set_drift(now, ppb);
            w.tell(Some(host), "clock", format_args!("drifts by {ppb} ppb"));
        });
    }

    /// Moves a host's wall clock by so many microseconds, as a `class` of fault.
    pub fn jump_clock(&self, host: &str, by_us: i64, class: FaultClass) {
        with(|w| {
            let host = id(w, host);
            w.faults.count(class);
            w.hosts[host as usize].clock.jump(by_us);
            w.tell(Some(host), "clock", format_args!("jumps by {by_us} us"));
        });
    }

    /// Ends the chaos: links heal, disks behave, rates of faults go to zero, rare paths stay
    /// untaken, connections that were silently lost are noticed. Hosts that are down stay down
    /// until restarted, and clocks stay wrong.
    pub fn quiet(&self) {
        with(|w| {
            w.tell(None, "world", format_args!("QUIET"));
            w.net.set_faults(NetFaults::default());
            w.net.links.heal();
            w.release_held();
            w.notice_lost_connections();
            w.coverage.buggify = false;
            for host in &mut w.hosts {
                host.polls_left = u64::MAX;
                host.disk.calm();
            }
        });
    }

    /// Notes that a place of the scenario's own code was passed, and whether its condition held.
    pub fn observe(&self, site: &'static Site, hit: bool) {
        with(|w| w.coverage.observe(site, hit, w.now));
    }

    /// Makes a choice for the scenario itself.
    pub fn choose<T>(&self, f: impl FnOnce(&mut Choices) -> T) -> T {
        with(|w| f(&mut w.choices))
    }

    /// A number in `low..=high` of the nemesis.
    pub fn between(&self, site: &'static str, low: u64, high: u64) -> u64 {
        self.choose(|c| c.between(Stream::Nemesis, site, low, high))
    }

    /// Says that a class of fault is meant to be injected.
    pub fn enable(&self, class: FaultClass) {
        with(|w| w.faults.enable(class));
    }

    /// Counts a fault that the scenario injected by its own means.
    pub fn count(&self, class: FaultClass) {
        with(|w| w.faults.count(class));
    }

    /// What was injected so far.
    pub fn faults(&self) -> Faults {
        with(|w| w.faults.clone())
    }

    /// The actors of a host's present boot.
    pub fn actors(&self, host: &str) -> Vec<Status> {
        let directory: Arc<Directory> = with(|w| w.hosts[id(w, host) as usize].directory.clone());
        directory.list()
    }

    /// Writes a line into the story.
    pub fn tell(&self, target: &'static str, text: &str) {
        with(|w| w.tell(None, target, format_args!("{text}")));
    }

    /// Writes a line into the story about operation number `operation` of the workload: that it
    /// is asked for ([`Kind::Begin`]), that something is done for it ([`Kind::Step`]), or that it
    /// has ended ([`Kind::End`]).
    pub fn tell_of(&self, kind: Kind, operation: u64, target: &'static str, text: &str) {
        with(|w| {
            let event = w.tell_as(kind, None, target, format_args!("{text}"));
            if let (Some(event), Some(tape)) = (event, &mut w.trace.tape) {
                tape.is_about(event, operation);
            }
        });
    }

    /// Ends the run: a law is broken.
    pub fn fail(&self, failure: Failure) {
        with(|w| w.fail(failure));
    }
}
