//! The bank on this machine: four clients move money about, then the books are shown.
//!
//! Run it twice, or kill it in the middle: the books go on where they were.

#![expect(clippy::print_stdout, reason = "a program that speaks to a person")]

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use orloj_examples::bank::{ACCOUNTS, Bank, Outcome};
use orloj_host::{Options, StartError, run};
use orloj_kernel::Context;

/// Moves money about in a bank that survives.
#[derive(Parser)]
struct Arguments {
    /// Where the books are kept.
    #[arg(long, default_value = "target/bank")]
    data: PathBuf,
    /// How many transfers each of four clients makes.
    #[arg(long, default_value_t = 250)]
    transfers: u64,
}

fn main() -> Result<ExitCode, StartError> {
    let Arguments { data, transfers } = Arguments::parse();
    run(Options::new(data), move |cx, _shutdown| async move {
        let bank = Bank::open(cx);
        let clients: Vec<_> =
            (0..4).map(|_| cx.spawn("client", client(cx, bank.clone(), transfers))).collect();
        let mut done = 0;
        for client in clients {
            done += client.await.unwrap_or(0);
        }
        let Some(books) = bank.books().await else {
            println!("the bank closed: its disk failed");
            return ExitCode::FAILURE;
        };
        println!("{done} transfers done, {} in the books", books.entries.len());
        for account in 0..ACCOUNTS {
            println!("account {account} holds {:>4}", books.balance(account).unwrap_or(0));
        }
        println!("together  {:>4}", books.total());
        ExitCode::SUCCESS
    })
}

async fn client(cx: Context, bank: Bank, transfers: u64) -> u64 {
    let mut done = 0;
    for _ in 0..transfers {
        let (from, to) = (cx.below(ACCOUNTS), cx.below(ACCOUNTS));
        let outcome = bank.transfer(from, to, cx.below(30)).await;
        done += u64::from(matches!(outcome, Outcome::Done(..)));
    }
    done
}
