//! What strikes from time to time while the chaos lasts.

use std::{sync::Arc, time::Duration};

use orloj_invariants::Ending;
use orloj_kernel::{Context, JoinHandle};
use orloj_sim::{
    Control, Crash, LinkFault,
    choice::Stream,
    disk::{Damage, Image, Place},
    fault::FaultClass,
};

use crate::{
    client,
    node::{ADDRESS, JOURNAL, NODE},
    scenario::{Count, CrashKind, Extent, LinkKind, Part, Span, Strike, StrikeKind, Time},
};

/// Polls of the node within which a death at an await point comes.
const POLLS_MAX: u64 = 400;
/// How long such a death is waited for.
const AWAIT_PATIENCE: Duration = Duration::from_millis(500);
/// How long a stranger tries to connect.
const CROWD_PATIENCE: Duration = Duration::from_millis(50);

/// One source of strikes.
struct Nemesis {
    cx: Context,
    clients: u32,
    victim: Arc<dyn Victim>,
}

/// Whom the strikes are for: the process on the host [`NODE`].
pub(crate) trait Victim: Send + Sync {
    /// It is about to go down, in this way.
    fn strikes(&self, how: Ending);
    /// Whether it has refused, for good, to serve its data.
    fn has_refused(&self) -> bool;
    /// Asks it to end in order.
    fn ask_to_stop(&self);
}

/// Starts every source of strikes, on a host that nothing strikes.
pub(crate) fn start(
    cx: Context,
    clients: u32,
    strikes: &[Strike],
    victim: &Arc<dyn Victim>,
) -> Vec<JoinHandle<()>> {
    let start = |strike: &Strike| {
        let nemesis = Nemesis { cx, clients, victim: victim.clone() };
        cx.spawn("nemesis", nemesis.go_on(strike.clone()))
    };
    strikes.iter().map(start).collect()
}

/// Says which classes of fault the strikes of a plan mean to inject.
pub(crate) fn enable(strikes: &[Strike]) {
    for strike in strikes {
        let classes: Vec<FaultClass> = match &strike.kind {
            StrikeKind::Crash(ways, _) => ways.iter().filter_map(|way| crash_class(*way)).collect(),
            StrikeKind::Pause(_) => vec![FaultClass::HostPause],
            StrikeKind::Link(ways, _) => ways.iter().map(|way| link_class(*way)).collect(),
            StrikeKind::Reset => vec![FaultClass::NetReset],
            // To connect is no fault.
            StrikeKind::Crowd(..) => Vec::new(),
            StrikeKind::ClockJump(_) => vec![FaultClass::ClockJump],
            StrikeKind::DiskFull(..) => vec![FaultClass::DiskFull],
            StrikeKind::DiskStall(_) => vec![FaultClass::DiskStall],
            // Whoever writes is refused as by a full disk.
            StrikeKind::DiskReadOnly(_) => Vec::new(),
            StrikeKind::BitRot(..) => vec![FaultClass::DiskBitRot],
            StrikeKind::OldCopy(_) => vec![FaultClass::DiskOldCopy],
        };
        classes.into_iter().for_each(|class| Control.enable(class));
    }
}

fn crash_class(way: CrashKind) -> Option<FaultClass> {
    match way {
        CrashKind::Process => Some(FaultClass::HostCrash),
        CrashKind::Power => Some(FaultClass::HostPowerLoss),
        CrashKind::ProcessAtAwait | CrashKind::PowerAtAwait => Some(FaultClass::HostKillAtAwait),
        CrashKind::Stop => None,
    }
}

fn link_class(way: LinkKind) -> FaultClass {
    match way {
        LinkKind::Cut => FaultClass::NetPartition,
        LinkKind::OneWay => FaultClass::NetOneWay,
        LinkKind::Flap => FaultClass::NetFlap,
        LinkKind::Clog => FaultClass::NetClog,
        LinkKind::Bandwidth => FaultClass::NetBandwidth,
    }
}

/// Takes the node down at once and lets the history know how.
pub(crate) fn strike_down(victim: &dyn Victim, how: Crash) {
    if Control.is_up(NODE) {
        victim.strikes(match how {
            Crash::Process => Ending::Crash,
            Crash::Power => Ending::PowerLoss,
        });
        Control.crash(NODE, how);
    }
}

/// Boots the node, if it is down and has not refused to serve.
pub(crate) fn start_again(victim: &dyn Victim) {
    if !victim.has_refused() {
        Control.restart(NODE);
    }
}

impl Nemesis {
    async fn go_on(self, strike: Strike) {
        loop {
            let image =
                matches!(strike.kind, StrikeKind::OldCopy(_)).then(|| Control.snapshot_disk(NODE));
            self.rest(strike.every, "every").await;
            // A node that refuses to serve is left to its operator, and its disk as it is.
            if self.victim.has_refused() {
                return;
            }
            match &strike.kind {
                StrikeKind::Crash(ways, down) => self.crash(self.one_of(ways), *down).await,
                StrikeKind::Pause(last) => {
                    let host = self.some_host();
                    Control.pause(&host, Duration::from_nanos(self.draw(*last, "pause")));
                }
                StrikeKind::Link(ways, last) => self.link(self.one_of(ways), *last).await,
                StrikeKind::Reset => {
                    Control.reset_connections(NODE, &self.some_client());
                }
                StrikeKind::Crowd(count, last) => self.crowd(*count, *last).await,
                StrikeKind::ClockJump(by) => {
                    let by = i64::try_from(self.draw(*by, "jump") / 1_000).unwrap_or(i64::MAX);
                    let back = Control.between("back", 0, 1) == 1;
                    let by = if back { -by } else { by };
                    Control.jump_clock(&self.some_host(), by, FaultClass::ClockJump);
                }
                StrikeKind::DiskFull(room, last) => {
                    let room = Control.between("room", room.low, room.high);
                    Control.limit_disk(NODE, Some(room));
                    self.rest(*last, "full-for").await;
                    Control.limit_disk(NODE, None);
                }
                StrikeKind::DiskStall(last) => {
                    let length = Duration::from_nanos(self.draw(*last, "stall-for"));
                    Control.stall_disk(NODE, length);
                }
                StrikeKind::DiskReadOnly(last) => {
                    Control.set_disk_read_only(NODE, true);
                    self.rest(*last, "read-only-for").await;
                    Control.set_disk_read_only(NODE, false);
                }
                StrikeKind::BitRot(part, bits) => self.rot(*part, *bits).await,
                StrikeKind::OldCopy(extent) => {
                    self.go_back(*extent, &image.expect("taken before")).await;
                }
            }
        }
    }

