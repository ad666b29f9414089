//! Trees that the journal loads. Their pages are in no generation yet: a record says where they
//! are, and of one of which something cannot be read it says where that lies which is left.

use super::{Loss, tree::Mender};
use crate::{
    Error, KeyspaceId, Lsn,
    journal::{DatabaseId, Salvage},
    page::{Claim, PagePtr},
    pager::{Bits, Pager},
    record::{Op, ops},
    vlog::{Appender, ValueLog},
};

/// What trees are mended with.
pub(super) struct Tools<'a> {
    /// `None` if there is no file of pages.
    pub(super) pager: Option<&'a Pager>,
    pub(super) values: &'a ValueLog,
    pub(super) database: DatabaseId,
    /// `None` while nothing is written.
    pub(super) appender: Option<Appender>,
    /// What the pages that are written will be of.
    pub(super) next: u64,
    /// Where the next page goes.
    pub(super) end: u64,
}

/// A record that loads a tree.
struct Load {
    lsn: Lsn,
    keyspace: KeyspaceId,
    root: PagePtr,
    claim: Claim,
}

/// Mends every tree that `journal` loads, and what its record says, if anything is written. Returns
/// what is lost. One that was cleared away later counts too: somebody may keep its history.
pub(super) async fn mend(tools: &mut Tools<'_>, journal: &mut Salvage) -> Result<Vec<Loss>, Error> {
    let loads: Vec<Load> = journal.records().filter_map(load).collect();
    // What is written lies behind all of them, even if the file has lost its end.
    let end = loads.iter().filter_map(|load| load.claim.rows().last());
    tools.end = end.map(|(first, count)| first + count).fold(tools.end, u64::max);
    let mut losses = Vec::new();
    for Load { lsn, keyspace, root, claim } in loads {
        let Some(pager) = tools.pager else {
            losses.push(Loss::Keys { keyspace, from: Vec::new(), to: None });
            journal.replace(lsn, &[Op::Clear(keyspace)]);
            continue;
        };
        let mut marked = Bits::default();
        claim.rows().iter().for_each(|(first, count)| marked.add(*first, *count));
        let mut mender = Mender::new(pager, tools.values, tools.database);
        // Whatever was the next generation when it was written.
        (mender.generation, mender.lsn, mender.next) = (u64::MAX, lsn, tools.next);
        (mender.marked, mender.end) = (Some(marked), tools.end);
        mender.appender = tools.appender.take();
        let mended = mender.root(keyspace, root).await;
        tools.appender = mender.appender.take();
        let mended = mended?;
        tools.end = mender.end;
        losses.append(&mut mender.losses);
        if mended != root && tools.appender.is_some() {
            let units = units(&mender.used).encode();
            journal.replace(lsn, &[Op::Load { keyspace, root: mended, units: &units }]);
        }
    }
    Ok(losses)
}

fn load((lsn, record): (Lsn, &[u8])) -> Option<Load> {
    ops(record).find_map(|op| match op {
        Ok(Op::Load { keyspace, root, units }) => {
            let claim = Claim::decode(units).expect("the operation makes sense");
            Some(Load { lsn, keyspace, root, claim })
        }
        _ => None,
    })
}

/// A claim to all units of a set but the first of the file, where no page is.
fn units(used: &Bits) -> Claim {
    let mut claim = Claim::default();
    (1..used.end()).filter(|unit| used.has(*unit)).for_each(|unit| claim.add(unit, 1));
    claim
}
