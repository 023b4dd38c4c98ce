//! What passed, what failed and what was skipped, over all steps of one command.

use std::process::ExitCode;
use std::time::Instant;

/// Numbers of tests, as cargo's own test harness counts them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

/// The outcome so far. A step that fails is named at the end, so that nobody has to scroll for it.
pub(crate) struct Report {
    tally: Tally,
    failures: Vec<String>,
    notes: Vec<String>,
    started: Instant,
}

impl Report {
    /// Runs `steps`, prints what failed and what was left out, and says by the exit status whether all went well.
    ///
    /// The last line has the form `N passed, N failed`, with `, N skipped` after it where tests were skipped.
    pub(crate) fn over(steps: impl FnOnce(&mut Self)) -> ExitCode {
        let mut report =
            Self { tally: Tally::default(), failures: Vec::new(), notes: Vec::new(), started: Instant::now() };
        steps(&mut report);
        report.finish()
    }

    /// Runs one step that finds problems: none means that it passed.
    pub(crate) fn step(&mut self, name: &str, step: impl FnOnce() -> Vec<String>) {
        println!("==> {name}");
        let started = Instant::now();
        let problems = step();
        for problem in &problems {
            println!("{problem}");
        }
        let secs = started.elapsed().as_secs_f64();
        if problems.is_empty() {
            println!("    ok ({secs:.1} s)");
            self.tally.passed += 1;
        } else {
            println!("    FAILED ({secs:.1} s)");
            self.failed(name);
        }
    }

    /// Counts what a test run counted.
    pub(crate) fn add(&mut self, tally: Tally) {
        self.tally.passed += tally.passed;
        self.tally.failed += tally.failed;
        self.tally.skipped += tally.skipped;
    }

    /// Counts one failure that no test harness counted.
    pub(crate) fn failed(&mut self, name: &str) {
        self.tally.failed += 1;
        self.failures.push(name.to_owned());
    }

    /// Names a step whose failed tests are counted already.
    pub(crate) fn name_failure(&mut self, name: &str) {
        self.failures.push(name.to_owned());
    }

    /// Says, now and again at the end, what was not checked and why.
    pub(crate) fn note(&mut self, note: String) {
        println!("    note: {note}");
        self.notes.push(note);
    }

    fn finish(self) -> ExitCode {
        println!();
        for note in &self.notes {
            println!("note: {note}");
        }
        for failure in &self.failures {
            println!("failed: {failure}");
        }
        println!("{:.0} s", self.started.elapsed().as_secs_f64());
        println!("{}", self.tally);
        let clean = self.failures.is_empty() && self.tally.failed == 0;
        if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 { write!(f, ", {} skipped", self.skipped) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_skipped_tests_only_where_there_are_any() {
        assert_eq!(Tally { passed: 3, failed: 1, skipped: 0 }.to_string(), "3 passed, 1 failed");
        assert_eq!(Tally { passed: 3, failed: 0, skipped: 2 }.to_string(), "3 passed, 0 failed, 2 skipped");
    }
}
