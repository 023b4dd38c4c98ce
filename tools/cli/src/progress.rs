//! A progress bar on stderr, where that is a terminal.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::text::bytes;

/// How often the bar is drawn.
const REDRAW: Duration = Duration::from_millis(100);
const WIDTH: usize = 30;

/// How far something has come, in bytes.
pub(crate) struct Bar {
    label: &'static str,
    total: u64,
    done: u64,
    drawn: Option<Instant>,
    is_terminal: bool,
}

impl Bar {
    /// Nothing is drawn before some time has passed.
    pub(crate) fn new(label: &'static str, total: u64) -> Self {
        Self { label, total, done: 0, drawn: Some(Instant::now()), is_terminal: std::io::stderr().is_terminal() }
    }

    /// So many bytes more are done.
    pub(crate) fn add(&mut self, count: usize) {
        self.done += count as u64;
        if self.is_terminal && self.drawn.is_none_or(|at| at.elapsed() >= REDRAW) {
            self.drawn = Some(Instant::now());
            let mut err = std::io::stderr().lock();
            // Nobody is lost without the bar.
            let _unimportant = write!(err, "\r{}", self.line()).and_then(|()| err.flush());
        }
    }

    /// Takes the bar away, so that other lines can be written.
    pub(crate) fn clear(&mut self) {
        if self.is_terminal {
            let _unimportant = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }

    fn line(&self) -> String {
        let total = self.total.max(1);
        let percent = self.done.min(total).saturating_mul(100) / total;
        let filled = usize::try_from(percent).unwrap_or(100) * WIDTH / 100;
        let label = self.label;
        format!("{label} [{:<WIDTH$}] {percent:3} % of {}", "#".repeat(filled), bytes(self.total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_up() {
        let mut bar = Bar { label: "verifying", total: 4 << 20, done: 0, drawn: None, is_terminal: false };
        assert_eq!(bar.line(), format!("verifying [{}]   0 % of 4.0 MiB", " ".repeat(WIDTH)));
        bar.add(2 << 20);
        assert_eq!(bar.line(), format!("verifying [{}{}]  50 % of 4.0 MiB", "#".repeat(15), " ".repeat(15)));
        bar.add(9 << 20);
        assert_eq!(bar.line(), format!("verifying [{}] 100 % of 4.0 MiB", "#".repeat(WIDTH)));
    }
}
