//! What a power cut leaves: the choice among everything the media may hold.

use super::{
    Body, DiskFaults, Luck, SimDisk,
    content::{Candidate, Content, join},
    rift::{SECTOR, Sector, Spare, bits},
    tree::{NodeId, Touched},
};
use crate::fault::FaultClass;

/// One unsynced thing in the order of writing: when, in which file, which sector of it.
type Key = (u64, NodeId, u64);

/// How what is lost is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// Everything from `from` on. `edge`, the same or the newest thing, was being written.
    Suffix { from: Key, edge: Key },
    /// Each by itself.
    Scattered,
    /// All of it, and nothing else happens.
    Everything,
}

const NEVER: Key = (u64::MAX, NodeId::MAX, u64::MAX);

/// One power cut.
struct Cut {
    rules: DiskFaults,
    loss: Loss,
    /// The earliest thing lost and the latest kept, to tell whether order was broken.
    lost: u64,
    kept: u64,
}

impl SimDisk {
    /// The machine loses power and starts again: of everything unsynced the media holds some, by
    /// the rates of [`DiskFaults`] and within what a journaling file system allows:
    /// - a sector holds the durable content or one written since, or is torn between two, or noise;
    /// - the length of a file is the durable one or one it had since, or ends with a sector in
    ///   between; what lies before it and was not written to the media reads as zeros or as the
    ///   older content;
    /// - a truncation takes its bytes away if and only if its length is kept;
    /// - names: a creation, removal or rename is kept whole or lost whole, and kept only with those
    ///   before it of the same name or the same file.
    ///
    /// Handles, locks and syncs in flight end.
    pub fn power_cut(&mut self, luck: &mut Luck<'_>) {
        let rules = self.hostile.as_ref().map_or(DiskFaults::HONEST, |hostile| hostile.faults);
        let loss = self.draw_loss(&rules, luck);
        self.cut(Cut { rules, loss, lost: u64::MAX, kept: 0 }, luck);
    }

    /// The media as it is, with nothing unsynced on it.
    pub(super) fn lose_everything(&mut self) {
        let mut choices = crate::choice::Choices::from_seed(0);
        let mut faults = crate::fault::Faults::default();
        let cut = Cut { rules: DiskFaults::NONE, loss: Loss::Everything, lost: u64::MAX, kept: 0 };
        self.cut(cut, &mut Luck { choices: &mut choices, faults: &mut faults });
    }

    fn cut(&mut self, mut cut: Cut, luck: &mut Luck<'_>) {
        self.boot += 1;
        self.remount();
        cut.names(self, luck);
        self.tree.restart();
        for id in 0..self.tree.nodes.len() {
            if let Body::File(content) = &mut self.tree.nodes[id].body {
                cut.content(id as NodeId, content, &mut self.spare, luck);
            }
        }
        if cut.kept > cut.lost {
            luck.faults.count(FaultClass::DiskReorder);
        }
    }

    /// Whether everything is as the media has it.
    fn is_clean(&self) -> bool {
        let apart = |content: &Content| !content.rifts.is_empty() || !content.lens.is_empty();
        let mut nodes = self.tree.nodes.iter();
        self.tree.pending.is_empty()
            && !nodes.any(|node| matches!(&node.body, Body::File(content) if apart(content)))
    }

    fn draw_loss(&self, rules: &DiskFaults, luck: &mut Luck<'_>) -> Loss {
        if self.is_clean() {
            return Loss::Suffix { from: NEVER, edge: NEVER };
        }
        if luck.chance("disk.cut.reorder", rules.reorder) {
            return Loss::Scattered;
        }
        let rate = rules.lost_write.max(rules.lost_name).max(rules.lost_rename);
        if rate.max(rules.torn).max(rules.garbage) == 0 {
            return Loss::Suffix { from: NEVER, edge: NEVER };
        }
        let mut keys: Vec<Key> =
            self.tree.pending.iter().map(|change| (change.seq, 0, 0)).collect();
        for (id, node) in self.tree.nodes.iter().enumerate() {
            let Body::File(content) = &node.body else { continue };
            // A length follows the sectors of its write.
            keys.extend(content.lens.iter().map(|l| (l.seq, id as NodeId, u64::MAX)));
            for (i, rift) in content.rifts.iter().enumerate() {
                for s in bits(rift.dirty) {
                    let sector = join(rift.page, s);
                    keys.extend(content.moments(i, s).map(|seq| (seq, id as NodeId, sector)));
                }
            }
        }
        keys.sort_unstable();
        keys.dedup();
        let Some(newest) = keys.last().copied() else {
            return Loss::Suffix { from: NEVER, edge: NEVER };
        };
        if !luck.chance("disk.cut.loses", rate) {
            return Loss::Suffix { from: NEVER, edge: newest };
        }
        let from = keys[keys.len() - 1 - luck.draw("disk.cut.from", keys.len() as u64) as usize];
        Loss::Suffix { from, edge: from }
    }
}

