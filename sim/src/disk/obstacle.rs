//! Faults that meet a read, a write or a creation, and the switches that bring them.

use orloj_kernel::DiskErrorKind;

use super::{
    Ambush, DiskFaults, EIO, FileKey, Luck, SimDisk,
    content::split,
    hostile::{Hostile, matches},
    rift::{PAGE, SECTOR, Sector},
    tree::NodeId,
};
use crate::fault::FaultClass;

impl SimDisk {
    pub(super) fn hostile(&mut self) -> &mut Hostile {
        self.hostile.get_or_insert_default()
    }

    /// Sets how often what goes wrong from now on.
    pub fn set_faults(&mut self, faults: DiskFaults) {
        self.hostile().faults = faults;
    }

    /// Ends all trouble: rates, ambushes, slowness, a lack of room, a read-only mount. What was damaged
    /// stays damaged, and a power cut again does what [`DiskFaults::HONEST`] says.
    pub fn calm(&mut self) {
        if let Some(hostile) = &mut self.hostile {
            **hostile = Hostile { faults: DiskFaults::HONEST, ..Hostile::default() };
        }
    }

    /// Lies in wait for the next operation of its kind on a file whose path `pattern` describes, where
    /// `*` stands for anything.
    pub fn ambush(&mut self, what: Ambush, pattern: &str) {
        self.hostile().ambushes.push((what, pattern.to_owned()));
    }

    /// Gives the disk room for so many bytes, or as much as anybody wants.
    pub fn set_capacity(&mut self, bytes: Option<u64>) {
        self.hostile().capacity = bytes.map(|bytes| bytes / PAGE as u64);
    }

    /// Lets the disk be written, or not. A restart of the machine makes it writable.
    pub fn set_read_only(&mut self, read_only: bool) {
        self.hostile().read_only = read_only;
    }

    pub(super) fn check_writable(&self) -> Result<(), DiskErrorKind> {
        match &self.hostile {
            Some(hostile) if hostile.read_only => Err(DiskErrorKind::ReadOnly),
            _ => Ok(()),
        }
    }

    /// Pages left, if they are limited.
    fn room(&self) -> Option<u64> {
        let capacity = self.hostile.as_ref()?.capacity?;
        Some(capacity.saturating_sub(self.used() / PAGE as u64))
    }

    /// Whether something may be created.
    pub(super) fn check_room(
        &mut self,
        path: &str,
        luck: &mut Luck<'_>,
    ) -> Result<(), DiskErrorKind> {
        let Some(hostile) = &mut self.hostile else { return Ok(()) };
        let waiting = |(what, pattern): &(Ambush, String)| {
            *what == Ambush::Full && matches(pattern, path.trim_start_matches('/'))
        };
        let ambush = hostile.ambushes.iter().position(waiting);
        ambush.map(|i| hostile.ambushes.remove(i));
        let rate = hostile.faults.full;
        if ambush.is_some() || luck.chance("disk.full", rate) || self.room() == Some(0) {
            luck.faults.count(FaultClass::DiskFull);
            return Err(DiskErrorKind::Full);
        }
        Ok(())
    }

    /// Takes the first ambush on `node` that `wanted` takes an interest in.
    pub(super) fn spring<T>(
        &mut self,
        node: NodeId,
        wanted: impl Fn(Ambush) -> Option<T>,
    ) -> Option<T> {
        let ambushes = &self.hostile.as_ref()?.ambushes;
        if !ambushes.iter().any(|(what, _)| wanted(*what).is_some()) {
            return None;
        }
        let path = self.tree.path(node)?;
        let hit =
            |(what, pattern): &(Ambush, String)| wanted(*what).is_some() && matches(pattern, &path);
        let i = ambushes.iter().position(hit)?;
        let (what, _) = self.hostile().ambushes.remove(i);
        wanted(what)
    }

    /// Whether `what` happens to this operation: it was waiting, or by chance.
    pub(super) fn strikes(
        &mut self,
        what: Ambush,
        node: NodeId,
        site: &'static str,
        rate: u32,
        luck: &mut Luck<'_>,
    ) -> bool {
        self.spring(node, |waiting| (waiting == what).then_some(())).is_some()
            || luck.chance(site, rate)
    }

