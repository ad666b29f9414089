//! Delays, and links that are cut, one-way, clogged or narrow.

use crate::{
    choice::{Choices, Stream},
    fault::{FaultClass, Faults},
    net::NetEvent,
};

/// How long a delivery takes when nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    /// Always this many nanoseconds.
    Fixed(u64),
    /// Uniform between two bounds, in nanoseconds.
    Uniform(u64, u64),
    /// At least `min`, then exponential with mean `mean`, in nanoseconds.
    Exponential {
        /// The least.
        min: u64,
        /// Mean of what comes on top.
        mean: u64,
    },
}

impl Default for Latency {
    fn default() -> Self {
        Latency::Uniform(100_000, 1_000_000)
    }
}

impl Latency {
    pub(crate) fn draw(self, choices: &mut Choices) -> u64 {
        match self {
            Latency::Fixed(ns) => ns,
            Latency::Uniform(low, high) => {
                choices.between(Stream::Network, "latency", low, high.max(low))
            }
            Latency::Exponential { min, mean } => {
                min + choices.exponential(Stream::Network, "latency", mean)
            }
        }
    }
}

/// What may go wrong with any one transfer, in parts per million. All zero: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetFaults {
    /// A delivery takes a hundred times as long.
    pub slow_tail_ppm: u32,
    /// A delivery waits for a while.
    pub stall_ppm: u32,
    /// Mean length of such a while, in nanoseconds.
    pub stall_mean_ns: u64,
    /// A stream takes only part of a write.
    pub partial_write_ppm: u32,
    /// A write arrives in pieces.
    pub partial_frame_ppm: u32,
    /// A write resets its connection.
    pub reset_ppm: u32,
    /// A write finds its connection gone, and the peer never hears of it.
    pub half_open_ppm: u32,
    /// A connection attempt is never answered.
    pub connect_hang_ppm: u32,
    /// A read gets a few bytes only.
    pub slow_reader_ppm: u32,
    /// A datagram is lost.
    pub loss_ppm: u32,
    /// A datagram arrives twice.
    pub duplicate_ppm: u32,
    /// A datagram waits until later ones have passed.
    pub reorder_ppm: u32,
    /// Bits of a datagram flip.
    pub corrupt_ppm: u32,
}

impl NetFaults {
    /// Says which classes these rates mean to inject.
    pub(crate) fn enable(&self, faults: &mut Faults) {
        use FaultClass as F;
        let rates = [
            (self.slow_tail_ppm, F::NetSlowTail),
            (self.stall_ppm, F::NetStall),
            (self.partial_write_ppm, F::NetPartialWrite),
            (self.partial_frame_ppm, F::NetPartialFrame),
            (self.reset_ppm, F::NetReset),
            (self.half_open_ppm, F::NetHalfOpen),
            (self.connect_hang_ppm, F::NetConnectHang),
            (self.slow_reader_ppm, F::NetSlowReader),
            (self.loss_ppm, F::DatagramLoss),
            (self.duplicate_ppm, F::DatagramDuplicate),
            (self.reorder_ppm, F::DatagramReorder),
            (self.corrupt_ppm, F::DatagramCorrupt),
        ];
        rates.iter().filter(|(ppm, _)| *ppm > 0).for_each(|(_, class)| faults.enable(*class));
    }
}

/// What is wrong with one direction between two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkFault {
    /// Part of a partition: nothing passes.
    Cut,
    /// Nothing passes this way, though the other way may be open.
    OneWay,
    /// Nothing passes for the moment; the link comes and goes.
    Flap,
    /// Everything is this many nanoseconds late.
    Clog(u64),
    /// This many bytes a second pass.
    Bandwidth(u64),
}

#[derive(Clone, Copy, Default)]
struct Link {
    fault: Option<LinkFault>,
    /// When a narrow link has sent what it was given.
    busy_until: u64,
}

/// The directed links between all hosts.
#[derive(Default)]
pub(crate) struct Links {
    hosts: usize,
    links: Vec<Link>,
    /// Whether anything is wrong with any of them: the one branch when nothing is.
    pub(crate) disturbed: bool,
    /// What waits for a blocked link, in order.
    pub(crate) held: Vec<(u32, u32, NetEvent)>,
}

impl Links {
    pub(crate) fn add_host(&mut self) {
        self.hosts += 1;
    }

    fn at(&mut self, from: u32, to: u32) -> &mut Link {
        let n = self.hosts;
        if self.links.len() != n * n {
            // Hosts were added since a link was last touched; that happens before the world runs.
            let mut links = vec![Link::default(); n * n];
            let before = self.links.len().isqrt();
            for a in 0..before {
                links[a * n..a * n + before]
                    .copy_from_slice(&self.links[a * before..(a + 1) * before]);
            }
            self.links = links;
        }
        &mut self.links[from as usize * n + to as usize]
    }

    fn get(&self, from: u32, to: u32) -> Option<Link> {
        let n = self.links.len().isqrt();
        let within = (from as usize) < n && (to as usize) < n;
        within.then(|| self.links[from as usize * n + to as usize])
    }

    pub(crate) fn set(&mut self, from: u32, to: u32, fault: Option<LinkFault>) {
        *self.at(from, to) = Link { fault, busy_until: 0 };
        self.disturbed = self.links.iter().any(|l| l.fault.is_some());
    }

    pub(crate) fn heal(&mut self) {
        self.links.fill(Link::default());
        self.disturbed = false;
    }

    pub(crate) fn blocked(&self, from: u32, to: u32) -> bool {
        let fault = self.get(from, to).and_then(|l| l.fault);
        matches!(fault, Some(LinkFault::Cut | LinkFault::OneWay | LinkFault::Flap))
    }

    /// Counts that a blocked link has stopped something.
    pub(crate) fn struck(&self, from: u32, to: u32, faults: &mut Faults) {
        faults.count(match self.get(from, to).and_then(|l| l.fault) {
            Some(LinkFault::OneWay) => FaultClass::NetOneWay,
            Some(LinkFault::Flap) => FaultClass::NetFlap,
            _ => FaultClass::NetPartition,
        });
    }

    /// What a clogged or narrow link adds to a delivery.
    pub(crate) fn extra(
        &mut self,
        from: u32,
        to: u32,
        now: u64,
        bytes: usize,
        faults: &mut Faults,
    ) -> u64 {
        match self.get(from, to).and_then(|l| l.fault) {
            Some(LinkFault::Clog(ns)) => {
                faults.count(FaultClass::NetClog);
                ns
            }
            Some(LinkFault::Bandwidth(per_second)) => {
                faults.count(FaultClass::NetBandwidth);
                let takes = bytes as u64 * 1_000_000_000 / per_second.max(1);
                let link = self.at(from, to);
                link.busy_until = link.busy_until.max(now) + takes;
                link.busy_until - now
            }
            _ => 0,
        }
    }
}
