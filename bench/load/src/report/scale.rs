//! Axes: from values to places between 0 and 1, with the values that get a mark.

use super::short;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Linear,
    Log,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Scale {
    kind: Kind,
    least: f64,
    most: f64,
    /// Values with a line and what is written at it.
    pub(crate) marks: Vec<(f64, String)>,
}

impl Scale {
    /// Even steps; from zero if wished.
    pub(crate) fn linear(values: &[f64], from_zero: bool) -> Self {
        let most = values.iter().copied().fold(0.0, f64::max);
        let least = if from_zero { 0.0 } else { values.iter().copied().fold(most, f64::min) };
        let range = if most > least { most - least } else { 1.0 };
        let step = step(range / 6.0);
        let first = (least / step).floor() * step;
        let count = if from_zero { ((most * 1.02 - first) / step).ceil() } else { ((most - first) / step).floor() };
        let numbers = (0..=20).map(f64::from).take_while(|number| *number <= count.max(1.0));
        let marks: Vec<_> = numbers.map(|number| first + step * number).map(|at| (at, short(at))).collect();
        let top = marks.last().map_or(1.0, |mark| mark.0);
        Self { kind: Kind::Linear, least: first, most: if from_zero { top } else { most.max(top) }, marks }
    }

    /// Even ratios, marked at 1, 2 and 5 times the powers of ten, or at the powers alone if there are many.
    pub(crate) fn log(values: &[f64]) -> Self {
        let positive = || values.iter().copied().filter(|value| *value > 0.0);
        let (least, most) = (positive().fold(f64::INFINITY, f64::min), positive().fold(0.0, f64::max));
        if !least.is_finite() {
            return Self { kind: Kind::Log, least: 0.1, most: 10.0, marks: vec![(1.0, "1".to_owned())] };
        }
        let powers = || (-9..=9).map(|power| 10_f64.powi(power));
        let fine: Vec<f64> = powers().flat_map(|power| [power, 2.0 * power, 5.0 * power]).collect();
        let below = fine.iter().copied().rfind(|mark| *mark <= least).unwrap_or(least);
        let above = fine.iter().copied().find(|mark| *mark >= most && *mark > below).unwrap_or(most);
        let within = |mark: &f64| *mark >= below * 0.999 && *mark <= above * 1.001;
        let few = fine.into_iter().filter(within).collect::<Vec<_>>();
        let chosen = if few.len() > 12 { powers().filter(within).collect() } else { few };
        let marks = chosen.into_iter().map(|mark| (mark, short(mark))).collect();
        Self { kind: Kind::Log, least: below, most: above, marks }
    }

    /// `1/(1-quantile)` in even ratios, marked with percentiles.
    pub(crate) fn percentiles(nines: &[f64]) -> Self {
        let most = nines.iter().copied().fold(10.0, f64::max);
        let names =
            [(1.0, "0"), (2.0, "50"), (10.0, "90"), (100.0, "99"), (1e3, "99.9"), (1e4, "99.99"), (1e5, "99.999")];
        let more = [(1e6, "99.9999"), (1e7, "99.99999"), (1e8, "99.999999")];
        let marks = names.into_iter().chain(more).filter(|mark| mark.0 <= most * 1.001);
        let marks = marks.map(|(at, name)| (at, format!("{name}%"))).collect();
        Self { kind: Kind::Log, least: 1.0, most, marks }
    }

    /// From 0 at the least value to 1 at the greatest.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let place = match self.kind {
            Kind::Linear => (value - self.least) / (self.most - self.least),
            Kind::Log => (value.max(self.least) / self.least).ln() / (self.most / self.least).ln(),
        };
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// The least of 1, 2, 5 times a power of ten that is not below `wish`.
fn step(wish: f64) -> f64 {
    let power = 10_f64.powf(wish.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= wish * 0.999).unwrap_or(1.0)
}