    #[cold]
    pub(super) fn obstruct_write<'b>(
        &mut self,
        file: FileKey,
        offset: u64,
        bytes: &'b [u8],
        luck: &mut Luck<'_>,
    ) -> (&'b [u8], Result<(), DiskErrorKind>) {
        let rates = self.hostile().faults;
        if self.strikes(Ambush::Write, file.node, "disk.write", rates.write_error, luck) {
            luck.faults.count(FaultClass::DiskWriteError);
            return (self.part(offset, bytes, bytes.len(), luck), Err(DiskErrorKind::Io(EIO)));
        }
        let mut fits = bytes.len();
        if self.strikes(Ambush::Full, file.node, "disk.full", rates.full, luck) {
            fits = luck.draw("disk.full.fits", bytes.len() as u64) as usize;
        }
        if let Some(room) = self.room() {
            let content = self.tree.file(file.node).expect("an open file is kept");
            if let Some(page) = content.unallocated(offset, bytes.len()).nth(room as usize) {
                fits = fits.min((page * PAGE as u64).saturating_sub(offset) as usize);
            }
        }
        if fits < bytes.len() {
            luck.faults.count(FaultClass::DiskFull);
            return (self.part(offset, bytes, fits, luck), Err(DiskErrorKind::Full));
        }
        let content = self.tree.file_mut(file.node).expect("an open file is kept");
        if !content.bad.is_empty() && !bytes.is_empty() {
            // A sector written whole is good again; part of one cannot be written without a read.
            let end = offset + bytes.len() as u64;
            let whole = offset.div_ceil(SECTOR as u64)..end / SECTOR as u64;
            let edges = [offset / SECTOR as u64, (end - 1) / SECTOR as u64];
            if edges.iter().any(|s| !whole.contains(s) && content.bad.contains(s)) {
                luck.faults.count(FaultClass::DiskReadError);
                return (&[], Err(DiskErrorKind::Io(EIO)));
            }
            content.bad.retain(|sector| !whole.contains(sector));
        }
        (bytes, Ok(()))
    }

    /// What a write that fails may have done: nothing, or up to a page boundary, or all that fits.
    fn part<'b>(&self, offset: u64, bytes: &'b [u8], fits: usize, luck: &mut Luck<'_>) -> &'b [u8] {
        let end = offset + fits as u64;
        let boundaries = end / PAGE as u64 - offset / PAGE as u64;
        match luck.draw("disk.write.part", boundaries + 2) {
            _ if fits == 0 => &[],
            0 => &[],
            n if n <= boundaries => {
                let boundary = (offset / PAGE as u64 + n) * PAGE as u64;
                &bytes[..(boundary - offset) as usize]
            }
            _ => &bytes[..fits],
        }
    }

    #[cold]
    pub(super) fn disturb_read(
        &mut self,
        file: FileKey,
        offset: u64,
        buf: &mut [u8],
        luck: &mut Luck<'_>,
    ) -> Result<usize, DiskErrorKind> {
        let node = file.node;
        let rates = self.hostile().faults;
        if self.strikes(Ambush::Read, node, "disk.read", rates.read_error, luck) {
            luck.faults.count(FaultClass::DiskReadError);
            return Err(DiskErrorKind::Io(EIO));
        }
        if buf.is_empty() {
            return Ok(0);
        }
        let (first, last) =
            (offset / SECTOR as u64, (offset + buf.len() as u64 - 1) / SECTOR as u64);
        if luck.chance("disk.unreadable", rates.unreadable) {
            let sector = luck.between("disk.unreadable.sector", first, last);
            self.make_unreadable(node, sector);
        }
        if luck.chance("disk.rot", rates.bit_rot) {
            let sector = luck.between("disk.rot.sector", first, last);
            self.rot_sector(node, sector, SECTOR, true, luck);
        }
        let content = self.tree.file(node).expect("an open file is kept");
        if content.bad.iter().any(|sector| (first..=last).contains(sector)) {
            luck.faults.count(FaultClass::DiskReadError);
            return Err(DiskErrorKind::Io(EIO));
        }
        content.read(offset, buf);
        let may = |allowed: bool| allowed || !(first..=last).any(|s| content.synced(s));
        let (may_misdirect, may_flip) =
            (may(rates.on_synced.misdirected), may(rates.on_synced.bit_rot));
        let misdirected = rates.misdirected_read;
        if may_misdirect
            && self.strikes(Ambush::MisdirectedRead, node, "disk.misread", misdirected, luck)
        {
            self.misdirect_read(node, offset, buf, luck);
        }
        if may_flip && self.strikes(Ambush::Flip, node, "disk.flip", rates.read_flip, luck) {
            let bit = luck.draw("disk.flip.bit", buf.len() as u64 * 8);
            buf[bit as usize / 8] ^= 1 << (bit % 8);
            luck.faults.count(FaultClass::DiskBitRot);
        }
        Ok(buf.len())
    }

    /// Puts another sector of the file in the place of one that is read.
    fn misdirect_read(&mut self, node: NodeId, offset: u64, buf: &mut [u8], luck: &mut Luck<'_>) {
        let content = self.tree.file(node).expect("an open file is kept");
        let (first, last) =
            (offset / SECTOR as u64, (offset + buf.len() as u64 - 1) / SECTOR as u64);
        let sectors = content.len.div_ceil(SECTOR as u64);
        if sectors < 2 {
            return;
        }
        let sector = luck.between("disk.misread.sector", first, last);
        let other = (sector + 1 + luck.draw("disk.misread.from", sectors - 1)) % sectors;
        let (page, s) = split(other);
        let from: Sector = *content.cached(page, s);
        let start = (sector * SECTOR as u64).max(offset);
        let end = ((sector + 1) * SECTOR as u64).min(offset + buf.len() as u64);
        let there = &mut buf[(start - offset) as usize..(end - offset) as usize];
        let skip = (start % SECTOR as u64) as usize;
        let here = &from[skip..skip + there.len()];
        if *there != *here {
            there.copy_from_slice(here);
            luck.faults.count(FaultClass::DiskMisdirectedRead);
        }
    }
}