/// One sector of one file, and everything it may hold.
#[derive(Clone, Copy)]
struct Here<'a> {
    id: NodeId,
    sector: u64,
    all: &'a [Candidate],
    /// When the newest length that is kept was set.
    horizon: u64,
    /// When the first truncation took it that is lost.
    until: u64,
}

/// A change of length from a larger one.
struct Truncation {
    seq: u64,
    from: u64,
    to: u64,
}

/// The truncations after the first `steps` unsynced lengths.
fn lost_truncations(content: &Content, steps: usize) -> Vec<Truncation> {
    let before = [content.durable_len].into_iter().chain(content.lens.iter().map(|l| l.len));
    let all = before.zip(&content.lens).skip(steps).filter(|(from, l)| l.len < *from);
    all.map(|(from, l)| Truncation { seq: l.seq, from, to: l.len }).collect()
}

/// What a sector holds in the end.
struct Left {
    data: Sector,
    /// The oldest it could have held.
    before: Sector,
    /// Whether `data` came from after the last sync.
    kept: bool,
}

/// Whether a fault may touch the sector, though a sync may have covered it.
fn may_hit(content: &Content, sector: u64, allowed: bool) -> bool {
    allowed || !content.synced(sector)
}

impl Cut {
    /// Brings the changes of names that survive to the media.
    fn names(&mut self, disk: &mut SimDisk, luck: &mut Luck<'_>) {
        let mut touched = Touched::default();
        let mut lost = Vec::new();
        for change in std::mem::take(&mut disk.tree.pending) {
            let rate =
                if change.is_rename() { self.rules.lost_rename } else { self.rules.lost_name };
            let loses = touched.meets(&change)
                || match self.loss {
                    Loss::Suffix { from, .. } => rate > 0 && (change.seq, 0, 0) >= from,
                    Loss::Scattered => luck.chance("disk.cut.name", rate),
                    Loss::Everything => true,
                };
            if loses {
                touched.add(&change);
                self.lost = self.lost.min(change.seq);
                lost.push(change);
            } else {
                self.kept = self.kept.max(change.seq);
                disk.tree.commit(change);
            }
        }
        for change in lost.iter().filter(|change| disk.tree.felt(change)) {
            luck.faults.count(match change.is_rename() {
                true => FaultClass::DiskLostRename,
                false => FaultClass::DiskLostName,
            });
        }
    }

    /// Decides what is left of one file.
    fn content(
        &mut self,
        id: NodeId,
        content: &mut Content,
        spare: &mut Spare,
        luck: &mut Luck<'_>,
    ) {
        let steps = self.steps(id, content, luck);
        let reached = steps.checked_sub(1).map(|i| content.lens[i]);
        let base = reached.map_or(content.durable_len, |l| l.len);
        let horizon = reached.map_or(0, |l| l.seq);
        let next = content.lens.get(steps).map_or(base, |l| l.len);
        let mut len = base;
        if self.loss == Loss::Scattered && next > base {
            // The file had grown, sector by sector.
            let first = base / SECTOR as u64 + 1;
            let within = next.div_ceil(SECTOR as u64).saturating_sub(first);
            let n = luck.draw("disk.cut.length.within", within + 1);
            len = if n == 0 { base } else { (first + n - 1) * SECTOR as u64 };
        }
        let truncations = lost_truncations(content, steps);
        let ordered = matches!(self.loss, Loss::Suffix { .. });
        let may_stray = self.rules.on_synced.misdirected;
        let mut strays = Vec::new();
        for i in 0..content.rifts.len() {
            let page = content.rifts[i].page;
            for s in bits(content.rifts[i].apart) {
                let sector = join(page, s);
                let all = content.candidates(i, s);
                let left = if ordered || sector * (SECTOR as u64) < len {
                    let (start, end) = (sector * SECTOR as u64, (sector + 1) * SECTOR as u64);
                    let cut = truncations.iter().find(|t| start < t.from && t.to < end);
                    let until = cut.map_or(u64::MAX, |t| t.seq);
                    let here = Here { id, sector, all: &all, horizon, until };
                    self.sector(here, content, luck)
                } else {
                    self.behind_the_end(&all, luck)
                };
                if left.kept && ordered {
                    len = len.max(((sector + 1) * SECTOR as u64).min(next));
                }
                let strays_off = left.kept
                    && may_hit(content, sector, may_stray)
                    && luck.chance("disk.cut.stray", self.rules.misdirected_write);
                if strays_off {
                    strays.push((sector, left.data));
                }
                let data = if strays_off { left.before } else { left.data };
                content.set_cached(page as usize, s, &data, spare);
            }
        }
        content.restart(len, spare);
        for (sector, data) in strays {
            self.stray(content, sector, data, spare, luck);
        }
    }

