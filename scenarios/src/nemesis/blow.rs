//! One strike with nothing left to draw, and how it is dealt.

use std::{sync::Arc, time::Duration};

use orloj_invariants::Ending;
use orloj_kernel::Context;
use orloj_sim::{
    Control, Crash, LinkFault,
    disk::{Damage, Place},
    fault::FaultClass,
};
use serde::{Deserialize, Serialize};

use super::{Victim, start_again, strike_down};
use crate::{
    node::{ADDRESS, JOURNAL, NODE},
    scenario::{CrashKind, Extent, LinkKind, Part, Span, Time, amount},
};

/// How long a death at an await point is waited for.
const AWAIT_PATIENCE: Duration = Duration::from_millis(500);
/// How long a stranger tries to connect.
const CROWD_PATIENCE: Duration = Duration::from_millis(50);
/// How long a disk is worked on while the node is down.
const DAMAGE: Duration = Duration::from_millis(10);

/// What happens at one strike. `whom` is a host: `node`, or `c0` and so on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Blow {
    /// The node goes down and comes back.
    Crash {
        /// In which way.
        how: CrashKind,
        /// At an await point: polls of the node until then.
        #[serde(default, skip_serializing_if = "is_zero")]
        polls: u64,
        /// How long it stays down.
        down: Span<Time>,
    },
    /// A host stands still.
    Pause {
        /// Which.
        whom: String,
        /// How long.
        last: Span<Time>,
    },
    /// The link between the node and a client fails.
    Link {
        /// In which way.
        how: LinkKind,
        /// Which client's.
        whom: String,
        /// How long.
        last: Span<Time>,
        /// One way: 0 to the client, 1 to the node. Flap: turns. Clog: milliseconds. Bandwidth:
        /// bytes a second.
        #[serde(default, skip_serializing_if = "is_zero")]
        amount: u64,
    },
    /// The connections of a client are reset.
    Reset {
        /// Which client's.
        whom: String,
    },
    /// Strangers connect, say nothing, and leave.
    Crowd {
        /// How many.
        count: u64,
        /// How long they stay.
        last: Span<Time>,
    },
    /// A wall clock jumps.
    ClockJump {
        /// Whose.
        whom: String,
        /// How far, in microseconds.
        by_us: i64,
    },
    /// The node's disk has no room.
    DiskFull {
        /// Bytes that are left at the beginning.
        room: u64,
        /// How long.
        last: Span<Time>,
    },
    /// The node's disk answers nothing.
    DiskStall {
        /// How long.
        last: Span<Time>,
    },
    /// The node's disk may not be written.
    DiskReadOnly {
        /// How long.
        last: Span<Time>,
    },
    /// Somebody makes a copy of the node's disk.
    Copy,
    /// The node loses power, and its disk comes back as it was when it was copied.
    OldCopy {
        /// How much of it.
        extent: Extent,
    },
    /// The node goes down, durable bits of its journal flip, and it comes back.
    BitRot {
        /// In which part of the journal.
        part: Part,
        /// How many bits.
        bits: u64,
        /// Whether the machine loses power; else the process dies.
        power: bool,
    },
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

fn lasting(span: Span<Time>) -> Duration {
    Duration::from_nanos(span.high)
}

impl Blow {
    /// The host it is for, where that is not always the node.
    pub(crate) fn whom(&mut self) -> Option<&mut String> {
        match self {
            Blow::Pause { whom, .. }
            | Blow::Link { whom, .. }
            | Blow::Reset { whom }
            | Blow::ClockJump { whom, .. } => Some(whom),
            _ => None,
        }
    }

    /// How long it lasts, where it does.
    pub(crate) fn last(&mut self) -> Option<&mut Span<Time>> {
        match self {
            Blow::Crash { down: last, .. }
            | Blow::Pause { last, .. }
            | Blow::Link { last, .. }
            | Blow::Crowd { last, .. }
            | Blow::DiskFull { last, .. }
            | Blow::DiskStall { last }
            | Blow::DiskReadOnly { last } => Some(last),
            _ => None,
        }
    }

    /// In a few words.
    pub fn show(&self) -> String {
        let time = |span: &Span<Time>| amount::<Time>(span.high);
        let name = |kind: &dyn std::fmt::Debug| format!("{kind:?}").to_lowercase();
        match self {
            Blow::Crash { how: CrashKind::Stop, .. } => "the node is told to stop".to_owned(),
            Blow::Crash { how, polls, down } => {
                let polls =
                    if *polls > 0 { format!(" after {polls} polls") } else { String::new() };
                format!("the node goes down ({how:?}{polls}) for {}", time(down))
            }
            Blow::Pause { whom, last } => format!("{whom} stands still for {}", time(last)),
            Blow::Link { how, whom, last, amount } => {
                format!("the link of {whom}: {} {amount} for {}", name(how), time(last))
            }
            Blow::Reset { whom } => format!("the connections of {whom} are reset"),
            Blow::Crowd { count, last } => format!("{count} strangers come for {}", time(last)),
            Blow::ClockJump { whom, by_us } => format!("the clock of {whom} jumps by {by_us} us"),
            Blow::DiskFull { room, last } => {
                format!("the disk has room for {room} bytes for {}", time(last))
            }
            Blow::DiskStall { last } => format!("the disk stalls for {}", time(last)),
            Blow::DiskReadOnly { last } => format!("the disk is read-only for {}", time(last)),
            Blow::Copy => "the disk is copied".to_owned(),
            Blow::OldCopy { extent } => {
                format!("power fails, and the {} is as in the copy", name(extent))
            }
            Blow::BitRot { part, bits, .. } => {
                format!(
                    "the node goes down and {bits} bits flip in the {} of its journal",
                    name(part)
                )
            }
        }
    }

