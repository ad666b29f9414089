//! Damage to what lies on the media, at the hand of a nemesis.

use super::{Luck, SimDisk, hostile::matches, rift::SECTOR, tree::NodeId};
use crate::fault::FaultClass;

/// What happens to a sector at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// One bit flips.
    BitRot,
    /// It holds zeros.
    Zeroed,
    /// It cannot be read until it is written again. Counted when a read meets it.
    Unreadable,
    /// It holds what was meant for another sector of the file.
    Misdirected,
}

/// Where in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the last sector that holds anything but zeros.
    Tail,
    /// In the middle three quarters, and not in the last sector if there is another.
    Middle,
    /// Anywhere.
    Anywhere,
}

/// Where damage was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Struck {
    /// The path of the file.
    pub path: String,
    /// The first byte of the sector.
    pub offset: u64,
}

impl SimDisk {
    /// Damages one durable sector of a file whose path `pattern` describes, where `*` stands for
    /// anything; `None` if there is no such sector. One that was synced is spared unless
    /// [`OnSynced`](super::OnSynced) allows it. Half of the time processes go on seeing the cached
    /// content until the power is cut.
    pub fn damage(
        &mut self,
        damage: Damage,
        pattern: &str,
        place: Place,
        luck: &mut Luck<'_>,
    ) -> Option<Struck> {
        let mut files = self.tree.files();
        files.retain(|(path, node)| {
            matches(pattern, path) && self.choose(damage, *node, place, 0).is_some()
        });
        if files.is_empty() {
            return None;
        }
        let (path, node) =
            files.swap_remove(luck.draw("disk.damage.file", files.len() as u64) as usize);
        let (first, end) = self.window(node, place)?;
        let start = luck.draw("disk.damage.sector", end - first);
        let sector = self.choose(damage, node, place, start)?;
        let evicted = luck.draw("disk.damage.cached", 2) == 0;
        let done = match damage {
            Damage::BitRot => {
                let content = self.tree.file(node)?;
                let filled = content.durable(sector).iter().rposition(|b| *b != 0);
                let within = match place {
                    Place::Tail => filled.map_or(SECTOR, |last| last + 1),
                    _ => SECTOR,
                };
                self.rot_sector(node, sector, within, evicted, luck)
            }
            Damage::Zeroed => {
                self.overwrite(node, sector, [0; SECTOR], FaultClass::DiskZeroed, evicted, luck)
            }
            Damage::Unreadable => self.make_unreadable(node, sector),
            Damage::Misdirected => {
                let content = self.tree.file(node)?;
                let sectors = content.durable_len.div_ceil(SECTOR as u64);
                let other = (sector + 1 + luck.draw("disk.damage.from", sectors - 1)) % sectors;
                let data = *content.durable(other);
                self.overwrite(node, sector, data, FaultClass::DiskMisdirectedWrite, evicted, luck)
            }
        };
        done.then_some(Struck { path, offset: sector * SECTOR as u64 })
    }

    /// The sectors that `place` means, as `first..end`.
    fn window(&self, node: NodeId, place: Place) -> Option<(u64, u64)> {
        let end = self.tree.file(node)?.durable_end();
        let (first, end) = match place {
            Place::Tail => (end.checked_sub(1)?, end),
            Place::Middle => (end / 8, (end - end / 8).min(end.checked_sub(1)?).max(1)),
            Place::Anywhere => (0, end),
        };
        (first < end).then_some((first, end))
    }

    /// The first sector from `start` on, counted from where `place` begins and round, that may be
    /// hit.
    fn choose(&self, damage: Damage, node: NodeId, place: Place, start: u64) -> Option<u64> {
        let (first, end) = self.window(node, place)?;
        let content = self.tree.file(node)?;
        let allowed = self.hostile.as_ref().map(|h| h.faults.on_synced).unwrap_or_default();
        let allowed = match damage {
            Damage::BitRot => allowed.bit_rot,
            Damage::Zeroed => allowed.zeroed,
            Damage::Unreadable => allowed.unreadable,
            Damage::Misdirected => allowed.misdirected,
        };
        if damage == Damage::Misdirected && content.durable_len <= SECTOR as u64 {
            return None;
        }
        let mut around = (0..end - first).map(|i| first + (start + i) % (end - first));
        around.find(|sector| allowed || !content.synced(*sector))
    }

    /// Flips one bit among the first `within` bytes of a durable sector.
    pub(super) fn rot_sector(
        &mut self,
        node: NodeId,
        sector: u64,
        within: usize,
        evicted: bool,
        luck: &mut Luck<'_>,
    ) -> bool {
        let allowed = self.hostile.as_ref().is_some_and(|h| h.faults.on_synced.bit_rot);
        let Some(content) = self.tree.file(node) else { return false };
        let held = content.durable_len.saturating_sub(sector * SECTOR as u64).min(within as u64);
        if held == 0 || (content.synced(sector) && !allowed) {
            return false;
        }
        let mut data = *content.durable(sector);
        let bit = luck.draw("disk.rot.bit", held * 8) as usize;
        data[bit / 8] ^= 1 << (bit % 8);
        self.overwrite(node, sector, data, FaultClass::DiskBitRot, evicted, luck)
    }

    /// Puts `data` in the place of a durable sector, and counts it if that changes anything.
    pub(super) fn overwrite(
        &mut self,
        node: NodeId,
        sector: u64,
        data: [u8; SECTOR],
        class: FaultClass,
        evicted: bool,
        luck: &mut Luck<'_>,
    ) -> bool {
        let Some(content) = self.tree.file_mut(node) else { return false };
        // Bytes behind the end of the file are zeros, whatever the sector holds.
        let mut data = data;
        let held = content.durable_len.saturating_sub(sector * SECTOR as u64);
        data[held.min(SECTOR as u64) as usize..].fill(0);
        if *content.durable(sector) == data {
            return false;
        }
        // Behind a truncation that is not durable there is nothing to see.
        let evicted = evicted && content.durable_len <= content.len;
        content.set_durable(sector, &data, evicted, &mut self.spare);
        luck.faults.count(class);
        true
    }

    pub(super) fn make_unreadable(&mut self, node: NodeId, sector: u64) -> bool {
        let allowed = self.hostile.as_ref().is_some_and(|h| h.faults.on_synced.unreadable);
        let Some(content) = self.tree.file_mut(node) else { return false };
        let spared = content.synced(sector) && !allowed;
        if spared || content.bad.contains(&sector) || content.is_dirty(sector) {
            return false;
        }
        content.bad.push(sector);
        true
    }
}
