//! `windrow doctor`: whether this machine can run a node with these settings, each finding with its remedy.

mod checks;

use serde_json::{Value, json};
use windrow_node::settings::Configured;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;

/// How serious a finding is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Level {
    /// As it should be.
    Good,
    /// A node runs, but not as well or as safely as it could.
    Warning,
    /// A node does not start.
    Fatal,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Warning => "warning",
            Self::Fatal => "FATAL",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug)]
struct Finding {
    what: &'static str,
    level: Level,
    found: String,
    remedy: Option<String>,
}

impl Finding {
    fn good(what: &'static str, found: impl ToString) -> Self {
        Self { what, level: Level::Good, found: found.to_string(), remedy: None }
    }

    fn warning(what: &'static str, found: impl ToString, remedy: impl ToString) -> Self {
        Self { what, level: Level::Warning, found: found.to_string(), remedy: Some(remedy.to_string()) }
    }

    fn fatal(what: &'static str, found: impl ToString, remedy: impl ToString) -> Self {
        Self { what, level: Level::Fatal, found: found.to_string(), remedy: Some(remedy.to_string()) }
    }

    fn line(&self) -> String {
        let mut line = format!("{:<8} {:<16} {}\n", self.level.name(), self.what, self.found);
        if let Some(remedy) = &self.remedy {
            line.push_str(&format!("{:<8} {:<16} -> {remedy}\n", "", ""));
        }
        line
    }

    fn json(&self) -> Value {
        json!({
            "what": self.what,
            "level": self.level.name().to_lowercase(),
            "found": self.found,
            "remedy": self.remedy,
        })
    }
}

/// Looks at everything and says what was found.
pub(crate) fn run(configured: &Configured, as_json: bool) -> Result<Exit, Failure> {
    let findings = checks::all(configured.settings());
    let fatal = findings.iter().any(|finding| finding.level == Level::Fatal);
    if as_json {
        let findings: Vec<Value> = findings.iter().map(Finding::json).collect();
        output::print(&format!("{:#}\n", json!({ "ok": !fatal, "findings": findings })))?;
    } else {
        let lines: String = findings.iter().map(Finding::line).collect();
        let summary = if fatal { "a node cannot run here like this\n" } else { "a node can run here\n" };
        output::print(&(lines + summary))?;
    }
    Ok(if fatal { Exit::Found } else { Exit::Ok })
}
