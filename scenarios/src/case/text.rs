//! A case as text: TOML, one line an operation.

use orloj_sim::Scheduler;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::{Anchor, Case, Clock, Origin, Script, Step, Strike};
use crate::{
    ScenarioError,
    nemesis::Blow,
    scenario::{Span, Time, amount},
};

/// What is between what is said of an operation and the operation.
const COLON: &str = ": ";

/// How long a client waits of which nothing is said: a second.
const PATIENCE: u64 = 1_000_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Text {
    law: String,
    mutant: Option<String>,
    fixed_by: Option<String>,
    #[serde(default)]
    scheduler: Option<String>,
    history: Origin,
    world: Table,
    #[serde(default)]
    clock: Vec<Clock>,
    client: Vec<ClientText>,
    #[serde(default)]
    strike: Vec<StrikeText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ClientText {
    #[serde(default)]
    patience: Span<Time>,
    #[serde(default)]
    slow: bool,
    #[serde(default)]
    resp3: bool,
    ops: Vec<String>,
    #[serde(default)]
    closing: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct StrikeText {
    after: String,
    #[serde(default, skip_serializing_if = "is_nothing")]
    wait: Span<Time>,
    #[serde(flatten)]
    blow: Blow,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    necessary: bool,
}

fn is_nothing(span: &Span<Time>) -> bool {
    span.high == 0
}

/// A span that is one value.
pub(crate) fn single(ns: u64) -> Span<Time> {
    Span::new(ns, ns)
}

impl Case {
    /// Whether a text is that of a case and not of a scenario.
    pub fn is_one(text: &str) -> bool {
        text.lines().any(|line| line.trim() == "[world]" || line.starts_with("[world."))
    }

    /// Reads a case from the text of the file `title`.
    ///
    /// # Errors
    /// What is wrong with it and where.
    pub fn parse(title: &str, text: &str) -> Result<Case, ScenarioError> {
        let wrong = |cause: String| ScenarioError::Text { name: title.to_owned(), cause };
        let read: Text =
            toml::from_str(text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))?;
        let head = text.lines().take_while(|line| line.starts_with('#'));
        let about = head.map(|line| line.trim_start_matches('#').trim().to_owned()).collect();
        let scheduler = match &read.scheduler {
            None => Scheduler::Random,
            Some(name) => name.parse().map_err(|_| wrong(format!("no scheduler \"{name}\"")))?,
        };
        let mut ids = 0..;
        let mut clients = Vec::new();
        for client in read.client {
            let mut script = Script {
                patience: match client.patience.high {
                    0 => PATIENCE,
                    given => given,
                },
                slow: client.slow,
                resp3: client.resp3,
                steps: Vec::new(),
            };
            for (closing, line) in client
                .ops
                .iter()
                .map(|line| (false, line))
                .chain(client.closing.iter().map(|line| (true, line)))
            {
                let step = Step::read(line);
                script.steps.push(Step { id: ids.next().unwrap_or(0), closing, ..step });
            }
            clients.push(script);
        }
        let mut case = Case {
            title: title.to_owned(),
            about,
            law: read.law,
            mutant: read.mutant,
            fixed_by: read.fixed_by,
            scheduler,
            history: read.history,
            world: read.world,
            clocks: read.clock,
            clients,
            strikes: Vec::new(),
        };
        for strike in read.strike {
            let after = case.anchor(&strike.after).ok_or_else(|| {
                wrong(format!(
                    "\"{}\" is not \"start\", \"c0 sends 3\", \"c0 hears 3\", \"node writes 3\" \
                     or \"node syncs 3\"",
                    strike.after
                ))
            })?;
            case.strikes.push(Strike {
                after,
                wait: strike.wait.high,
                blow: strike.blow,
                necessary: strike.necessary,
            });
        }
        case.scenario()?;
        Ok(case)
    }

    fn anchor(&self, text: &str) -> Option<Anchor> {
        if text == "start" {
            return Some(Anchor::Start);
        }
        let mut words = text.split(' ');
        let (who, what) = (words.next()?, words.next()?);
        let number: u64 = words.next()?.parse().ok()?;
        if who == crate::node::NODE {
            return match what {
                "writes" => Some(Anchor::Writes(number)),
                "syncs" => Some(Anchor::Syncs(number)),
                _ => None,
            };
        }
        let client: usize = who.strip_prefix('c')?.parse().ok()?;
        let place = usize::try_from(number).ok()?.checked_sub(1)?;
        let id = self.clients.get(client)?.steps.get(place)?.id;
        match what {
            "sends" => Some(Anchor::Sends(id)),
            "hears" => Some(Anchor::Hears(id)),
            _ => None,
        }
    }

    /// An anchor as it is written.
    pub fn show_anchor(&self, anchor: Anchor) -> String {
        let of = |id, what| match self.place_of(id) {
            None => "start".to_owned(),
            Some((client, place)) => format!("c{client} {what} {}", place + 1),
        };
        match anchor {
            Anchor::Start => "start".to_owned(),
            Anchor::Sends(id) => of(id, "sends"),
            Anchor::Hears(id) => of(id, "hears"),
            Anchor::Writes(n) => format!("node writes {n}"),
            Anchor::Syncs(n) => format!("node syncs {n}"),
        }
    }

    /// The text that [`Case::parse`] reads back.
    pub fn write(&self) -> String {
        let mut out = String::new();
        for line in &self.about {
            out += format!("# {line}").trim_end();
            out.push('\n');
        }
        let mut put = |name: &str, value: &str| out += &format!("{name} = {}\n", quoted(value));
        put("law", &self.law);
        self.mutant.iter().for_each(|mutant| put("mutant", mutant));
        self.fixed_by.iter().for_each(|commit| put("fixed-by", commit));
        if self.scheduler != Scheduler::Random {
            put("scheduler", &self.scheduler.to_string());
        }
        let section = |name: &str, table: Table| {
            let mut outer = Table::new();
            outer.insert(name.to_owned(), Value::Table(table));
            format!("\n{}", outer)
        };
        out += &section("history", Table::try_from(&self.history).unwrap_or_default());
        out += &section("world", self.world.clone());
        for clock in &self.clocks {
            out += &format!("\n[[clock]]\n{}", Table::try_from(clock).unwrap_or_default());
        }
        for client in &self.clients {
            out += "\n[[client]]\n";
            out += &format!("patience = \"{}\"\n", amount::<Time>(client.patience));
            for (name, is) in [("slow", client.slow), ("resp3", client.resp3)] {
                if is {
                    out += &format!("{name} = true\n");
                }
            }
            for (name, closing) in [("ops", false), ("closing", true)] {
                let steps = client.steps.iter().filter(|step| step.closing == closing);
                let lines: Vec<String> =
                    steps.map(|step| format!("    {},\n", quoted(&step.show()))).collect();
                if !lines.is_empty() {
                    out += &format!("{name} = [\n{}]\n", lines.concat());
                } else if !closing {
                    out += "ops = []\n";
                }
            }
        }
        for strike in &self.strikes {
            let text = StrikeText {
                after: self.show_anchor(strike.after),
                wait: single(strike.wait),
                blow: strike.blow.clone(),
                necessary: strike.necessary,
            };
            out += &format!("\n[[strike]]\n{}", Table::try_from(&text).unwrap_or_default());
        }
        out
    }
}

/// A string of TOML: to the letter where it can be, for the sake of JSON.
fn quoted(text: &str) -> String {
    if !text.contains('\'') && !text.chars().any(char::is_control) && text.contains('"') {
        return format!("'{text}'");
    }
    Value::String(text.to_owned()).to_string()
}

impl Step {
    /// One line: what is said of it, and what it is.
    pub fn show(&self) -> String {
        let mut said: Vec<String> = Vec::new();
        if self.with {
            said.push("with".to_owned());
        } else if self.after > 0 {
            said.push(format!("after {}", amount::<Time>(self.after)));
        }
        if self.together {
            said.push("together".to_owned());
        }
        if self.keep > 0 {
            said.push(format!("keep {}", self.keep));
        }
        if self.leave {
            said.push("leave".to_owned());
        }
        said.extend(self.walk_away.map(|ns| format!("walk away {}", amount::<Time>(ns))));
        let star = if self.necessary { "* " } else { "" };
        let colon = if said.is_empty() { "" } else { COLON };
        format!("{star}{}{colon}{}", said.join(", "), self.text)
    }

    /// Reads a line. What does not begin with what can be said of an operation is one.
    fn read(line: &str) -> Step {
        let (necessary, line) = match line.strip_prefix("* ") {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let said = line.split_once(COLON).and_then(|(said, text)| {
            let mut step = Step { text: text.to_owned(), ..Step::default() };
            said.split(", ").try_for_each(|word| step.take(word)).map(|()| step)
        });
        let step = said.unwrap_or_else(|| Step { text: line.to_owned(), ..Step::default() });
        Step { necessary, ..step }
    }

    fn take(&mut self, word: &str) -> Option<()> {
        let time = |text: &str| crate::scenario::time(text).ok();
        match word {
            "with" => self.with = true,
            "together" => self.together = true,
            "leave" => self.leave = true,
            _ => {
                if let Some(rest) = word.strip_prefix("after ") {
                    self.after = time(rest)?;
                } else if let Some(rest) = word.strip_prefix("keep ") {
                    self.keep = rest.parse().ok()?;
                } else {
                    self.walk_away = Some(time(word.strip_prefix("walk away ")?)?);
                }
            }
        }
        Some(())
    }
}
