//! The node's word put in order: which steps held, and which commands they belong to.
//!
//! A turn that the disk took back, or that a recovery did not find, never happened for whatever
//! comes after, and its turns, rows and lane numbers are handed out again. So a step is named by
//! its [`Place`], never by its numbers alone.

use std::collections::BTreeMap;

use orloj_net::envelope::{Envelope, Id, Outcome};

use super::{History, Told, What};

/// Where in the node's word a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which life, counted from 0.
    pub life: usize,
    /// Which position in it.
    pub position: usize,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was kept.
    Survives,
    /// The disk took it back while the node lived.
    Undone,
    /// The recovery that began this life did not find it.
    LostBy(usize),
}

/// One entry of a history without forks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// A recovery found what stands before.
    Recovered {
        /// The life that began.
        life: usize,
    },
    /// A step.
    Step(Place),
}

/// One accepted command and what happened to it, in whatever fork.
#[derive(Clone, Debug)]
pub struct Known<'h> {
    /// The row in which it was accepted.
    pub row: u64,
    /// Its id, or the one it was given.
    pub id: &'h Id,
    /// What was asked.
    pub envelope: &'h Envelope,
    /// Where it was accepted.
    pub accepted: Place,
    /// Where its lane came to it: more than once only if a fork was left between.
    pub started: Vec<Place>,
    /// Where it was finished, and how.
    pub finished: Vec<(Place, &'h Outcome)>,
    /// Where a request repeated it, and which.
    pub repeated: Vec<(Place, &'h Envelope)>,
}

/// A history with its order worked out.
#[derive(Debug)]
pub struct Account<'h> {
    /// What was observed.
    pub history: &'h History,
    /// Every accepted command in the order in which the node told of them.
    pub commands: Vec<Known<'h>>,
    fates: Vec<Vec<Fate>>,
}

impl<'h> Account<'h> {
    /// Puts `history` in order.
    pub fn new(history: &'h History) -> Account<'h> {
        let fates = history.lives.iter().map(|l| vec![Fate::Survives; l.told.len()]).collect();
        let mut account = Account { history, commands: Vec::new(), fates };
        // What holds now: steps, and accepted commands by their rows.
        let mut kept: Vec<Place> = Vec::new();
        let mut rows: BTreeMap<u64, usize> = BTreeMap::new();
        for (life, l) in history.lives.iter().enumerate() {
            account.cut(&mut kept, &mut rows, l.recovered + 1, Fate::LostBy(life));
            for (position, told) in l.told.iter().enumerate() {
                let place = Place { life, position };
                if told.what == What::Undone {
                    account.cut(&mut kept, &mut rows, told.turn, Fate::Undone);
                    continue;
                }
                kept.push(place);
                account.meet(place, told, &mut rows);
            }
        }
        account
    }

    fn cut(
        &mut self,
        kept: &mut Vec<Place>,
        rows: &mut BTreeMap<u64, usize>,
        turn: u64,
        fate: Fate,
    ) {
        let lives = &self.history.lives;
        let fates = &mut self.fates;
        kept.retain(|place| {
            let stays = lives[place.life].told[place.position].turn < turn;
            if !stays {
                fates[place.life][place.position] = fate;
            }
            stays
        });
        rows.retain(|_, index| self.told(self.commands[*index].accepted).turn < turn);
    }

    fn meet(&mut self, place: Place, told: &'h Told, rows: &mut BTreeMap<u64, usize>) {
        let row = match &told.what {
            What::Accepted { row, id, envelope } => {
                rows.insert(*row, self.commands.len());
                self.commands.push(Known {
                    row: *row,
                    id,
                    envelope,
                    accepted: place,
                    started: Vec::new(),
                    finished: Vec::new(),
                    repeated: Vec::new(),
                });
                return;
            }
            What::Started { row } | What::Finished { row, .. } | What::Repeated { row, .. } => row,
            What::Refused { .. } | What::Plain { .. } | What::Forgotten { .. } | What::Undone => {
                return;
            }
        };
        // A step of what was never accepted belongs to nothing.
        let Some(index) = rows.get(row) else { return };
        let known = &mut self.commands[*index];
        match &told.what {
            What::Finished { outcome, .. } => known.finished.push((place, outcome)),
            What::Repeated { envelope, .. } => known.repeated.push((place, envelope)),
            _ => known.started.push(place),
        }
    }

    /// What was told at `place`.
    pub fn told(&self, place: Place) -> &'h Told {
        &self.history.lives[place.life].told[place.position]
    }

    /// What became of the step.
    pub fn fate(&self, place: Place) -> Fate {
        self.fates[place.life][place.position]
    }

    /// Every history without forks that was the truth at some time, the last one last: at each end
    /// of a life, and before each turn was taken back. A later one shares its beginning with those
    /// before.
    ///
    /// # Errors
    /// The first that `look` returns.
    pub fn views<E>(&self, mut look: impl FnMut(&[Item]) -> Result<(), E>) -> Result<(), E> {
        let mut items: Vec<Item> = Vec::new();
        for (life, l) in self.history.lives.iter().enumerate() {
            self.keep(&mut items, l.recovered + 1);
            items.push(Item::Recovered { life });
            for (position, told) in l.told.iter().enumerate() {
                if told.what == What::Undone {
                    look(&items)?;
                    self.keep(&mut items, told.turn);
                } else {
                    items.push(Item::Step(Place { life, position }));
                }
            }
            look(&items)?;
        }
        Ok(())
    }

    /// Leaves what stands before `turn`. A read that nothing was written for is not remembered,
    /// nor is that time had passed for it.
    fn keep(&self, items: &mut Vec<Item>, turn: u64) {
        let mut newest = 0;
        items.retain(|item| match item {
            Item::Recovered { life } => self.history.lives[*life].recovered < turn,
            Item::Step(place) => {
                let told = self.told(*place);
                let is_idle = match &told.what {
                    What::Plain { command, .. } => !command.is_write() && told.turn <= newest,
                    _ => false,
                };
                newest = newest.max(told.turn);
                told.turn < turn && !is_idle
            }
        });
    }
}
