//! Steps that run behind others: compilers, while tests wait for disks, kills and the timeouts of nodes.

use std::io;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::report::Report;
use crate::run::{finish, root, show, spawn};

/// The lowest priority that still gets on: whatever the tests want to do comes first.
const NICE: &str = "15";

/// Steps, one after the other. What they say is shown when they are waited for, so that it stays in one piece.
pub(crate) struct Beside {
    steps: JoinHandle<Vec<Done>>,
}

struct Done {
    name: &'static str,
    shown: String,
    said: String,
    secs: f64,
    problems: Vec<String>,
}

impl Beside {
    /// Starts the first of them.
    pub(crate) fn start(steps: Vec<(&'static str, Command)>) -> Self {
        Self { steps: thread::spawn(|| steps.into_iter().map(|(name, command)| run(name, &command)).collect()) }
    }

    /// Waits for them, and reports each.
    pub(crate) fn finish(self, report: &mut Report) {
        let Ok(steps) = self.steps.join() else {
            report.failed("steps beside the tests: their thread panicked");
            return;
        };
        for step in steps {
            report.step(step.name, || {
                println!("    $ {}\n{}", step.shown, step.said.trim_end());
                println!("    took {:.1} s beside the tests", step.secs);
                step.problems
            });
        }
    }
}

/// Runs one, without its stdout: what cargo has to say about a build goes to stderr.
fn run(name: &'static str, command: &Command) -> Done {
    let started = Instant::now();
    let shown = show(command);
    let mut niced = Command::new("nice");
    niced.args(["-n", NICE]).arg(command.get_program()).args(command.get_args());
    niced.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    niced.current_dir(root()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let (said, problems) = match spawn(&mut niced, &shown) {
        Ok(mut child) => {
            let stderr = child.stderr.take();
            let reader = thread::spawn(|| stderr.and_then(|text| io::read_to_string(text).ok()).unwrap_or_default());
            let problems = finish(child, &shown);
            (reader.join().unwrap_or_default(), problems)
        }
        Err(problem) => (String::new(), vec![problem]),
    };
    Done { name, shown, said, secs: started.elapsed().as_secs_f64(), problems }
}
