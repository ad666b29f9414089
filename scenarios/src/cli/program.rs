//! Which program a name means.

use std::{path::Path, sync::Arc};

use orloj_sim::Scheduler;

use super::{args::RunArgs, machine};
use crate::{Case, Run, Scenario, Setup, leaks, mutants, scenario};

/// Something of which seeds can be run.
#[derive(Clone, Debug)]
pub(super) enum Program {
    /// A node and its clients.
    Scenario(Box<Scenario>),
    /// What once failed.
    Case(Arc<Case>, Box<Scenario>),
    /// The planted leaks.
    Leaks,
}

impl Program {
    /// The program that the flags name.
    pub(super) fn find(args: &RunArgs) -> Result<Program, String> {
        Program::named(args.scenario.as_deref().unwrap_or("default"))
    }

    pub(super) fn named(name: &str) -> Result<Program, String> {
        if name == leaks::NAME {
            return Ok(Program::Leaks);
        }
        let scenario = match name.strip_suffix(".toml") {
            Some(stem) => {
                let title = Path::new(stem).file_name().unwrap_or_default().to_string_lossy();
                let text = machine::read(Path::new(name))?;
                if Case::is_one(&text) {
                    let case = Case::parse(&title, &text).map_err(|error| error.to_string())?;
                    return Program::case(case);
                }
                Scenario::parse(&title, &text)
            }
            None => scenario::find(name),
        };
        scenario.map(|s| Program::Scenario(Box::new(s))).map_err(|error| error.to_string())
    }

    /// A case as a program.
    pub(super) fn case(case: Case) -> Result<Program, String> {
        let scenario = case.scenario().map_err(|error| error.to_string())?;
        Ok(Program::Case(Arc::new(case), Box::new(scenario)))
    }

    /// Its name in reports.
    pub(super) fn title(&self) -> &str {
        match self {
            Program::Scenario(scenario) => &scenario.title,
            Program::Case(case, _) => &case.title,
            Program::Leaks => leaks::NAME,
        }
    }

    /// Runs one seed on this thread, which is to be a fresh one.
    pub(super) fn run_here(&self, setup: Setup) -> Run {
        match self {
            Program::Scenario(scenario) => crate::run(scenario, setup),
            Program::Case(case, scenario) => {
                let scheduler = match setup.scheduler == Scheduler::default() {
                    true => case.scheduler,
                    false => setup.scheduler,
                };
                crate::run(scenario, Setup { scheduler, case: Some(case.clone()), ..setup })
            }
            Program::Leaks => leaks::run(setup),
        }
    }

    /// Runs one seed on a thread of its own.
    pub(super) fn run(&self, setup: Setup) -> Run {
        let seed = setup.seed;
        let run = machine::on_fresh_thread(|| self.run_here(setup));
        run.unwrap_or_else(|why| Run::did_not_start(seed, why))
    }
}

/// The planted defect of this name.
pub(super) fn mutant(name: Option<&str>) -> Result<Option<&'static str>, String> {
    let Some(name) = name else { return Ok(None) };
    let known = mutants();
    match known.iter().find(|known| **known == name) {
        Some(found) => Ok(Some(found)),
        None => Err(format!("no defect is called \"{name}\"; there are {}", known.join(", "))),
    }
}
