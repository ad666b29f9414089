//! The page of a run, opened in a real browser.
//!
//! Without a Chromium on the machine (`CHROMIUM` names another than those in the path) the test
//! says so and proves nothing.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use orloj_scenarios::{
    Outcome, Record, Run, Setup,
    page::{self, Page, Passing},
    run, scenario,
};
use orloj_sim::{Detail, graph::Kind};

/// Said aloud when there is no browser.
const SKIPPED: &str = "SKIPPED: no Chromium is on this machine; the page was opened by nobody";

/// A browser, if there is one.
fn browser() -> Option<PathBuf> {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let known = std::env::split_paths(&path).flat_map(|dir| names.map(|name| dir.join(name)));
    named.into_iter().chain(known).find(|file| file.is_file())
}

/// The page as the browser has it after its scripts have run, opened at a place in the run.
fn opened(browser: &Path, dir: &Path, html: &str, place: &str) -> String {
    let file = dir.join("run.html");
    std::fs::write(&file, html).unwrap();
    let profile = dir.join("profile");
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000"])
        .args(["--window-size=1500,860", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("file://{}#{place}", file.display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A run of a planted defect that is found.
fn broken() -> Run {
    let scenario = scenario::find("default").unwrap();
    let mutant = Some("journal.ack_before_sync");
    let found = (0..60).map(|seed| Setup { mutant, detail: Detail::Graph, ..Setup::seed(seed) });
    let mut runs = found.map(|setup| run(&scenario, setup));
    runs.find(|run| matches!(run.outcome, Outcome::Broken(_))).expect("the defect is found")
}

fn render(run: &Run, passing: Option<Passing>) -> String {
    let page = Page {
        title: "default <b id=bad>seed</b>".to_owned(),
        command: "the command".to_owned(),
        inspect: None,
        commit: "none".to_owned(),
        run,
        passing,
    };
    page::render(&page).expect("its events are recorded")
}

/// What stands between two texts.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let begin = text.find(before).unwrap_or_else(|| panic!("no {before} in the page"));
    let rest = &text[begin + before.len()..];
    &rest[..rest.find(after).unwrap_or_else(|| panic!("no {after} behind {before}"))]
}

#[test]
fn a_browser_shows_the_violation_its_cone_and_what_is_searched() {
    let Some(browser) = browser() else { return println!("{SKIPPED}") };
    let dir = tempfile::tempdir().unwrap();
    let mut run = broken();
    let held = orloj_scenarios::run(
        &scenario::find("default").unwrap(),
        Setup { detail: Detail::Graph, ..Setup::seed(run.seed) },
    );
    assert_eq!(held.outcome, Outcome::Held);
    let Outcome::Broken(breach) = run.outcome.clone() else { unreachable!() };

    // Hostile words in a line, which must stay words.
    let mut record = Record::clone(run.record.as_deref().unwrap());
    let bad = "</script><script>document.body.id='bad'</script><img src=x onerror=alert(1)>";
    let story = record.graph.events.iter().position(|e| e.kind == Kind::Story).unwrap();
    record.graph.events[story].text = bad.to_owned();
    let heard = record.graph.events.iter().rposition(|e| e.kind == Kind::End).unwrap();
    let cone = record.graph.cone(&[heard as u32]).len();
    let heards =
        record.graph.events.iter().filter(|e| e.text.to_lowercase().contains("heard")).count();
    run.record = Some(Arc::new(record));

    let passing = Passing {
        rule: "without the defect".to_owned(),
        command: "the other command".to_owned(),
        run: Some(held),
    };
    let html = render(&run, Some(passing));
    let page = opened(&browser, dir.path(), &html, "go=violation&q=heard");
    assert!(page.contains(&format!("broken: {}", breach.law)));
    assert!(page.contains(&breach.promise) && page.contains("the engine beside the model"));
    assert_eq!(between(&page, "id=\"matches\">", "<"), format!("{heards} found"));

    let page = opened(&browser, dir.path(), &html, "go=difference");
    assert!(page.contains("without the defect") && page.contains("The choice before"));

    let page = opened(&browser, dir.path(), &html, &format!("e={heard}"));
    assert!(page.contains(&format!("{cone} events</td>")), "the cone has {cone} events");
    assert_eq!(between(&page, "Rests directly on</h2><div", "class=\"event").trim(), "");

    let page = opened(&browser, dir.path(), &html, &format!("e={story}"));
    assert!(page.contains("&lt;/script&gt;&lt;script&gt;"), "the line is shown as it is");
    assert!(!page.contains("<img") && !page.contains("<b id") && !page.contains("<body id"));
}

#[test]
fn a_page_of_a_hundred_thousand_events_is_small_and_quickly_drawn() {
    let Some(browser) = browser() else { return println!("{SKIPPED}") };
    let dir = tempfile::tempdir().unwrap();
    let text = "title = \"long\"\npromise = \"Many events.\"\nduration = \"9s\"\nsettle = \"10s\"\n\
                [clients]\ncount = \"16\"\nrequests = \"600..700\"\npipeline = \"1..4\"\n\
                patience = \"2s..5s\"\nper-connection = \"100..1000\"\n\
                [workload]\nhot = \"1..2\"\nvalue = \"0..100B\"\n";
    let scenario = orloj_scenarios::Scenario::parse("long", text).unwrap();
    let run = run(&scenario, Setup { detail: Detail::Graph, ..Setup::seed(1) });
    let events = run.record.as_deref().unwrap().graph.events.len();
    assert!(events > 90_000, "{events} events");
    let html = render(&run, None);
    assert!(html.len() < 20 << 20, "{} bytes", html.len());
    let page = opened(&browser, dir.path(), &html, "");
    assert!(page.contains(&format!("{events} of {events} events")));
    let took: f64 = between(&page, "drawn in ", " ms").parse().unwrap();
    // A frame of 50 ms on a quiet machine; tests run beside others.
    assert!(took < 500.0, "drawn in {took} ms");
}
