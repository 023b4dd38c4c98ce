//! Which processor cores to run on.

use std::collections::BTreeSet;
use std::fmt;

/// Which processor cores to run on: all, a count, or a list such as `0,2-3`. A single number is a count; the list of
/// one core is written `3-3`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cores {
    /// Every core that the process may use.
    All,
    /// So many of them.
    Count(usize),
    /// These, by their number, rising.
    List(Vec<usize>),
}

/// The most cores that a list may name.
const CORES_MAX: usize = 1_024;

impl Cores {
    /// What is allowed.
    pub const ALLOWED: &'static str = "`all`, a count from 1, or a list such as `0,2-3` (one core: `3-3`)";

    /// Reads what [`Display`](fmt::Display) writes, or `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "all" {
            return Some(Self::All);
        }
        if let Ok(count) = text.parse::<usize>() {
            return (1..=CORES_MAX).contains(&count).then_some(Self::Count(count));
        }
        let mut cores = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            if first > last || last - first >= CORES_MAX || !(first..=last).all(|core| cores.insert(core)) {
                return None;
            }
        }
        (cores.len() <= CORES_MAX).then(|| Self::List(cores.into_iter().collect()))
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cores = match self {
            Self::All => return f.write_str("all"),
            Self::Count(count) => return count.fmt(f),
            Self::List(cores) => cores,
        };
        let mut separator = "";
        for run in cores.chunk_by(|before, next| before + 1 == *next) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            let alone = cores.len() == 1;
            if first == last && !alone {
                write!(f, "{separator}{first}")?;
            } else {
                write!(f, "{separator}{first}-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}