    /// How many of the unsynced lengths are kept.
    fn steps(&mut self, id: NodeId, content: &Content, luck: &mut Luck<'_>) -> usize {
        let all = content.lens.len();
        let steps = match self.loss {
            Loss::Suffix { from, .. } if self.rules.lost_write > 0 => {
                content.lens.iter().take_while(|l| (l.seq, id, u64::MAX) < from).count()
            }
            Loss::Suffix { .. } => all,
            Loss::Scattered if all > 0 && luck.chance("disk.cut.length", self.rules.lost_write) => {
                all - 1 - luck.draw("disk.cut.length.of", all as u64) as usize
            }
            Loss::Scattered => all,
            Loss::Everything => 0,
        };
        if let Some(lost) = content.lens.get(steps) {
            self.lost = self.lost.min(lost.seq);
        }
        if let Some(kept) = steps.checked_sub(1).map(|i| content.lens[i]) {
            self.kept = self.kept.max(kept.seq);
        }
        steps
    }

    /// A sector that the file no longer reaches.
    fn behind_the_end(&mut self, all: &[Candidate], luck: &mut Luck<'_>) -> Left {
        let newest = all[all.len() - 1];
        if newest.seq > 0 && newest.data != [0; SECTOR] {
            self.lost = self.lost.min(all[1].seq);
            luck.faults.count(FaultClass::DiskLostWrite);
        }
        Left { data: [0; SECTOR], before: [0; SECTOR], kept: false }
    }

    /// Decides what one sector holds.
    fn sector(&mut self, here: Here<'_>, content: &Content, luck: &mut Luck<'_>) -> Left {
        let Here { id, sector, all, horizon, until } = here;
        // A truncation that is kept hides what was before it; one that is lost, what came after it.
        let after = all.iter().rposition(|c| c.cut && c.seq <= horizon).unwrap_or(0);
        let until = all.iter().position(|c| c.seq >= until).unwrap_or(all.len());
        let legal = &all[after..until];
        let chosen = self.choose(id, sector, legal, luck);
        let mut left =
            Left { data: legal[chosen].data, before: legal[0].data, kept: legal[chosen].seq > 0 };
        let newest = all[all.len() - 1];
        let over = all.iter().find(|c| c.seq > legal[chosen].seq && c.data != left.data);
        self.lost = self.lost.min(over.map_or(u64::MAX, |c| c.seq));
        self.kept = self.kept.max(legal[chosen].seq);
        if newest.seq == 0 {
            return left;
        }
        if self.in_flight(id, sector, legal) {
            let torn = self.tear(id, sector, chosen, legal, luck);
            let hit = torn.or_else(|| self.noise(content, sector, left.before, luck));
            if let Some(data) = hit {
                return Left { data, kept: true, ..left };
            }
        }
        if newest.seq > legal[chosen].seq && newest.data != left.data {
            if self.loss != Loss::Everything {
                luck.faults.count(FaultClass::DiskLostWrite);
            }
        } else if left.data != [0; SECTOR]
            && may_hit(content, sector, self.rules.on_synced.zeroed)
            && luck.chance("disk.cut.zeroed", self.rules.zeroed)
        {
            luck.faults.count(FaultClass::DiskZeroed);
            left.data = [0; SECTOR];
        }
        left
    }

