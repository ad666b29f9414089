//! Goal: what a configuration must not change it does not change, and if it did that would be seen.
//! Method: scripts in drawn configurations; then the same with planted defects that only some
//! configurations show.

use orloj_scenarios::metamorphic::{KNOBS, Variant, compare, run, script};
use orloj_sim::testing::on_fresh_thread;

#[test]
fn scripts_have_one_hash_in_every_configuration() {
    for seed in 0..6 {
        let compared = on_fresh_thread(|| compare(seed, 8, None));
        assert!(compared.is_ok(), "{compared:?}");
    }
}

#[test]
fn each_knob_alone_changes_nothing() {
    let script = script(7);
    let account = |variant: &Variant| on_fresh_thread(|| run(&script, variant, 7, None));
    let plain = account(&Variant::plain()).expect("it comes to its end");
    for (name, values) in KNOBS {
        for value in &values[1..] {
            let variant = Variant::plain().with(name, *value);
            assert_eq!(account(&variant).as_ref(), Ok(&plain), "{variant}");
        }
    }
}

#[test]
fn a_defect_of_one_configuration_is_found_and_the_configuration_named() {
    let found = (0..20).find_map(|seed| {
        on_fresh_thread(|| compare(seed, 12, Some("session.reorder_replies"))).err()
    });
    let found = found.expect("replies of a pipeline come in another order");
    let (form, batch) = (found.variant.of("form"), found.variant.of("batch"));
    assert!(form >= 3 && batch > 1, "{}", found.variant);
    assert!(found.script.len() <= 4, "{} commands", found.script.len());
}
