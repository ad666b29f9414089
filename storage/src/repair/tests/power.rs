//! Power that fails while a repair is under way.

use super::*;

/// Damages of different kinds, and how many polls of a repair lie between two cuts.
const DAMAGES: &[(&str, usize)] = &[
    ("page", 3),
    ("value", 1),
    ("journal", 3),
    ("superblocks", 3),
    ("manifest", 3),
    ("page and journal", 2),
];

async fn damage(cx: Context, what: &'static str, files: &BTreeMap<String, Vec<u8>>) {
    let middle = |path: &str| files[path].len() as u64 / 2;
    let journal = files.keys().rfind(|path| path.contains("/wal/")).expect("there is a journal");
    let values = files.keys().find(|path| path.contains("/vlog/")).expect("there are values");
    if what.contains("page") {
        let at = middle("db/data.pages") / 4096 * 4096;
        overwrite(cx, "db/data.pages", at + 300, vec![0x55; 9_000]).await;
    }
    if what.contains("journal") {
        // Behind its head and first frames, before its end.
        overwrite(cx, journal, 6_000, vec![0x55; 700]).await;
    }
    if what == "value" {
        overwrite(cx, values, 1_100, vec![0x55; 200]).await;
    }
    if what == "superblocks" {
        for side in [Side::A, Side::B] {
            overwrite(cx, &format!("db/{}", side.file_name()), 0, vec![0; 8192]).await;
        }
    }
    if what == "manifest" {
        overwrite(cx, "db/MANIFEST", 0, vec![0x55; files["db/MANIFEST"].len()]).await;
    }
}

/// What a repair says, and every key that is there afterwards.
type After = (Vec<Loss>, Vec<Option<(usize, Option<u8>)>>);

/// Repairs, opens and reads.
async fn after(cx: Context, model: &Model) -> After {
    let done = repair(cx, "db", false, &mut |_| {}).await.expect("something is left");
    let options = Options { cache_bytes: 4 << 20, ..crate::trial::options() };
    let trial = Trial::open_with(cx, options).await.expect("it was repaired");
    let mut found = Vec::new();
    for of in [NEWEST, ALL] {
        let keyspace = trial.engine.tree().keyspace(of).expect("it is there");
        for number in 0..60 {
            let key = format!("key {number:05}").into_bytes();
            let value = read(&trial, &keyspace, of, &key).await.expect("it was repaired");
            found.push(value.map(short));
        }
    }
    assert!(trial.engine.tree().tail().assigned().0 as usize <= model.history.len());
    (done.losses, found)
}

#[test]
fn a_repair_that_is_cut_short_is_repeated_and_loses_no_more() {
    let mut sim = Simulation::new(Config::seed(6));
    let calm = sim.idle_host("calm");
    let small = small(&mut sim);
    let Small { image, files, model } = &small;
    let mut cuts = BTreeMap::<&str, [usize; 2]>::new();
    for (what, step) in DAMAGES {
        let begin = |sim: &mut Simulation| {
            sim.control(|c| {
                c.restore_disk("node", image);
                c.restart("node");
                c.set_disk_faults("node", DiskFaults::HONEST);
                c.context("node")
            })
        };
        let node = begin(&mut sim);
        let (of, expected) = (files.clone(), model.clone());
        let at_once = sim.run(node, async move {
            damage(node, what, &of).await;
            after(node, &expected).await
        });
        let at_once = at_once.unwrap_or_else(|e| panic!("{what}: {} {}", e.law, e.evidence));
        sim.control(|c| c.crash("node", Crash::Power));
        for polls in (1..).step_by(*step) {
            let node = begin(&mut sim);
            let of = files.clone();
            let made = sim.run(node, async move { damage(node, what, &of).await });
            made.unwrap_or_else(|e| panic!("{what}: {} {}", e.law, e.evidence));
            sim.control(|c| c.kill_after_polls("node", polls, Crash::Power));
            let expected = model.clone();
            let ran = sim.run(calm, async move {
                let node = Control.context("node");
                let repair = node.spawn("repair", async move {
                    repair(node, "db", false, &mut |_| {}).await.expect("something is left")
                });
                let is_done = repair.await.is_ok();
                Control.crash("node", Crash::Power);
                Control.restart("node");
                let node = Control.context("node");
                let again = node.spawn("again", async move { after(node, &expected).await });
                (is_done, again.await.expect("power stays on"))
            });
            let ran = ran.unwrap_or_else(|e| panic!("{what}, {polls}: {} {}", e.law, e.evidence));
            let (is_done, (losses, found)) = ran;
            assert_eq!(found, at_once.1, "{what}, {polls} polls: {losses:?}");
            sim.control(|c| c.crash("node", Crash::Power));
            let count = cuts.entry(what).or_default();
            count[usize::from(is_done)] += 1;
            if is_done {
                break;
            }
        }
    }
    assert!(cuts.values().all(|[cut, done]| *cut > 12 && *done == 1), "{cuts:?}");
}
