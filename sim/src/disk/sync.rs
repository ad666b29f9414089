//! Making things durable, and failing to.

use orloj_kernel::DiskErrorKind;

use super::{
    Ambush, DiskFaults, EIO, FileKey, Luck, SimDisk, SyncFailure,
    content::join,
    rift::{SECTOR, bits},
    tree::{NodeId, ROOT},
};
use crate::fault::FaultClass;

/// A sync in flight. What is written after it began is not its concern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncToken {
    node: NodeId,
    begin: u64,
    boot: u32,
}

impl SyncToken {
    /// One that makes nothing durable. For a planted defect.
    pub(super) fn of_nothing(self) -> SyncToken {
        SyncToken { begin: 0, ..self }
    }
}

impl SimDisk {
    /// The path of what a sync is about.
    pub(super) fn path_of_sync(&self, token: SyncToken) -> Option<String> {
        self.tree.path(token.node)
    }

    /// Begins to make every write completed so far, and the file's length, durable.
    ///
    /// # Errors
    /// `Io` for a dead handle.
    pub fn begin_sync(&mut self, file: FileKey) -> Result<SyncToken, DiskErrorKind> {
        self.content(file)?;
        let begin = self.tick();
        let node = &mut self.tree.nodes[file.node as usize];
        node.handles += 1;
        if let super::Body::File(content) = &mut node.body {
            content.syncs.push(begin);
        }
        Ok(SyncToken { node: file.node, begin, boot: self.boot })
    }

    /// Ends a sync of a file. Does nothing if the process died meanwhile.
    ///
    /// # Errors
    /// `Io` when the media failed, of which the process hears this once; `ReadOnly` when there is
    /// something to write on a read-only disk.
    pub fn end_sync(&mut self, token: SyncToken, luck: &mut Luck<'_>) -> Result<(), DiskErrorKind> {
        if token.boot != self.boot {
            return Err(DiskErrorKind::Io(EIO));
        }
        let done = match self.hostile.is_some() {
            true => self.write_back(token, luck),
            false => {
                self.settle(token);
                Ok(())
            }
        };
        if let Some(content) = self.tree.file_mut(token.node) {
            content.syncs.retain(|begin| *begin != token.begin);
        }
        self.let_go(token.node);
        done
    }

    /// A sync that takes no time.
    ///
    /// # Errors
    /// As [`SimDisk::begin_sync`] and [`SimDisk::end_sync`].
    pub fn sync(&mut self, file: FileKey, luck: &mut Luck<'_>) -> Result<(), DiskErrorKind> {
        let token = self.begin_sync(file)?;
        self.end_sync(token, luck)
    }

    /// Begins to make the names in a directory durable.
    ///
    /// # Errors
    /// `NotFound`, `BadPath`.
    pub fn begin_sync_dir(&mut self, dir: &str) -> Result<SyncToken, DiskErrorKind> {
        let node = self.tree.find_dir(dir)?;
        if node != ROOT {
            self.tree.nodes[node as usize].handles += 1;
        }
        Ok(SyncToken { node, begin: self.tick(), boot: self.boot })
    }

    /// Ends a sync of a directory. Does nothing if the process died meanwhile.
    ///
    /// # Errors
    /// `Io` when the media failed; `ReadOnly` on a read-only disk. The names may still become
    /// durable.
    pub fn end_sync_dir(
        &mut self,
        token: SyncToken,
        luck: &mut Luck<'_>,
    ) -> Result<(), DiskErrorKind> {
        if token.boot != self.boot {
            return Err(DiskErrorKind::Io(EIO));
        }
        let done = match self.hostile.is_some() {
            true => self.check_writable().and_then(|()| match self.failure(token.node, luck) {
                Some(failure) => self.fail(failure, luck),
                None => Ok(()),
            }),
            false => Ok(()),
        };
        if done.is_ok() {
            self.tree.settle(token.node, token.begin);
        }
        self.let_go(token.node);
        done
    }

    /// A sync of a directory that takes no time.
    ///
    /// # Errors
    /// As [`SimDisk::begin_sync_dir`] and [`SimDisk::end_sync_dir`].
    pub fn sync_dir(&mut self, dir: &str, luck: &mut Luck<'_>) -> Result<(), DiskErrorKind> {
        let token = self.begin_sync_dir(dir)?;
        self.end_sync_dir(token, luck)
    }

    fn settle(&mut self, token: SyncToken) {
        if let Some(content) = self.tree.file_mut(token.node) {
            content.settle(token.begin, &mut self.spare);
        }
    }

    /// Whether this sync fails, and how.
    fn failure(&mut self, node: NodeId, luck: &mut Luck<'_>) -> Option<SyncFailure> {
        let waiting = |what| match what {
            Ambush::Sync(failure) => Some(failure),
            _ => None,
        };
        if let Some(failure) = self.spring(node, waiting) {
            return Some(failure);
        }
        let DiskFaults { sync_failed, sync_failures, .. } = self.hostile().faults;
        if sync_failures.is_empty() || !luck.chance("disk.sync", sync_failed) {
            return None;
        }
        Some(sync_failures[luck.draw("disk.sync.how", sync_failures.len() as u64) as usize])
    }

    fn fail(&mut self, failure: SyncFailure, luck: &mut Luck<'_>) -> Result<(), DiskErrorKind> {
        luck.faults.count(FaultClass::DiskSyncFailed);
        self.hostile().read_only |= failure == SyncFailure::ReadOnly;
        Err(DiskErrorKind::Io(EIO))
    }