    /// Deals it, and comes back when it is over.
    pub(crate) async fn deal(&self, cx: Context, victim: &Arc<dyn Victim>) {
        let victim = &**victim;
        match self {
            Blow::Crash { how, polls, down } => {
                match how {
                    CrashKind::Process => strike_down(victim, Crash::Process),
                    CrashKind::Power => strike_down(victim, Crash::Power),
                    CrashKind::ProcessAtAwait => {
                        at_await(cx, victim, Crash::Process, *polls).await;
                    }
                    CrashKind::PowerAtAwait => at_await(cx, victim, Crash::Power, *polls).await,
                    // It ends by itself, and is started again by whoever keeps it alive.
                    CrashKind::Stop => return victim.ask_to_stop(),
                }
                cx.sleep(lasting(*down)).await;
                start_again(victim);
            }
            Blow::Pause { whom, last } => Control.pause(whom, lasting(*last)),
            Blow::Link { how, whom, last, amount } => {
                link(cx, *how, whom, lasting(*last), *amount).await;
            }
            Blow::Reset { whom } => {
                Control.reset_connections(NODE, whom);
            }
            Blow::Crowd { count, last } => {
                let mut strangers = Vec::new();
                for _ in 0..*count {
                    let connecting = cx.timeout(CROWD_PATIENCE, cx.connect(ADDRESS)).await;
                    strangers.extend(connecting.ok().and_then(Result::ok));
                }
                cx.sleep(lasting(*last)).await;
            }
            Blow::ClockJump { whom, by_us } => {
                Control.jump_clock(whom, *by_us, FaultClass::ClockJump);
            }
            Blow::DiskFull { room, last } => {
                Control.limit_disk(NODE, Some(*room));
                cx.sleep(lasting(*last)).await;
                Control.limit_disk(NODE, None);
            }
            Blow::DiskStall { last } => Control.stall_disk(NODE, lasting(*last)),
            Blow::DiskReadOnly { last } => {
                Control.set_disk_read_only(NODE, true);
                cx.sleep(lasting(*last)).await;
                Control.set_disk_read_only(NODE, false);
            }
            Blow::Copy => Control.disk(NODE, |disk, _| disk.keep_copy()),
            Blow::OldCopy { extent } => {
                let Some(image) = Control.disk(NODE, |disk, _| disk.copy()) else { return };
                strike_down(victim, Crash::Power);
                match extent {
                    Extent::File => _ = Control.restore_file(NODE, &image),
                    Extent::Disk => Control.restore_disk(NODE, &image),
                }
                cx.sleep(DAMAGE).await;
                start_again(victim);
            }
            Blow::BitRot { part, bits, power } => {
                strike_down(victim, if *power { Crash::Power } else { Crash::Process });
                let place = match part {
                    Part::Tail => Place::Tail,
                    Part::Middle => Place::Middle,
                };
                for _ in 0..*bits {
                    Control.damage_disk(NODE, Damage::BitRot, JOURNAL, place);
                }
                cx.sleep(DAMAGE).await;
                start_again(victim);
            }
        }
    }
}

async fn at_await(cx: Context, victim: &dyn Victim, how: Crash, polls: u64) {
    if !Control.is_up(NODE) {
        return;
    }
    let boot = Control.boots(NODE);
    victim.strikes(match how {
        Crash::Process => Ending::Crash,
        Crash::Power => Ending::PowerLoss,
    });
    Control.kill_after_polls(NODE, polls, how);
    let end = cx.now() + AWAIT_PATIENCE;
    while Control.is_up(NODE) && Control.boots(NODE) == boot && cx.now() < end {
        cx.sleep(Duration::from_millis(1)).await;
    }
    // A node with nothing to do has no await point to die at.
    if Control.boots(NODE) == boot {
        strike_down(victim, how);
    }
}

async fn link(cx: Context, how: LinkKind, client: &str, lasts: Duration, amount: u64) {
    let both = |fault| {
        Control.link(NODE, client, fault);
        Control.link(client, NODE, fault);
    };
    match how {
        LinkKind::Cut => both(Some(LinkFault::Cut)),
        LinkKind::OneWay => {
            let (from, to) = if amount == 0 { (NODE, client) } else { (client, NODE) };
            Control.link(from, to, Some(LinkFault::OneWay));
        }
        LinkKind::Clog => both(Some(LinkFault::Clog(amount * 1_000_000))),
        LinkKind::Bandwidth => both(Some(LinkFault::Bandwidth(amount.max(1)))),
        LinkKind::Flap => {
            let turns = amount.max(1);
            for turn in 0..turns {
                both((turn % 2 == 0).then_some(LinkFault::Flap));
                cx.sleep(lasts / turns as u32).await;
            }
            return both(None);
        }
    }
    cx.sleep(lasts).await;
    both(None);
}
