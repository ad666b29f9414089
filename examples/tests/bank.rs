//! The bank loses power, its process dies, its disk fails: money is conserved, and what was
//! answered or shown is there.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use orloj_examples::bank::{ACCOUNTS, Bank, Entry, OPENING, Outcome};
use orloj_kernel::{Context, always, sometimes};
use orloj_sim::{Control, Crash, disk::DiskFaults, testing::find_mutant};

/// What anybody outside has learnt, by its number in the books.
type Seen = Arc<Mutex<BTreeMap<u64, Entry>>>;

#[orloj_sim::test(seeds = 100)]
async fn what_was_answered_survives(test: Context) {
    crashes(test).await;
}

/// Five lives of a bank under sixteen clients and an auditor, then one more in peace.
async fn crashes(test: Context) {
    let seen = Seen::default();
    Control.idle_host("bank");
    let faults = DiskFaults { sync_failed: 5_000, write_error: 5_000, ..DiskFaults::HONEST };
    Control.set_disk_faults("bank", faults);
    for _ in 0..5 {
        let cx = Control.context("bank");
        let bank = Bank::open(cx);
        for _ in 0..16 {
            cx.spawn("client", client(cx, bank.clone(), seen.clone()));
        }
        cx.spawn("auditor", auditor(cx, bank, seen.clone()));
        test.sleep(Duration::from_micros(Control.between("life", 0, 20_000))).await;
        let how = if Control.between("how", 0, 2) == 0 { Crash::Process } else { Crash::Power };
        Control.crash("bank", how);
        Control.restart("bank");
    }
    Control.quiet();
    let bank = Bank::open(Control.context("bank"));
    let judged = audit(test, &bank, &seen).await;
    always!(test, judged, "the-bank-opens-when-all-is-well");
    sometimes!(test, seen.lock().unwrap().len() > 100, "a-busy-bank");
}

/// Moves money about until the bank ends.
async fn client(cx: Context, bank: Bank, seen: Seen) {
    loop {
        let (from, to) = (cx.below(ACCOUNTS), cx.below(ACCOUNTS));
        match bank.transfer(from, to, cx.below(30)).await {
            Outcome::Done(number, entry) => {
                seen.lock().unwrap().insert(number, entry);
            }
            Outcome::Refused => {}
            Outcome::Unknown => cx.sleep(Duration::from_millis(5)).await,
        }
    }
}

async fn auditor(cx: Context, bank: Bank, seen: Seen) {
    loop {
        cx.sleep(Duration::from_millis(3)).await;
        audit(cx, &bank, &seen).await;
    }
}

/// Holds the books against everything that was known before they were asked for.
async fn audit(cx: Context, bank: &Bank, seen: &Seen) -> bool {
    let known = seen.lock().unwrap().clone();
    let Some(books) = bank.books().await else { return false };
    let all = ACCOUNTS * OPENING;
    always!(cx, books.total() == all, "money-is-conserved", "{} of {all}", books.total());
    for (number, entry) in known {
        let found = books.entries.get(number as usize);
        always!(
            cx,
            found == Some(&entry),
            "what-was-answered-survives",
            "entry {number} was {entry:?} and is {found:?}"
        );
    }
    // What the books have shown is as good as an answer.
    seen.lock().unwrap().extend((0..).zip(books.entries));
    true
}

fn found(mutant: &'static str, laws: &[&str]) {
    let found = find_mutant(mutant, 0..200, |cx| Box::pin(crashes(cx)));
    let (seed, failure) = found.expect("200 seeds see it");
    assert!(laws.contains(&&*failure.law), "seed {seed}: {failure}");
}

/// An answer before the sync loses a race with the power cut.
#[test]
fn an_early_answer_is_found() {
    found("bank-answers-early", &["what-was-answered-survives"]);
}

/// A torn record is money from nowhere, or to nowhere.
#[test]
fn a_torn_record_that_is_believed_is_found() {
    let laws = ["money-is-conserved", "what-was-answered-survives"];
    found("journal-believes-anything", &laws);
}

/// A process dies between its write and its sync; the next one shows what only the page cache has,
/// and then the power is cut.
#[test]
fn a_record_of_the_page_cache_is_found() {
    found("journal-trusts-the-cache", &["what-was-answered-survives"]);
}
