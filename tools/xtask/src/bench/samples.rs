//! Everything that was measured, as flat samples: written to a file, so that the document can be made again from it.

use std::fs;
use std::path::Path;

/// One figure of one round.
#[derive(Clone, PartialEq, Debug)]
struct Sample {
    /// What was done, such as `set-c50-p16` or `put_durable`.
    work: String,
    /// Who did it.
    who: String,
    /// What was measured of it, such as `rps`.
    metric: String,
    round: usize,
    value: f64,
}

/// Median, lowest and highest.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
        Some(Self { median, low, high })
    }
}

#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Samples {
    samples: Vec<Sample>,
    /// Names and what is said of them: versions, commands, what could not be measured and why.
    texts: Vec<(String, String)>,
}

impl Samples {
    pub(crate) fn add(&mut self, work: &str, who: &str, metric: &str, round: usize, value: f64) {
        let (work, who, metric) = (work.to_owned(), who.to_owned(), metric.to_owned());
        self.samples.push(Sample { work, who, metric, round, value });
    }

    pub(crate) fn say(&mut self, name: &str, text: &str) {
        self.texts.push((name.to_owned(), text.replace(['\n', '\t'], " ")));
    }

    pub(crate) fn said(&self, name: &str) -> Option<&str> {
        self.texts.iter().rev().find(|(other, _)| other == name).map(|(_, text)| text.as_str())
    }

    /// All that was said under a name, in order.
    pub(crate) fn all_said<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.texts.iter().filter(move |(other, _)| other == name).map(|(_, text)| text.as_str())
    }

    fn rounds<'a>(&'a self, work: &'a str, who: &'a str, metric: &'a str) -> impl Iterator<Item = (usize, f64)> {
        let same = move |sample: &&Sample| sample.work == work && sample.who == who && sample.metric == metric;
        self.samples.iter().filter(same).map(|sample| (sample.round, sample.value))
    }

    pub(crate) fn spread(&self, work: &str, who: &str, metric: &str) -> Option<Spread> {
        Spread::of(self.rounds(work, who, metric).map(|(_, value)| value).collect())
    }

    pub(crate) fn median(&self, work: &str, who: &str, metric: &str) -> Option<f64> {
        self.spread(work, who, metric).map(|spread| spread.median)
    }

    /// The ratio of `who` to `other`, taken round by round.
    pub(crate) fn ratio(&self, work: &str, who: &str, other: &str, metric: &str) -> Option<Spread> {
        let ratios = self.rounds(work, who, metric).filter_map(|(round, value)| {
            let (_, base) = self.rounds(work, other, metric).find(|&(number, _)| number == round)?;
            Some(value / base)
        });
        Spread::of(ratios.filter(|ratio| ratio.is_finite()).collect())
    }

    /// The number of rounds of a work.
    pub(crate) fn round_count(&self, work: &str) -> usize {
        self.samples.iter().filter(|sample| sample.work == work).map(|sample| sample.round + 1).max().unwrap_or(0)
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), String> {
        let samples = self.samples.iter().map(|Sample { work, who, metric, round, value }| {
            format!("sample\t{work}\t{who}\t{metric}\t{round}\t{value}\n")
        });
        let texts = self.texts.iter().map(|(name, text)| format!("text\t{name}\t{text}\n"));
        let lines: String = samples.chain(texts).collect();
        fs::write(path, lines).map_err(|error| format!("cannot write {}: {error}", path.display()))
    }

    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let mut samples = Self::default();
        for line in text.lines() {
            match line.split('\t').collect::<Vec<_>>().as_slice() {
                ["sample", work, who, metric, round, value] => match (round.parse(), value.parse()) {
                    (Ok(round), Ok(value)) => samples.add(work, who, metric, round, value),
                    _ => return Err(format!("{}: not a sample: {line}", path.display())),
                },
                ["text", name, text] => samples.say(name, text),
                _ => return Err(format!("{}: not a line of results: {line}", path.display())),
            }
        }
        Ok(samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Samples {
        let mut samples = Samples::default();
        for (round, (own, other)) in [(10.0, 20.0), (30.0, 20.0), (20.0, 10.0)].into_iter().enumerate() {
            samples.add("set", "windrow", "rps", round, own);
            samples.add("set", "redis", "rps", round, other);
        }
        samples
    }

    #[test]
    fn medians_and_ratios_are_taken_round_by_round() {
        let samples = samples();
        assert_eq!(samples.spread("set", "windrow", "rps"), Some(Spread { median: 20.0, low: 10.0, high: 30.0 }));
        let ratio = samples.ratio("set", "windrow", "redis", "rps").unwrap();
        assert_eq!(ratio, Spread { median: 1.5, low: 0.5, high: 2.0 });
        assert_eq!(samples.ratio("set", "windrow", "valkey", "rps"), None);
        assert_eq!((samples.round_count("set"), samples.round_count("get")), (3, 0));
        assert_eq!(Spread::of(vec![4.0, 1.0]).unwrap().median, 2.5);
    }

    #[test]
    fn results_come_back_from_their_file() {
        let mut samples = samples();
        samples.say("machine", "two\tcores\nhere");
        let path = std::env::temp_dir().join(format!("windrow-samples-{}", std::process::id()));
        samples.write(&path).unwrap();
        let read = Samples::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(read, samples);
        assert_eq!(read.said("machine"), Some("two cores here"));
    }
}
