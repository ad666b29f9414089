//! openraft's suite for storage, on the simulated disk.
//!
//! Left out are
//! - `transfer_snapshot`: a state is not installed while raft runs;
//! - `get_initial_state_re_apply_committed`: it asks nothing of a store that, as ours, does not
//!   keep what is committed;
//! - `last_membership_in_log`, `last_membership_in_log_multi_step` and
//!   `get_membership_from_log_and_empty_sm`: their log begins at 1, and what is before that was
//!   never purged. Here that is a hole.

use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};
use orloj_kernel::{Context, ambient};

use super::open;
use crate::{log::LogStore, machine::Machine, types::Types};

/// Cases get what they need without it; it names the types.
struct Builder;

impl StoreBuilder<Types, LogStore, Machine> for Builder {
    async fn build(&self) -> Result<((), LogStore, Machine), StorageError<Types>> {
        let (_, log, machine) = open(ambient(), "db").await;
        Ok(((), log, machine))
    }
}

macro_rules! cases {
    ($($case:ident)*) => {$(
        #[orloj_sim::test(seeds = 4)]
        async fn $case(cx: Context) {
            let (_, log, machine) = open(cx, "db").await;
            let done = Suite::<Types, LogStore, Machine, Builder, ()>::$case(log, machine).await;
            done.expect("the store does what openraft expects");
        }
    )*};
}

cases! {
    last_membership_in_log_initial
    get_membership_initial
    get_membership_from_empty_log_and_sm
    get_membership_from_log_le_sm_last_applied
    get_membership_from_log_gt_sm_last_applied_1
    get_membership_from_log_gt_sm_last_applied_2
    get_initial_state_without_init
    get_initial_state_with_state
    get_initial_state_membership_from_empty_log_and_sm
    get_initial_state_membership_from_sm_inlog_is_smaller
    get_initial_state_membership_from_log_insm_is_smaller
    get_initial_state_last_log_gt_sm
    get_initial_state_last_log_lt_sm
    get_initial_state_inverted_log_order
    get_initial_state_conflict_at_same_index
    get_initial_state_log_ids
    save_vote
    get_log_entries
    limited_get_log_entries
    leader_bounded_stream
    entries_stream
    try_get_log_entry
    log_reader_reads_new_entries
    initial_logs
    get_log_state
    get_log_id
    last_id_in_log
    last_applied_state
    purge_logs_upto_0
    purge_logs_upto_5
    purge_logs_upto_20
    delete_logs_after_11
    delete_logs_after_5
    delete_logs_after_0
    delete_logs_after_none
    append_to_log
    snapshot_meta
    snapshot_meta_optional
    apply_single
    apply_multiple
}
