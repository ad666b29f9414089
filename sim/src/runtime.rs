//! The ports of the kernel, answered by the world on this thread.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
};

use orloj_kernel::{
    Clock, Datagram, Directory, Entropy, HostKey, Instant, Io, Listener, Mail, Network, Probe,
    Site, Spawner, Stream, Task, TaskKey, Timer, WallTime,
};

use crate::{
    net,
    task::TaskId,
    verdict::Failure,
    world::{Event, World, try_current, with},
};

/// The runtime of every simulated host. It has no state: its world is the one on this thread.
#[derive(Clone, Copy, Debug)]
pub struct Sim;

pub(crate) static SIM: Sim = Sim;

/// The index of `host` in this world.
#[inline]
pub(crate) fn here(w: &World, host: HostKey) -> u32 {
    assert!((host.0 >> 32) as u32 == w.id, "a context was used outside of its own world");
    host.0 as u32
}

impl Clock for Sim {
    #[inline]
    fn now(&self, host: HostKey) -> Instant {
        with(|w| Instant(w.hosts[here(w, host) as usize].clock.now(w.now)))
    }

    fn wall(&self, host: HostKey) -> WallTime {
        with(|w| WallTime(w.hosts[here(w, host) as usize].clock.wall(w.now)))
    }

    #[inline]
    fn poll_timer(
        &self,
        host: HostKey,
        deadline: Instant,
        timer: &mut Timer,
        cx: &mut task::Context<'_>,
    ) -> Poll<()> {
        with(|w| {
            let id = here(w, host);
            let clock = &w.hosts[id as usize].clock;
            if clock.now(w.now) >= deadline.0 {
                if let Timer::Index(index) = std::mem::take(timer) {
                    w.timers.forget(index as u32, (index >> 32) as u32);
                }
                return Poll::Ready(());
            }
            let slot = match timer {
                Timer::Index(index) => *index as u32,
                _ => {
                    let at = clock.world_at(deadline.0);
                    let (slot, life) = w.timers.arm(id, deadline.0);
                    w.queue.push(at, Event::Timer { slot, life });
                    *timer = Timer::Index(u64::from(life) << 32 | u64::from(slot));
                    slot
                }
            };
            w.timers.waker(slot).set(cx.waker());
            Poll::Pending
        })
    }

    fn drop_timer(&self, index: u64) {
        // The world's id is not at hand; a timer dropped after its world finds none, or one that
        // is being taken down, and is gone with it either way.
        let wake = try_current(|w| w.timers.forget(index as u32, (index >> 32) as u32));
        drop(wake);
    }
}

impl Spawner for Sim {
    fn spawn(&self, host: HostKey, name: &'static str, task: Task) -> TaskKey {
        let mut task = Some(task);
        let id = with(|w| {
            let id = here(w, host);
            // A host that is down starts nothing: destructors may try.
            if !w.hosts[id as usize].alive {
                return TaskId(u64::MAX);
            }
            match task.take() {
                Some(task) => w.spawn(id, name, task),
                None => TaskId(u64::MAX),
            }
        });
        TaskKey(id.0)
    }

    fn abort(&self, task: TaskKey) {
        let ended = try_current(|w| {
            w.end_task(TaskId(task.0));
            std::mem::take(&mut w.graveyard)
        });
        drop(ended);
    }

    fn block_on(&self, host: HostKey, future: Pin<&mut dyn Future<Output = ()>>) {
        crate::executor::block_on(host, future);
    }
}

impl Entropy for Sim {
    fn entropy(&self, host: HostKey) -> u64 {
        with(|w| {
            let id = here(w, host);
            w.host_bits(id)
        })
    }
}

impl Network for Sim {
    fn connect(&self, host: HostKey, addr: &str) -> Io<'static, io::Result<Stream>> {
        net::connect(host, addr)
    }
    fn listen(&self, host: HostKey, addr: &str) -> Io<'static, io::Result<Listener>> {
        let listener = net::listen(host, addr);
        Box::pin(std::future::ready(listener))
    }
    fn bind(&self, host: HostKey, addr: &str) -> Io<'static, io::Result<Datagram>> {
        let socket = net::bind(host, addr);
        Box::pin(std::future::ready(socket))
    }
}

impl Probe for Sim {
    fn buggify(&self, _: HostKey, site: &'static Site) -> bool {
        with(|w| w.coverage.buggify((site, w.now), &mut w.choices, &mut w.faults))
    }

    fn observe(&self, _: HostKey, site: &'static Site, hit: bool) {
        with(|w| w.coverage.observe(site, hit, w.now));
    }

    fn violated(&self, host: HostKey, site: &'static Site, evidence: fmt::Arguments<'_>) {
        let evidence = format!("{evidence} ({}:{})", site.file, site.line);
        with(|w| {
            let id = here(w, host);
            w.tell(Some(id), "property", format_args!("{} broken: {evidence}", site.name));
            w.fail(Failure::new(site.name, evidence));
        });
    }

    fn traces(&self, _: HostKey) -> bool {
        try_current(|w| w.trace.tells()).unwrap_or(false)
    }

    fn trace(&self, host: HostKey, target: &'static str, line: fmt::Arguments<'_>) {
        // Formatted before the world is borrowed: a Debug implementation may ask the world
        // something.
        let line = line.to_string();
        with(|w| {
            let id = here(w, host);
            w.tell(Some(id), target, format_args!("{line}"));
        });
    }

    fn mail(&self, _: HostKey, mailbox: u64, what: Mail) {
        try_current(|w| w.trace.mail(mailbox, what));
    }

    fn mutant(&self, _: HostKey, name: &'static str) -> bool {
        with(|w| w.mutant == Some(name))
    }

    fn directory(&self, host: HostKey) -> Arc<Directory> {
        with(|w| {
            let id = here(w, host);
            w.hosts[id as usize].directory.clone()
        })
    }
}
