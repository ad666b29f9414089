//! What strikes from time to time while the chaos lasts.

mod blow;

use std::{sync::Arc, time::Duration};

use orloj_invariants::Ending;
use orloj_kernel::{Context, JoinHandle};
use orloj_sim::{Control, Crash, choice::Stream, fault::FaultClass};

use crate::{
    case::{Ledger, single},
    client,
    node::NODE,
    scenario::{CrashKind, LinkKind, Span, Strike, StrikeKind, Time},
};

pub use blow::Blow;

/// Polls of the node within which a death at an await point comes.
const POLLS_MAX: u64 = 400;

/// One source of strikes.
struct Nemesis {
    cx: Context,
    clients: u32,
    victim: Arc<dyn Victim>,
    ledger: Arc<Ledger>,
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

/// Starts every source of strikes, on a host that nothing strikes: those that are drawn, or of a
/// case those that are written down.
pub(crate) fn start(
    cx: Context,
    clients: u32,
    strikes: &[Strike],
    victim: &Arc<dyn Victim>,
    ledger: &Arc<Ledger>,
) -> Vec<JoinHandle<()>> {
    if ledger.plays() {
        let written = ledger.strikes().into_iter().enumerate();
        let start = |(number, (when, strike))| {
            let (victim, ledger) = (victim.clone(), ledger.clone());
            cx.spawn("nemesis", async move {
                ledger.until(when).await;
                deal(cx, strike, &victim).await;
                ledger.is_over(number);
            })
        };
        return written.map(start).collect();
    }
    let start = |strike: &Strike| {
        let (victim, ledger) = (victim.clone(), ledger.clone());
        let nemesis = Nemesis { cx, clients, victim, ledger };
        cx.spawn("nemesis", nemesis.go_on(strike.clone()))
    };
    strikes.iter().map(start).collect()
}

async fn deal(cx: Context, strike: crate::case::Strike, victim: &Arc<dyn Victim>) {
    cx.sleep(Duration::from_nanos(strike.wait)).await;
    if !victim.has_refused() {
        strike.blow.deal(cx, victim).await;
    }
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
            if let StrikeKind::OldCopy(_) = strike.kind {
                self.ledger.struck(&Blow::Copy);
                Blow::Copy.deal(self.cx, &self.victim).await;
            }
            let rest = self.draw(strike.every, "every");
            self.cx.sleep(Duration::from_nanos(rest.high)).await;
            // A node that refuses to serve is left to its operator, and its disk as it is.
            if self.victim.has_refused() {
                return;
            }
            let blow = self.blow(&strike.kind);
            self.ledger.struck(&blow);
            blow.deal(self.cx, &self.victim).await;
        }
    }

    /// One strike of this kind.
    fn blow(&self, kind: &StrikeKind) -> Blow {
        match kind {
            StrikeKind::Crash(ways, down) => {
                let how = self.one_of(ways);
                let polls = match how {
                    CrashKind::ProcessAtAwait | CrashKind::PowerAtAwait => {
                        1 + Control.between("polls", 0, POLLS_MAX)
                    }
                    _ => 0,
                };
                Blow::Crash { how, polls, down: self.draw(*down, "down") }
            }
            StrikeKind::Pause(last) => {
                Blow::Pause { whom: self.some_host(), last: self.draw(*last, "pause") }
            }
            StrikeKind::Link(ways, last) => {
                let how = self.one_of(ways);
                let (whom, last) = (self.some_client(), self.draw(*last, "link-for"));
                let amount = match how {
                    LinkKind::Cut => 0,
                    LinkKind::OneWay => Control.between("direction", 0, 1),
                    LinkKind::Clog => Control.between("clog", 1, 200),
                    LinkKind::Bandwidth => Control.between("bytes-a-second", 1 << 10, 1 << 20),
                    LinkKind::Flap => Control.between("turns", 2, 12),
                };
                Blow::Link { how, whom, last, amount }
            }
            StrikeKind::Reset => Blow::Reset { whom: self.some_client() },
            StrikeKind::Crowd(count, last) => Blow::Crowd {
                count: Control.between("crowd", count.low, count.high),
                last: self.draw(*last, "crowd-for"),
            },
            StrikeKind::ClockJump(by) => {
                let by = i64::try_from(self.draw(*by, "jump").high / 1_000).unwrap_or(i64::MAX);
                let back = Control.between("back", 0, 1) == 1;
                Blow::ClockJump { whom: self.some_host(), by_us: if back { -by } else { by } }
            }
            StrikeKind::DiskFull(room, last) => Blow::DiskFull {
                room: Control.between("room", room.low, room.high),
                last: self.draw(*last, "full-for"),
            },
            StrikeKind::DiskStall(last) => Blow::DiskStall { last: self.draw(*last, "stall-for") },
            StrikeKind::DiskReadOnly(last) => {
                Blow::DiskReadOnly { last: self.draw(*last, "read-only-for") }
            }
            StrikeKind::OldCopy(extent) => Blow::OldCopy { extent: *extent },
            StrikeKind::BitRot(part, bits) => Blow::BitRot {
                part: *part,
                bits: *bits,
                power: Control.between("power", 0, 1) == 0,
            },
        }
    }

    /// One amount of a range, as a range of its own.
    fn draw(&self, span: Span<Time>, site: &'static str) -> Span<Time> {
        single(Control.between(site, span.low, span.high))
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
}
