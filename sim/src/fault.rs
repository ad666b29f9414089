//! Classes of faults, and the account of how often each was injected.

/// Declares the classes once: variant, name in scenarios and reports, what happens.
macro_rules! classes {
    ($($variant:ident $name:literal $doc:literal,)*) => {
        /// A kind of thing that goes wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum FaultClass { $(#[doc = $doc] $variant,)* }

        impl FaultClass {
            /// Every class, in the order of reports.
            pub const ALL: &[FaultClass] = &[$(FaultClass::$variant),*];

            /// Its name in scenarios and reports.
            pub fn name(self) -> &'static str {
                match self { $(FaultClass::$variant => $name),* }
            }

            /// What happens.
            pub fn meaning(self) -> &'static str {
                match self { $(FaultClass::$variant => $doc),* }
            }
        }
    };
}

classes! {
    NetStall "net-stall" "A stream delivers nothing for a while.",
    NetPartialWrite "net-partial-write" "A stream takes only part of a write.",
    NetPartialFrame "net-partial-frame" "A write arrives in pieces, at different times.",
    NetReset "net-reset" "A connection is reset.",
    NetHalfOpen "net-half-open" "One end vanishes and the other does not hear of it.",
    NetConnectHang "net-connect-hang" "A connection attempt is never answered.",
    NetSlowReader "net-slow-reader" "A reader gets a few bytes at a time.",
    NetSlowTail "net-slow-tail" "A delivery takes a hundred times as long.",
    NetPartition "net-partition" "Two groups of hosts cannot reach each other.",
    NetOneWay "net-one-way" "A link carries traffic in one direction only.",
    NetFlap "net-flap" "A link goes down and up in quick turns.",
    NetClog "net-clog" "A pair of hosts hears each other late.",
    NetBandwidth "net-bandwidth" "A link carries few bytes a second.",
    DatagramLoss "datagram-loss" "A datagram is lost.",
    DatagramDuplicate "datagram-duplicate" "A datagram arrives twice.",
    DatagramReorder "datagram-reorder" "A datagram is overtaken by later ones.",
    DatagramCorrupt "datagram-corrupt" "Bits of a datagram flip on the way.",
    DiskLostWrite "disk-lost-write" "A power cut takes an unsynced sector back.",
    DiskTorn "disk-torn" "A power cut leaves a sector half old, half new.",
    DiskReorder "disk-reorder" "A power cut keeps a later unsynced write and loses an earlier one.",
    DiskGarbage "disk-garbage" "A power cut leaves noise in a sector that was being written.",
    DiskSyncFailed "disk-sync-failed" "A sync fails, and the dirty pages are dropped.",
    DiskReadError "disk-read-error" "A sector cannot be read, once or for good.",
    DiskWriteError "disk-write-error" "A write fails.",
    DiskBitRot "disk-bit-rot" "A bit of durable data flips.",
    DiskMisdirectedWrite "disk-misdirected-write" "A write lands at another place of the file.",
    DiskMisdirectedRead "disk-misdirected-read" "A read returns another place of the file.",
    DiskStale "disk-stale" "A sector shows what it held before its last write.",
    DiskOldCopy "disk-old-copy" "A file, or the whole disk, comes back as it was some time ago.",
    DiskZeroed "disk-zeroed" "A sector reads as zeros.",
    DiskLostName "disk-lost-name" "A power cut takes back an unsynced creation or removal.",
    DiskLostRename "disk-lost-rename" "A power cut takes back a rename that was not synced.",
    DiskFull "disk-full" "There is no room for a write.",
    DiskSlow "disk-slow" "Operations take many times as long.",
    DiskStall "disk-stall" "The disk answers nothing for a while.",
    HostCrash "host-crash" "A process dies; its machine lives.",
    HostPowerLoss "host-power-loss" "A machine loses power.",
    HostKillAtAwait "host-kill-at-await" "A process dies at a chosen await point.",
    HostPause "host-pause" "A host stands still and does not know it.",
    HostReplaced "host-replaced" "A host comes back with an empty disk.",
    RackPowerLoss "rack-power-loss" "All machines of a rack lose power at once.",
    ClockOffset "clock-offset" "A host's wall clock is wrong.",
    ClockDrift "clock-drift" "A host's clock runs fast or slow.",
    ClockJump "clock-jump" "A host's wall clock jumps.",
    Buggify "buggify" "The code takes a rare but legal path.",
}

/// What was injected, and what was meant to be.
#[derive(Clone, Debug)]
pub struct Faults {
    counts: [u64; FaultClass::ALL.len()],
    enabled: [bool; FaultClass::ALL.len()],
}

impl Default for Faults {
    fn default() -> Self {
        Faults { counts: [0; FaultClass::ALL.len()], enabled: [false; FaultClass::ALL.len()] }
    }
}

impl Faults {
    /// Counts one injected fault.
    #[inline]
    pub fn count(&mut self, class: FaultClass) {
        self.counts[class as usize] += 1;
    }

    /// Says that `class` is meant to be injected in this run.
    pub fn enable(&mut self, class: FaultClass) {
        self.enabled[class as usize] = true;
    }

    /// How often `class` was injected.
    pub fn injected(&self, class: FaultClass) -> u64 {
        self.counts[class as usize]
    }

    /// Each class that was injected, with its count.
    pub fn injections(&self) -> impl Iterator<Item = (FaultClass, u64)> + '_ {
        FaultClass::ALL.iter().map(|c| (*c, self.injected(*c))).filter(|(_, n)| *n > 0)
    }

    /// Classes that were enabled and never injected: what a green run does not speak of.
    pub fn unfired(&self) -> impl Iterator<Item = FaultClass> + '_ {
        let idle = |c: &FaultClass| self.enabled[*c as usize] && self.injected(*c) == 0;
        FaultClass::ALL.iter().copied().filter(idle)
    }
}