    fn draw(&self, span: Span<Time>, site: &'static str) -> u64 {
        Control.between(site, span.low, span.high)
    }

    async fn rest(&self, span: Span<Time>, site: &'static str) {
        self.cx.sleep(Duration::from_nanos(self.draw(span, site))).await;
    }

    fn one_of<T: Copy>(&self, ways: &[T]) -> T {
        Control.choose(|choices| *choices.pick(Stream::Nemesis, "way", ways))
    }

    fn some_client(&self) -> String {
        client::host(Control.between("client", 0, u64::from(self.clients) - 1) as u32)
    }

    /// The node, half of the time.
    fn some_host(&self) -> String {
        if self.clients == 0 || Control.between("whom", 0, 1) == 0 {
            NODE.to_owned()
        } else {
            self.some_client()
        }
    }

    async fn crash(&self, way: CrashKind, down: Span<Time>) {
        match way {
            CrashKind::Process => strike_down(&*self.victim, Crash::Process),
            CrashKind::Power => strike_down(&*self.victim, Crash::Power),
            CrashKind::ProcessAtAwait => self.crash_at_await(Crash::Process).await,
            CrashKind::PowerAtAwait => self.crash_at_await(Crash::Power).await,
            // It ends by itself, and is started again by whoever keeps it alive.
            CrashKind::Stop => return self.victim.ask_to_stop(),
        }
        self.rest(down, "down").await;
        start_again(&*self.victim);
    }

    async fn crash_at_await(&self, how: Crash) {
        if !Control.is_up(NODE) {
            return;
        }
        let boot = Control.boots(NODE);
        self.victim.strikes(match how {
            Crash::Process => Ending::Crash,
            Crash::Power => Ending::PowerLoss,
        });
        Control.kill_after_polls(NODE, 1 + Control.between("polls", 0, POLLS_MAX), how);
        let end = self.cx.now() + AWAIT_PATIENCE;
        while Control.is_up(NODE) && Control.boots(NODE) == boot && self.cx.now() < end {
            self.cx.sleep(Duration::from_millis(1)).await;
        }
        // A node with nothing to do has no await point to die at.
        if Control.boots(NODE) == boot {
            strike_down(&*self.victim, how);
        }
    }

    async fn link(&self, way: LinkKind, last: Span<Time>) {
        let client = self.some_client();
        let lasts = Duration::from_nanos(self.draw(last, "link-for"));
        let both = |fault| {
            Control.link(NODE, &client, fault);
            Control.link(&client, NODE, fault);
        };
        match way {
            LinkKind::Cut => both(Some(LinkFault::Cut)),
            LinkKind::OneWay => {
                let away = Control.between("direction", 0, 1) == 0;
                let (from, to) = if away { (NODE, &*client) } else { (&*client, NODE) };
                Control.link(from, to, Some(LinkFault::OneWay));
            }
            LinkKind::Clog => {
                both(Some(LinkFault::Clog(Control.between("clog", 1, 200) * 1_000_000)))
            }
            LinkKind::Bandwidth => {
                both(Some(LinkFault::Bandwidth(Control.between(
                    "bytes-a-second",
                    1 << 10,
                    1 << 20,
                ))));
            }
            LinkKind::Flap => {
                let turns = Control.between("turns", 2, 12);
                for turn in 0..turns {
                    both((turn % 2 == 0).then_some(LinkFault::Flap));
                    self.cx.sleep(lasts / turns as u32).await;
                }
                return both(None);
            }
        }
        self.cx.sleep(lasts).await;
        both(None);
    }

    async fn crowd(&self, count: Span<Count>, last: Span<Time>) {
        let count = Control.between("crowd", count.low, count.high);
        let mut strangers = Vec::new();
        for _ in 0..count {
            let connecting = self.cx.timeout(CROWD_PATIENCE, self.cx.connect(ADDRESS)).await;
            strangers.extend(connecting.ok().and_then(Result::ok));
        }
        self.rest(last, "crowd-for").await;
    }

    async fn go_back(&self, extent: Extent, image: &Image) {
        strike_down(&*self.victim, Crash::Power);
        match extent {
            Extent::File => _ = Control.restore_file(NODE, image),
            Extent::Disk => Control.restore_disk(NODE, image),
        }
        self.cx.sleep(Duration::from_millis(10)).await;
        start_again(&*self.victim);
    }

    async fn rot(&self, part: Part, bits: u64) {
        let how = if Control.between("power", 0, 1) == 0 { Crash::Power } else { Crash::Process };
        strike_down(&*self.victim, how);
        let place = match part {
            Part::Tail => Place::Tail,
            Part::Middle => Place::Middle,
        };
        for _ in 0..bits {
            Control.damage_disk(NODE, Damage::BitRot, JOURNAL, place);
        }
        self.cx.sleep(Duration::from_millis(10)).await;
        start_again(&*self.victim);
    }
}
