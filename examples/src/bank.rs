//! A bank: accounts in one actor over one journal.
//!
//! It promises that money is conserved, and that whatever it has answered or shown survives every
//! crash, power cuts included. Group commit comes with the actor: all transfers that arrived during
//! one sync share the next.

use std::collections::BTreeMap;

use orloj_kernel::{
    Actor, Addr, Context, Reply, Restart, Shutdown, Stop, Strategy, Supervisor, mutant,
};

use crate::{journal::Journal, rpc::ask};

/// Accounts, numbered from 0.
pub const ACCOUNTS: u64 = 4;
/// What each account holds when the bank opens.
pub const OPENING: u64 = 100;

/// One line of the books: two accounts, and what each holds after the transfer. Written as
/// balances rather than an amount, reading it back is no arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who paid, and what is left.
    pub from: (u64, u64),
    /// Who was paid, and what that makes.
    pub to: (u64, u64),
}

/// How a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the books, with this number, for ever.
    Done(u64, Entry),
    /// There is too little money, or there are no two such accounts. Nothing happened.
    Refused,
    /// The bank ended before it answered: it may have happened or not.
    Unknown,
}

/// All that the bank knows.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// Every transfer since the bank opened, in order.
    pub entries: Vec<Entry>,
    /// What the accounts that have ever moved hold.
    pub balances: BTreeMap<u64, u64>,
}

impl Books {
    /// What an account holds; `None` if there is no such account.
    pub fn balance(&self, account: u64) -> Option<u64> {
        let balance = self.balances.get(&account).copied().unwrap_or(OPENING);
        (account < ACCOUNTS).then_some(balance)
    }

    /// All the money there is.
    pub fn total(&self) -> u64 {
        (0..ACCOUNTS).filter_map(|account| self.balance(account)).sum()
    }

    fn enter(&mut self, entry: Entry) {
        self.entries.push(entry);
        self.balances.extend([entry.from, entry.to]);
    }
}

/// Everything a teller can be told.
enum Msg {
    Transfer { from: u64, to: u64, amount: u64, reply: Reply<Outcome> },
    Show { reply: Reply<Books> },
}

/// A bank that is open. Clones are the same bank.
#[derive(Clone, Debug)]
pub struct Bank(Addr<Msg>);

impl Bank {
    /// Opens the bank of this host. A teller whose disk fails is replaced by a fresh one, who reads
    /// the journal again; after the fourth failure in ten seconds the bank closes.
    pub fn open(cx: Context) -> Bank {
        let mut supervisor = Supervisor::new(cx, Strategy::OneForOne);
        let teller = supervisor.child(Restart::Permanent, Teller::default);
        cx.spawn("supervisor", async move { supervisor.run(&Shutdown::new()).await });
        Bank(teller)
    }

    /// Moves money.
    pub async fn transfer(&self, from: u64, to: u64, amount: u64) -> Outcome {
        let asked = ask(&self.0, |reply| Msg::Transfer { from, to, amount, reply }).await;
        asked.unwrap_or(Outcome::Unknown)
    }

    /// Shows the books; `None` when the bank ended before it could.
    pub async fn books(&self) -> Option<Books> {
        ask(&self.0, |reply| Msg::Show { reply }).await
    }
}

#[derive(Default)]
struct Teller {
    books: Books,
    journal: Option<Journal<4>>,
}

impl Actor for Teller {
    type Msg = Msg;
    const NAME: &'static str = "teller";

    async fn start(&mut self, cx: &Context) -> Result<(), Stop> {
        let (journal, records) = Journal::open(cx, "bank").await?;
        for [from, left, to, makes] in records {
            self.books.enter(Entry { from: (from, left), to: (to, makes) });
        }
        cx.trace(Self::NAME, format_args!("opens with {} entries", self.books.entries.len()));
        self.journal = Some(journal);
        Ok(())
    }

    async fn turn(&mut self, batch: &mut Vec<Msg>, cx: &Context) -> Result<(), Stop> {
        // Decide: no waiting, and nothing has changed yet.
        let mut entries: Vec<Entry> = Vec::new();
        let mut outcomes = Vec::new();
        let mut shows = Vec::new();
        let mut ahead = BTreeMap::new();
        for msg in batch.drain(..) {
            match msg {
                Msg::Show { reply } => shows.push(reply),
                Msg::Transfer { from, to, amount, reply } => {
                    let number = (self.books.entries.len() + entries.len()) as u64;
                    let outcome = match self.decide(&ahead, from, to, amount) {
                        None => Outcome::Refused,
                        Some(entry) => {
                            ahead.extend([entry.from, entry.to]);
                            entries.push(entry);
                            Outcome::Done(number, entry)
                        }
                    };
                    outcomes.push((reply, outcome));
                }
            }
        }
        if mutant!(cx, "bank-answers-early") {
            outcomes.drain(..).for_each(|(reply, outcome)| reply.send(outcome));
        }
        // Effects: one write and one sync for the whole batch.
        if !entries.is_empty() {
            let records: Vec<[u64; 4]> =
                entries.iter().map(|e| [e.from.0, e.from.1, e.to.0, e.to.1]).collect();
            self.journal.as_mut().expect("start opened it").append(&records).await?;
            cx.trace(Self::NAME, format_args!("{} entries are safe", entries.len()));
        }
        // Commit: the books and the answers change together. A refusal waited too: it rests on
        // money that an entry of this batch may have moved.
        entries.into_iter().for_each(|entry| self.books.enter(entry));
        outcomes.into_iter().for_each(|(reply, outcome)| reply.send(outcome));
        shows.into_iter().for_each(|reply| reply.send(self.books.clone()));
        Ok(())
    }
}

impl Teller {
    /// The entry that a transfer would be, after those of this batch; `None` to refuse it.
    fn decide(&self, ahead: &BTreeMap<u64, u64>, from: u64, to: u64, amount: u64) -> Option<Entry> {
        let balance = |account| ahead.get(&account).copied().or(self.books.balance(account));
        let (payer, payee) = (balance(from)?, balance(to)?);
        let left = payer.checked_sub(amount)?;
        (from != to).then_some(Entry { from: (from, left), to: (to, payee + amount) })
    }
}
