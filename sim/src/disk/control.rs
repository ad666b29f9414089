//! What a scenario may do to the disks of its world.

use std::{future::poll_fn, task::Poll, time::Duration};

use super::{
    Ambush, Damage, DiskFaults, Done, Image, LatencyProfile, Luck, Place, SimDisk, Struck,
};
use crate::{
    control::{Control, id, nanos},
    fault::FaultClass,
    world::with,
};

impl Control {
    /// Works on the disk of a host, past its process and without delay.
    pub fn disk<T>(&self, host: &str, f: impl FnOnce(&mut SimDisk, &mut Luck<'_>) -> T) -> T {
        with(|w| {
            let host = id(w, host);
            let mut luck = Luck { choices: &mut w.choices, faults: &mut w.faults };
            f(&mut w.hosts[host as usize].disk, &mut luck)
        })
    }

    /// Sets how often what goes wrong with the disk of a host from now on. A disk of which nobody
    /// has said anything loses at a power cut what an honest one may, and has no other faults.
    pub fn set_disk_faults(&self, host: &str, faults: DiskFaults) {
        self.disk(host, |disk, luck| {
            faults.enable(luck.faults);
            disk.set_faults(faults);
        });
    }

    /// Sets how long operations on the disk of a host take.
    pub fn set_disk_latency(&self, host: &str, profile: LatencyProfile) {
        self.disk(host, |disk, _| disk.set_latency(profile));
    }

    /// Waits until the disk of a host has done what `enough` asks for, and goes on at the very
    /// moment at which that is done, before anybody has heard of it or after.
    pub async fn until_disk(&self, host: &str, enough: impl Fn(Done) -> bool) {
        poll_fn(|_| {
            with(|w| {
                let host = id(w, host);
                if enough(w.hosts[host as usize].disk.done) {
                    return Poll::Ready(());
                }
                w.disk_watch.push(w.polling);
                Poll::Pending
            })
        })
        .await;
    }

    /// Lies in wait for the next operation of its kind on a file whose path `pattern` describes,
    /// where `*` stands for anything.
    pub fn ambush_disk(&self, host: &str, what: Ambush, pattern: &str) {
        self.disk(host, |disk, _| disk.ambush(what, pattern));
        self.tell_disk(host, format_args!("in wait for {pattern}: {what:?}"));
    }

    /// Damages one durable sector of a file whose path `pattern` describes; `None` if there is none
    /// that may be damaged.
    pub fn damage_disk(
        &self,
        host: &str,
        damage: Damage,
        pattern: &str,
        place: Place,
    ) -> Option<Struck> {
        let struck = self.disk(host, |disk, luck| disk.damage(damage, pattern, place, luck))?;
        let Struck { path, offset } = &struck;
        self.tell_disk(host, format_args!("{damage:?} in {path} at {offset}"));
        Some(struck)
    }

    /// Leaves room for so many more bytes on the disk of a host, or any number.
    pub fn limit_disk(&self, host: &str, room: Option<u64>) {
        self.disk(host, |disk, _| {
            let used = disk.used();
            disk.set_capacity(room.map(|room| used.saturating_add(room)));
        });
        self.tell_disk(host, format_args!("room left: {room:?} bytes"));
    }

    /// Lets no operation on the disk of a host end before a while of world time has passed.
    pub fn stall_disk(&self, host: &str, length: Duration) {
        let until = self.now().0.saturating_add(nanos(length));
        self.disk(host, |disk, _| disk.stall(until));
        self.tell_disk(host, format_args!("stalls for {length:?}"));
    }

    /// Makes operations on the disk of a host take `factor` times as long; 1 ends it.
    pub fn slow_disk(&self, host: &str, factor: u32) {
        self.disk(host, |disk, _| disk.slow(factor));
        self.tell_disk(host, format_args!("takes {factor} times as long"));
    }

    /// Makes the disk of a host read-only, or not.
    pub fn set_disk_read_only(&self, host: &str, read_only: bool) {
        self.disk(host, |disk, _| disk.set_read_only(read_only));
        self.tell_disk(host, format_args!("read-only: {read_only}"));
    }

    /// What the media of a host holds now.
    pub fn snapshot_disk(&self, host: &str) -> Image {
        self.disk(host, |disk, _| disk.snapshot())
    }

    /// Lets a host that is down come back with what `image` holds: an older copy of its own disk,
    /// or the disk of another host.
    ///
    /// # Panics
    /// When the host is up.
    pub fn restore_disk(&self, host: &str, image: &Image) {
        assert!(!self.is_up(host), "the disk of {host} is in use");
        self.disk(host, |disk, luck| {
            luck.faults.count(FaultClass::DiskOldCopy);
            disk.restore(image);
        });
        self.tell_disk(host, format_args!("has the content of another time or place"));
    }

    /// Lets a host that is down come back with one of its files as `image` has it; whether one
    /// differed.
    ///
    /// # Panics
    /// When the host is up.
    pub fn restore_file(&self, host: &str, image: &Image) -> bool {
        assert!(!self.is_up(host), "the disk of {host} is in use");
        let path = self.disk(host, |disk, luck| disk.restore_file(image, luck));
        if let Some(path) = &path {
            self.tell_disk(host, format_args!("{path} is as it was some time ago"));
        }
        path.is_some()
    }

    fn tell_disk(&self, host: &str, what: std::fmt::Arguments<'_>) {
        with(|w| {
            let host = id(w, host);
            w.tell(Some(host), "disk", what);
        });
    }
}
