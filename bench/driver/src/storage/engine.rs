//! The program of one engine while it runs: it is given names of rows and answers with figures.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};

/// A running program, with a directory of its own; dropping it kills the one and removes the other.
pub(super) struct Engine {
    name: &'static str,
    child: Child,
    rows: ChildStdin,
    figures: BufReader<ChildStdout>,
    dir: PathBuf,
}

impl Engine {
    /// Starts `program` on an empty directory.
    ///
    /// # Errors
    ///
    /// The program does not start, and what the file system refuses.
    pub(super) fn start(
        name: &'static str,
        program: &Path,
        dir: &Path,
        quick: bool,
    ) -> Result<Engine> {
        let dir = dir.join(name);
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        std::fs::create_dir_all(&dir)
            .with_context(|| format!("cannot create {}", dir.display()))?;
        let (child, rows, figures) = spawn(program, &dir, quick)?;
        Ok(Engine { name, child, rows, figures, dir })
    }

    /// Kills the process as it is and starts `program` on what it leaves.
    ///
    /// # Errors
    ///
    /// The program does not start.
    pub(super) fn restart(&mut self, program: &Path, quick: bool) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        (self.child, self.rows, self.figures) = spawn(program, &self.dir, quick)?;
        Ok(())
    }

    /// The process it runs in.
    pub(super) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Runs one row and returns its figure, or `None` when the engine has nothing of the kind.
    ///
    /// # Errors
    ///
    /// The program fails, and says why on standard error, or answers something else.
    pub(super) fn run(&mut self, row: &str) -> Result<Option<f64>> {
        // A program that has ended shows in the answer it does not give.
        let _ = writeln!(self.rows, "{row}");
        let mut line = String::new();
        self.figures.read_line(&mut line)?;
        let figure = line.strip_prefix(row).map(str::trim);
        match figure {
            Some("-") => Ok(None),
            Some(figure) => {
                let number = figure.parse();
                Ok(Some(number.with_context(|| format!("{figure} is not a figure"))?))
            }
            None => bail!("{} answers row {row} with {line:?}", self.name),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // All three may fail only because it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn spawn(
    program: &Path,
    dir: &Path,
    quick: bool,
) -> Result<(Child, ChildStdin, BufReader<ChildStdout>)> {
    let mut command = Command::new(program);
    command.arg("--dir").arg(dir).stdin(Stdio::piped()).stdout(Stdio::piped());
    if quick {
        command.arg("--quick");
    }
    let mut child =
        command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    let rows = child.stdin.take().expect("it was asked for");
    let figures = BufReader::new(child.stdout.take().expect("it was asked for"));
    Ok((child, rows, figures))
}