    #[cold]
    fn write_back(&mut self, token: SyncToken, luck: &mut Luck<'_>) -> Result<(), DiskErrorKind> {
        let node = token.node;
        let Some(content) = self.tree.file_mut(node) else { return Ok(()) };
        if !content.late.is_empty() {
            for (sector, old) in std::mem::take(&mut content.late) {
                content.set_durable(sector, &old, false, &mut self.spare);
            }
            self.settle(token);
            return self.fail(SyncFailure::Late, luck);
        }
        let mut covered = Vec::new();
        for (i, rift) in content.rifts.iter().enumerate() {
            let here = bits(rift.dirty).filter(|s| content.covered(i, *s, token.begin).is_some());
            covered.extend(here.map(|s| (i, s)));
        }
        if !covered.is_empty() {
            self.check_writable()?;
        }
        match self.failure(node, luck) {
            Some(SyncFailure::Late) => {
                self.remember(token, &covered);
                self.settle(token);
                Ok(())
            }
            Some(failure) => {
                self.give_up(token, &covered, failure, luck);
                self.fail(failure, luck)
            }
            None => {
                self.go_astray(token, &covered, luck);
                Ok(())
            }
        }
    }

    /// Keeps what the media holds now, to be brought back by the next sync.
    fn remember(&mut self, token: SyncToken, covered: &[(usize, usize)]) {
        let Some(content) = self.tree.file_mut(token.node) else { return };
        for (i, s) in covered {
            let old = *content.rifts[*i].old(*s);
            if content.covered(*i, *s, token.begin) != Some(old) {
                content.late.push((join(content.rifts[*i].page, *s), old));
            }
        }
    }

    /// Some sectors reach the media, and the rest never will.
    fn give_up(
        &mut self,
        token: SyncToken,
        covered: &[(usize, usize)],
        failure: SyncFailure,
        luck: &mut Luck<'_>,
    ) {
        let spare = &mut self.spare;
        let Some(content) = self.tree.file_mut(token.node) else { return };
        let reverts = failure == SyncFailure::Reverts;
        // Btrfs commits a transaction or does not.
        let reached = match reverts {
            true => 0,
            false => luck.draw("disk.sync.reached", covered.len() as u64) as usize,
        };
        for (n, (i, s)) in covered.iter().enumerate() {
            let rift = &content.rifts[*i];
            if n < reached {
                content.promote(*i, *s, token.begin, spare);
                continue;
            }
            if reverts && rift.seq[*s] < token.begin {
                let (page, old) = (rift.page as usize, *rift.old(*s));
                content.set_cached(page, *s, &old, spare);
            }
            content.forget(*i, *s, token.begin);
        }
        let untouched = content.rifts.iter().all(|rift| rift.newest < token.begin)
            && content.lens.iter().all(|len| len.seq < token.begin);
        if reverts && untouched {
            content.len = content.durable_len;
            content.lens.clear();
        }
        for i in (0..content.rifts.len()).rev() {
            content.close_rift(i, spare);
        }
    }

    /// Every sector is reported durable, and one may not be, or may not stay so.
    fn go_astray(&mut self, token: SyncToken, covered: &[(usize, usize)], luck: &mut Luck<'_>) {
        let node = token.node;
        let rates = self.hostile().faults;
        let may = rates.on_synced;
        let stale = may.stale && self.strikes(Ambush::Stale, node, "disk.stale", rates.stale, luck);
        let misdirected = may.misdirected
            && self.strikes(
                Ambush::MisdirectedWrite,
                node,
                "disk.stray",
                rates.misdirected_write,
                luck,
            );
        let zeroed =
            may.zeroed && self.strikes(Ambush::Zeroed, node, "disk.zeroed", rates.zeroed, luck);
        if covered.is_empty() || !(stale || misdirected || zeroed) {
            self.settle(token);
            return;
        }
        let hit = luck.draw("disk.astray.sector", covered.len() as u64) as usize;
        let content = self.tree.file_mut(node).expect("a sync keeps its file");
        let (i, s) = covered[hit];
        let sector = join(content.rifts[i].page, s);
        let data = content.covered(i, s, token.begin).expect("it is covered");
        let changed = *content.rifts[i].old(s) != data;
        if stale || misdirected {
            content.forget(i, s, token.begin);
        }
        self.settle(token);
        if stale && changed {
            luck.faults.count(FaultClass::DiskStale);
        } else if misdirected {
            let before = luck.faults.injected(FaultClass::DiskMisdirectedWrite);
            self.land(node, sector, data, luck);
            if changed && before == luck.faults.injected(FaultClass::DiskMisdirectedWrite) {
                luck.faults.count(FaultClass::DiskMisdirectedWrite);
            }
        } else if zeroed {
            let evicted = luck.draw("disk.zeroed.cached", 2) == 0;
            self.overwrite(node, sector, [0; SECTOR], FaultClass::DiskZeroed, evicted, luck);
        }
    }

    /// Puts a sector in the place of another one, of the same file or of any.
    fn land(&mut self, node: NodeId, sector: u64, data: [u8; SECTOR], luck: &mut Luck<'_>) {
        let sectors = |id: NodeId| {
            self.tree.file(id).map_or(0, |content| content.durable_len.div_ceil(SECTOR as u64))
        };
        let others = (0..self.tree.nodes.len() as NodeId).filter(|id| *id != node);
        let others: Vec<NodeId> = others.filter(|id| sectors(*id) > 0).collect();
        let target = match luck.draw("disk.stray.file", 1 + others.len() as u64) {
            0 => node,
            n => others[n as usize - 1],
        };
        let end = sectors(target);
        let mut victim = luck.draw("disk.stray.sector", end);
        if target == node && victim == sector {
            victim = (victim + 1) % end.max(1);
        }
        if victim < end && (target, victim) != (node, sector) {
            let evicted = luck.draw("disk.stray.cached", 2) == 0;
            let class = FaultClass::DiskMisdirectedWrite;
            self.overwrite(target, victim, data, class, evicted, luck);
        }
    }
}
