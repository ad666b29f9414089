//! Where each planted defect should show.
//!
//! The first word of a name is the part of the system in which a programmer would have made the
//! mistake. Defects of a cluster will stand here under `cluster`.

/// Scenarios in which a defect should show, where the default is not the best place to look.
const WHERE: &[(&str, &[&str])] = &[
    ("actor.batch_is_cut", &["pipelining", "commands"]),
    ("cache.dropped_trees_stay", &["engine-crowded"]),
    ("checkpoint.flip_before_sync", &["engine-power-loss"]),
    ("checkpoint.prune_above_floor", &["engine-crowded", "engine-power-loss"]),
    ("checkpoint.values_are_not_flushed", &["engine-crowded", "engine"]),
    ("client.each_try_has_an_id", &["commands-network"]),
    ("client.lost_counts_as_refused", &["commands-network"]),
    ("client.lost_try_forgotten", &["commands-network"]),
    ("client.part_counts_as_written", &["commands-network"]),
    ("cursor.long_values_never_die", &["engine-clocks", "engine"]),
    ("events.told_before_sync", &["commands-network"]),
    ("history.sequence_gap", &["commands"]),
    ("journal.ack_before_sync", &["crash-anywhere", "default"]),
    ("journal.buffered_is_not_written", &["buffered", "commands-buffered"]),
    ("journal.lost_dir_sync", &["torn-and-lost-writes", "crash-anywhere"]),
    ("journal.lost_wakeup", &["pipelining", "default"]),
    ("journal.refused_frame_stays", &["engine-disk-full"]),
    ("journal.trims_one_too_many", &["engine-power-loss", "engine"]),
    ("keeper.sweeps_too_soon", &["engine-clocks", "engine"]),
    ("lanes.circle_is_not_seen", &["commands-cycles"]),
    ("lanes.effect_without_ok", &["commands"]),
    ("lanes.eldest_of_circle_ends", &["commands-cycles"]),
    ("lanes.failure_counts_as_done", &["commands", "commands-cycles"]),
    ("lanes.loaded_is_not_looked_at", &["commands-crash", "commands-cycles"]),
    ("lanes.next_of_cancelled_is_forgotten", &["commands", "commands-cycles"]),
    ("lanes.overtakes", &["commands", "commands-cycles"]),
    ("lanes.reads_make_versions", &["commands"]),
    ("lanes.session_keeps_its_version", &["commands"]),
    ("lanes.skips_dependency", &["commands", "commands-cycles"]),
    ("lanes.version_gap", &["commands"]),
    ("lanes.version_is_not_compared", &["commands"]),
    ("lanes.waiter_is_not_woken", &["commands", "commands-cycles"]),
    ("listener.nobody_leaves", &["crowded"]),
    ("load.record_before_sync", &["engine-power-loss"]),
    ("locks.turn_is_held", &["engine-crowded"]),
    ("native.credit_is_kept", &["commands-network"]),
    ("native.event_lost_at_grant", &["commands-network"]),
    ("native.in_flight_for_ever", &["commands-network"]),
    ("native.partial_frame_is_dropped", &["commands-network"]),
    ("outcomes.answer_before_sync", &["commands-crash", "commands"]),
    ("outcomes.any_command_of_that_id", &["commands"]),
    ("outcomes.cancelled_too_late", &["commands", "commands-cycles"]),
    ("outcomes.finished_stays_in_flight", &["commands-crash"]),
    ("outcomes.forgets_id", &["commands"]),
    ("outcomes.keys_for_ever", &["commands", "commands-clocks"]),
    ("outcomes.refused_though_accepted", &["commands-disk-full"]),
    ("outcomes.replay_looks_new", &["commands"]),
    ("outcomes.second_outcome", &["commands"]),
    ("outcomes.timed_out_after_effect", &["commands", "commands-clocks"]),
    ("pager.sum_is_not_looked_at", &["engine-misread", "engine-damage"]),
    ("query.page_skips_a_row", &["commands", "commands-cycles"]),
    ("recovery.begins_one_late", &["engine-power-loss", "crash-anywhere"]),
    ("recovery.deadlines_begin_anew", &["commands-crash", "commands-clocks"]),
    ("recovery.history_tells_no_time", &["engine-clocks", "skewed-clocks"]),
    ("recovery.lanes_stand_still", &["commands-crash", "commands-cycles"]),
    ("recovery.reruns_started", &["commands-crash", "commands-cycles"]),
    ("recovery.skip_bad_record", &["bit-rot-middle", "torn-and-lost-writes"]),
    ("redaction.rest_runs_after_restart", &["commands-upkeep"]),
    ("retention.counting_keys_go", &["commands-upkeep"]),
    ("retention.drops_outcomes", &["commands-upkeep"]),
    ("runtime.pieces_arrive_reversed", &["partial-frames"]),
    ("runtime.synced_names_are_lost", &["crash-anywhere", "engine-power-loss"]),
    ("sequencer.dropped_reply", &["pipelining", "default"]),
    ("sequencer.scan_misses_its_turn", &["pipelining", "default"]),
    ("sequencer.time_goes_back", &["skewed-clocks"]),
    ("sequencer.undone_stays_in_rows", &["disk-full"]),
    ("sequencer.unsynced_read", &["torn-and-lost-writes", "crash-anywhere"]),
    ("session.own_answers_overtake", &["pipelining", "default"]),
    ("session.partial_request_is_dropped", &["partial-frames"]),
    ("session.reorder_replies", &["pipelining", "default"]),
    ("session.unbounded_output", &["slow-clients", "default"]),
    ("snapshot.shows_what_is_not_durable", &["engine-power-loss", "engine"]),
    ("state.hidden_wall_clock", &["skewed-clocks", "default"]),
    ("superblock.always_the_same_side", &["engine-power-loss"]),
    ("superblock.is_not_synced", &["engine-power-loss"]),
    ("txn.expected_version_is_ignored", &["engine-crowded"]),
    ("txn.reads_are_not_checked", &["engine-crowded"]),
    ("txn.scans_are_not_checked", &["engine-crowded"]),
    ("vlog.last_moves_are_not_told", &["engine-crowded", "engine"]),
    ("vlog.name_is_not_synced", &["engine-power-loss"]),
    ("vlog.removed_too_early", &["engine-crowded", "engine"]),
    ("vlog.segments_are_not_synced", &["engine-power-loss"]),
    ("writer.ack_before_sync", &["engine-power-loss"]),
    ("writer.kept_is_trimmed", &["engine-crowded"]),
    ("writer.refused_stays_in_memory", &["engine-disk-full"]),
];

/// The scenarios in which this defect should show.
pub(super) fn places(name: &str) -> &'static [&'static str] {
    let known = WHERE.iter().find(|(known, _)| *known == name);
    known.map_or(&["default"], |(_, places)| places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{mutants, scenario};

    #[test]
    fn every_defect_has_a_place_and_every_place_a_defect() {
        let planted: Vec<_> = mutants().into_iter().filter(|n| !n.starts_with("leak.")).collect();
        let placed: Vec<_> = WHERE.iter().map(|(name, _)| *name).collect();
        assert_eq!(planted, placed);
        assert!(planted.len() >= 60, "{}", planted.len());
        for (name, places) in WHERE {
            assert!(places.iter().all(|place| scenario::find(place).is_ok()), "{name}");
        }
    }
}
