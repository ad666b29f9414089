//! Small worlds, all of them: every way in which the choices of a run can fall.
//!
//! A seed samples; this proves, for worlds small enough. [`Ways`] walks the tree of choices of
//! whole runs depth first, by scripts: of a [`Simulation`](crate::Simulation) that takes its
//! choices from no bytes at all, every choice is calm but those that the walk bends. [`explore`]
//! walks a world of plain states, step by step, and goes on from no state twice; it finds the
//! shortest way to a broken property.
//!
//! Sources: stateless search as in VeriSoft (Godefroid, POPL 1997); stateful as in Murphi and TLC.

use std::collections::{BTreeSet, VecDeque};

use crate::choice::{Choice, Choices, Script, Source};

/// A choice of this bound is a chance, which falls either way and no other.
const CHANCE: u64 = 1_000_000;

/// A walk over the ways in which choices can fall, one run at a time.
#[derive(Debug)]
pub struct Ways {
    /// The choices up to the one that falls another way now; of the others calm counts.
    forced: Vec<Choice>,
    bends: fn(&Choice) -> bool,
}

impl Ways {
    /// Every choice for which `bends` is true falls in every way, a chance in two; the others are
    /// calm. Times and lengths have too many ways to be walked.
    pub fn of(bends: fn(&Choice) -> bool) -> Ways {
        Ways { forced: Vec::new(), bends }
    }

    /// Where the run at hand takes its choices from, beside [`Ways::script`].
    pub fn source() -> Source {
        Source::Bytes(Vec::new())
    }

    /// What the run at hand is told.
    pub fn script(&self) -> Script {
        let forced = self.forced.iter().map(|c| ((c.stream, c.index), c.value));
        Script { overrides: forced.collect() }
    }

    /// After a run that made these choices: whether there is another way.
    pub fn go_on(&mut self, made: &[Choice]) -> bool {
        let other = made.iter().enumerate().rev().find_map(|(at, choice)| {
            let value = match choice.bound {
                CHANCE if choice.value == 0 => CHANCE - 1,
                CHANCE => return None,
                bound if choice.value + 1 < bound => choice.value + 1,
                _ => return None,
            };
            (self.bends)(choice).then_some((at, value))
        });
        let Some((at, value)) = other else { return false };
        self.forced.clear();
        self.forced.extend(made[..at].iter().filter(|choice| (self.bends)(choice)));
        self.forced.push(Choice { value, ..made[at] });
        true
    }
}

/// Runs `body` once for each way in which its choices can fall; how many those are.
///
/// # Panics
/// If `body` returns other choices than it was given.
pub fn every_way(mut body: impl FnMut(Choices) -> Choices) -> u64 {
    let mut ways = Ways::of(|_| true);
    for runs in 1.. {
        let choices = body(Choices::new(Ways::source(), ways.script(), true));
        if !ways.go_on(choices.recorded().expect("choices come back as they were given")) {
            return runs;
        }
    }
    unreachable!("the ways are finite")
}

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most states.
    pub states: usize,
    /// Most steps from the start.
    pub steps: usize,
}

/// What was walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explored {
    /// Different states.
    pub states: usize,
    /// Steps taken, those to states already known included.
    pub steps: u64,
    /// Steps from the start to the furthest state.
    pub deepest: usize,
    /// Whether nothing was left out for a bound: then the property is proved of this world.
    pub is_whole: bool,
}

/// The shortest way to a broken property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    /// What was broken.
    pub why: String,
    /// The choices of each step on the way.
    pub steps: Vec<Vec<Choice>>,
}

impl std::fmt::Display for Counterexample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}, after {} steps:", self.why, self.steps.len())?;
        for (number, choices) in self.steps.iter().enumerate() {
            let named = choices.iter().map(|c| format!("{} {}", c.site, c.value));
            writeln!(f, "  {}. {}", number + 1, named.collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}

/// Walks every state that `step` can come to from `start`, breadth first. A step draws what happens
/// next and does it; it returns whether the world goes on. States with equal keys are one: `key`
/// must hold all that later steps depend on.
///
/// # Errors
/// The shortest way to a step that says a property is broken.
pub fn explore<S: Clone, K: Ord>(
    start: S,
    bounds: Bounds,
    key: impl Fn(&S) -> K,
    mut step: impl FnMut(&mut S, &mut Choices) -> Result<bool, String>,
) -> Result<Explored, Counterexample> {
    let mut seen = BTreeSet::from([key(&start)]);
    // Each state that was reached first by a step: from which, and by which choices.
    let mut came: Vec<(Option<usize>, Vec<Choice>)> = vec![(None, Vec::new())];
    let mut queue = VecDeque::from([(0, 0, start)]);
    let mut sum = Explored { states: 1, steps: 0, deepest: 0, is_whole: true };
    while let Some((number, depth, state)) = queue.pop_front() {
        sum.deepest = sum.deepest.max(depth);
        if depth == bounds.steps {
            sum.is_whole = false;
            continue;
        }
        let mut broken = None;
        every_way(|mut choices| {
            let mut next = state.clone();
            let done = step(&mut next, &mut choices);
            sum.steps += 1;
            let made = || choices.recorded().unwrap_or_default().to_vec();
            match done {
                Err(why) => {
                    broken.get_or_insert_with(|| (why, made()));
                }
                Ok(goes_on) if seen.insert(key(&next)) => {
                    sum.states += 1;
                    if goes_on && sum.states <= bounds.states {
                        came.push((Some(number), made()));
                        queue.push_back((came.len() - 1, depth + 1, next));
                    }
                    sum.is_whole &= !goes_on || sum.states <= bounds.states;
                }
                Ok(_) => {}
            }
            choices
        });
        if let Some((why, last)) = broken {
            let mut steps = vec![last];
            let mut at = number;
            while let (Some(before), choices) = &came[at] {
                steps.push(choices.clone());
                at = *before;
            }
            steps.reverse();
            return Err(Counterexample { why, steps });
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests;
