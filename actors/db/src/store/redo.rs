//! Commits of a replay: what was computed is compared with what is recorded, which is done.

use std::collections::BTreeSet;

use orloj_net::UnixMs;
use orloj_storage::{
    Database, Error, KeyspaceId,
    database::{Assigned, Batch, Difference},
};

use super::{COUNTS, Store, name};
use crate::commands::TOTALS;

/// What the next commit is to be.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// The record of the journal.
    pub(crate) record: Vec<u8>,
    /// Keys, as clients call them, of which it cannot be computed what they hold.
    pub(crate) withheld: BTreeSet<Vec<u8>>,
    /// Whether of no key that can be computed.
    pub(crate) withholds_all: bool,
    /// Of which keyspace those keys are, and in which the accounts are.
    pub(crate) strings: KeyspaceId,
    pub(crate) accounts: KeyspaceId,
    /// The keyspace of commands in flight, if rows of the history were redacted after they were
    /// written: then they have another length than is counted, and not all of what was withheld
    /// before is there.
    redacted: Option<KeyspaceId>,
    /// Whether it was done.
    pub(crate) is_done: bool,
    /// The first key that the record writes otherwise.
    pub(crate) difference: Option<Difference>,
}

impl Recorded {
    fn new(record: Vec<u8>, strings: KeyspaceId, accounts: KeyspaceId) -> Recorded {
        let (withheld, withholds_all, redacted, is_done, difference) = Default::default();
        Recorded {
            record,
            withheld,
            withholds_all,
            strings,
            accounts,
            redacted,
            is_done,
            difference,
        }
    }

    /// Whether the effects of the commit cannot all be computed.
    pub(crate) fn is_withholding(&self) -> bool {
        self.withholds_all || !self.withheld.is_empty()
    }

    pub(super) async fn commit(
        &mut self,
        db: &Database,
        batch: &Batch<'_>,
    ) -> Result<Assigned, Error> {
        self.difference = batch.difference(&self.record, |keyspace, key| {
            if keyspace == self.strings {
                return self.withholds_all || self.withheld.contains(name::client(key));
            }
            let is_redacted = self.redacted.is_some();
            let is_counted = key == COUNTS && self.is_withholding() || key == TOTALS && is_redacted;
            keyspace == self.accounts && is_counted || Some(keyspace) == self.redacted
        });
        self.is_done = true;
        db.redo(&self.record).await
    }
}

const EXPECTED: &str = "a replay expects each commit";

impl Store {
    /// Has the next commit compared with a record, which is done.
    pub(crate) fn expect(&mut self, record: Vec<u8>, redacted: Option<KeyspaceId>) {
        let (strings, accounts) = (self.strings.id(), self.accounts.id());
        let recorded = Recorded::new(record, strings, accounts);
        self.recorded = Some(Recorded { redacted, ..recorded });
    }

    /// What is to be found out of the next commit.
    pub(crate) fn recorded(&mut self) -> &mut Recorded {
        self.recorded.as_mut().expect(EXPECTED)
    }

    /// What was found out of the last commit.
    pub(crate) fn take_recorded(&mut self) -> Recorded {
        self.recorded.take().expect(EXPECTED)
    }

    /// The clock is at least what history tells.
    pub(crate) fn catch_up(&mut self) {
        self.clock = self.clock.max(UnixMs(self.db.told()));
    }
}
