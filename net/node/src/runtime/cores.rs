//! Which cpus the node runs on.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The `--cores` setting: how many cpus, or which.
///
/// `4` means any four of those that are allowed; a list such as `0,2-3` means exactly these. A list of one cpu is
/// written as a range (`2-2`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CoreChoice {
    /// The first so many cpus that are allowed.
    Count(usize),
    /// These cpus, in this order, each once.
    List(Vec<usize>),
}

/// What is wrong with a `--cores` setting.
#[derive(Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CoreChoiceError {
    /// It can't be read.
    #[error("`{part}` is neither a count of cores nor a list such as `0,2-3`")]
    Syntax {
        /// What was not understood.
        part: String,
    },
    /// No core at all.
    #[error("a node needs at least one core")]
    None,
    /// A range that runs backwards.
    #[error("the range {first}-{last} runs backwards")]
    Backwards {
        /// What it starts with.
        first: usize,
        /// What it ends with.
        last: usize,
    },
    /// A cpu that is named twice.
    #[error("cpu {cpu} is named twice")]
    Twice {
        /// The cpu.
        cpu: usize,
    },
    /// A number beyond what Linux counts.
    #[error("cpu {cpu} is beyond the largest that Linux knows, {}", CPU_MAX)]
    OutOfRange {
        /// The cpu.
        cpu: usize,
    },
    /// A cpu that this process may not use.
    #[error("cpu {cpu} is not available to this process; available: {available}")]
    Unavailable {
        /// The cpu.
        cpu: usize,
        /// Which ones are.
        available: String,
    },
    /// More cpus than there are.
    #[error("{asked} cores asked for, but this process may use only {available}")]
    TooMany {
        /// How many were asked for.
        asked: usize,
        /// How many there are.
        available: usize,
    },
}

const CPU_MAX: usize = 1_023;

impl FromStr for CoreChoice {
    type Err = CoreChoiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if !text.contains([',', '-']) {
            return match number(text)? {
                0 => Err(CoreChoiceError::None),
                count => Ok(Self::Count(count)),
            };
        }
        let mut list = Vec::new();
        for part in text.split(',') {
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(part)?, number(part)?),
            };
            if first > last {
                return Err(CoreChoiceError::Backwards { first, last });
            }
            if last > CPU_MAX {
                return Err(CoreChoiceError::OutOfRange { cpu: last });
            }
            for cpu in first..=last {
                if list.contains(&cpu) {
                    return Err(CoreChoiceError::Twice { cpu });
                }
                list.push(cpu);
            }
        }
        Ok(Self::List(list))
    }
}

fn number(part: &str) -> Result<usize, CoreChoiceError> {
    part.trim().parse().map_err(|_| CoreChoiceError::Syntax { part: part.to_owned() })
}

impl fmt::Display for CoreChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::List(list) if list.len() == 1 => write!(f, "{0}-{0}", list[0]),
            Self::List(list) => f.write_str(&join(list)),
        }
    }
}

impl CoreChoice {
    /// The cpus to run on, out of `available`.
    ///
    /// # Errors
    /// Some of them are not available.
    pub fn resolve(&self, available: &[usize]) -> Result<Vec<usize>, CoreChoiceError> {
        match self {
            Self::Count(count) if *count > available.len() => {
                Err(CoreChoiceError::TooMany { asked: *count, available: available.len() })
            }
            Self::Count(count) => Ok(available[..*count].to_vec()),
            Self::List(list) => match list.iter().find(|cpu| !available.contains(cpu)) {
                Some(&cpu) => Err(CoreChoiceError::Unavailable { cpu, available: join(available) }),
                None => Ok(list.clone()),
            },
        }
    }
}

fn join(list: &[usize]) -> String {
    list.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// The cpus that this process may run on, in rising order. Ask before any thread is pinned.
#[must_use]
pub fn available() -> Vec<usize> {
    let mut cpus: Vec<usize> = core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
    cpus.sort_unstable();
    cpus
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_lists_are_told_apart() {
        assert_eq!("4".parse(), Ok(CoreChoice::Count(4)));
        assert_eq!("0,2-3".parse(), Ok(CoreChoice::List(vec![0, 2, 3])));
        assert_eq!("2-2".parse(), Ok(CoreChoice::List(vec![2])));
        for text in ["4", "0,2,3", "2-2"] {
            assert_eq!(text.parse::<CoreChoice>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |text: &str| text.parse::<CoreChoice>().unwrap_err();
        assert_eq!(refused("0"), CoreChoiceError::None);
        assert_eq!(refused("3-1"), CoreChoiceError::Backwards { first: 3, last: 1 });
        assert_eq!(refused("1,0-1"), CoreChoiceError::Twice { cpu: 1 });
        assert_eq!(refused("0-99999999999"), CoreChoiceError::OutOfRange { cpu: 99_999_999_999 });
        for text in ["", "x", "1,,2", "-", "1-", "-1", "all"] {
            assert!(matches!(refused(text), CoreChoiceError::Syntax { .. }), "{text}");
        }
    }

    #[test]
    fn only_available_cpus_are_used() {
        let available = [1, 3, 5];
        assert_eq!(CoreChoice::Count(2).resolve(&available), Ok(vec![1, 3]));
        assert_eq!(CoreChoice::Count(4).resolve(&available), Err(CoreChoiceError::TooMany { asked: 4, available: 3 }));
        assert_eq!(CoreChoice::List(vec![5, 1]).resolve(&available), Ok(vec![5, 1]));
        assert!(matches!(
            CoreChoice::List(vec![2]).resolve(&available),
            Err(CoreChoiceError::Unavailable { cpu: 2, .. })
        ));
    }
}