    fn choose(&self, id: NodeId, sector: u64, legal: &[Candidate], luck: &mut Luck<'_>) -> usize {
        let newest = legal.len() - 1;
        let differ = legal.iter().any(|c| c.data != legal[newest].data);
        match self.loss {
            Loss::Everything => 0,
            Loss::Suffix { from, .. } if self.rules.lost_write > 0 => {
                let kept = |c: &Candidate| c.seq == 0 || (c.seq, id, sector) < from;
                // The first one is on the media, or came with a length that is kept.
                legal.iter().rposition(kept).unwrap_or(0)
            }
            Loss::Suffix { .. } => newest,
            Loss::Scattered if differ && luck.chance("disk.cut.lost", self.rules.lost_write) => {
                newest - 1 - luck.draw("disk.cut.lost.to", newest as u64) as usize
            }
            Loss::Scattered => newest,
        }
    }

    /// Whether the sector may have been on its way as the power went.
    fn in_flight(&self, id: NodeId, sector: u64, legal: &[Candidate]) -> bool {
        match self.loss {
            Loss::Suffix { edge, .. } => legal.iter().any(|c| (c.seq, id, sector) >= edge),
            Loss::Scattered => true,
            Loss::Everything => false,
        }
    }

    /// Part of a content in front of, or behind, part of another one.
    fn tear(
        &mut self,
        id: NodeId,
        sector: u64,
        chosen: usize,
        legal: &[Candidate],
        luck: &mut Luck<'_>,
    ) -> Option<Sector> {
        if let Loss::Suffix { edge, .. } = self.loss
            && !legal.iter().any(|c| (c.seq, id, sector) == edge)
        {
            return None;
        }
        if legal.len() < 2 || !luck.chance("disk.cut.torn", self.rules.torn) {
            return None;
        }
        let n = luck.draw("disk.cut.torn.with", legal.len() as u64 - 1) as usize;
        let other = if n < chosen { n } else { n + 1 };
        let byte = luck.between("disk.cut.torn.at", 1, SECTOR as u64 - 1) as usize;
        let (mut front, mut back) = (legal[other].data, legal[chosen].data);
        if luck.draw("disk.cut.torn.front", 2) == 0 {
            std::mem::swap(&mut front, &mut back);
        }
        let mut data = front;
        data[byte..].copy_from_slice(&back[byte..]);
        let torn = data != legal[other].data && data != legal[chosen].data;
        torn.then(|| {
            luck.faults.count(FaultClass::DiskTorn);
            data
        })
    }

    fn noise(
        &self,
        content: &Content,
        sector: u64,
        old: Sector,
        luck: &mut Luck<'_>,
    ) -> Option<Sector> {
        // Zeros may be the end of somebody's record; those of room laid out beforehand are not.
        let is_room = old == [0; SECTOR] && content.synced_blank(sector);
        let harmless = is_room || self.rules.on_synced.garbage;
        if !harmless && content.synced(sector) {
            return None;
        }
        if !luck.chance("disk.cut.garbage", self.rules.garbage) {
            return None;
        }
        luck.faults.count(FaultClass::DiskGarbage);
        let mut state = luck.draw("disk.cut.garbage.seed", u64::MAX);
        let mut data = [0; SECTOR];
        for word in data.chunks_exact_mut(8) {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes());
        }
        Some(data)
    }

    /// Lets a sector that was on its way land elsewhere in the file.
    fn stray(
        &self,
        content: &mut Content,
        sector: u64,
        data: Sector,
        spare: &mut Spare,
        luck: &mut Luck<'_>,
    ) {
        let sectors = content.len.div_ceil(SECTOR as u64);
        if sectors < 2 {
            return;
        }
        let start = luck.draw("disk.cut.stray.to", sectors - 1);
        let around = (0..sectors - 1).map(|i| (sector + 1 + (start + i) % (sectors - 1)) % sectors);
        let mut free = around.filter(|to| may_hit(content, *to, self.rules.on_synced.misdirected));
        let Some(to) = free.next() else { return };
        let mut data = data;
        let held = (content.len - to * SECTOR as u64).min(SECTOR as u64) as usize;
        data[held..].fill(0);
        if *content.durable(to) != data {
            content.set_durable(to, &data, true, spare);
            luck.faults.count(FaultClass::DiskMisdirectedWrite);
        }
    }
}
