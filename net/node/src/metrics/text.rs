//! Prometheus' text exposition format 0.0.4.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::Write as _;

use super::histogram::Distribution;

/// Upper bounds of the buckets of latencies, in nanoseconds.
const LATENCY_BOUNDS_NS: [u64; 21] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    10_000_000_000,
];

/// What a family's samples are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The page as it grows. Families must be begun before their samples are added.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    family: &'static str,
}

impl Page {
    /// Begins the family `name`, which has not been begun before.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.family = name;
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Adds a sample of the family.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.line("", labels, None, value);
    }

    /// Adds a whole number as a sample of the family.
    pub(super) fn count(&mut self, labels: &[(&str, &str)], value: u64) {
        self.name_and_labels("", labels, None);
        let _ = writeln!(self.text, " {value}");
    }

    /// Begins a family with one sample without labels.
    pub(super) fn single(&mut self, name: &'static str, kind: Kind, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }

    /// Adds a latency histogram; its values are nanoseconds, what is written are seconds.
    pub(super) fn latency(&mut self, labels: &[(&str, &str)], values: &Distribution) {
        self.histogram(labels, values, &LATENCY_BOUNDS_NS, 1e9);
    }

    /// Adds a histogram with a bucket for every fourth power of two from `first` on, `count` of them.
    pub(super) fn powers(&mut self, labels: &[(&str, &str)], values: &Distribution, first: u64, count: u32) {
        let bounds: Vec<u64> = (0..count).map(|power| first.saturating_mul(1 << (2 * power).min(62))).collect();
        self.histogram(labels, values, &bounds, 1.0);
    }

    #[expect(clippy::cast_precision_loss, reason = "Prometheus' numbers are floating-point")]
    fn histogram(&mut self, labels: &[(&str, &str)], values: &Distribution, bounds: &[u64], unit: f64) {
        let mut recorded = values.histogram.iter_recorded().peekable();
        let mut below = 0;
        for &bound in bounds {
            while let Some(bucket) =
                recorded.next_if(|bucket| values.histogram.lowest_equivalent(bucket.value_iterated_to()) <= bound)
            {
                below += bucket.count_since_last_iteration();
            }
            let label = (bound as f64 / unit).to_string();
            self.line("_bucket", labels, Some(&label), below as f64);
        }
        let count = values.histogram.len() as f64;
        self.line("_bucket", labels, Some("+Inf"), count);
        self.line("_sum", labels, None, values.sum as f64 / unit);
        self.line("_count", labels, None, count);
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], le: Option<&str>, value: f64) {
        self.name_and_labels(suffix, labels, le);
        let _ = writeln!(self.text, " {value}");
    }

    fn name_and_labels(&mut self, suffix: &str, labels: &[(&str, &str)], le: Option<&str>) {
        self.text.push_str(self.family);
        self.text.push_str(suffix);
        let labels = labels.iter().copied().chain(le.map(|bound| ("le", bound)));
        let mut separator = '{';
        for (name, value) in labels {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{separator}{name}=\"{value}\"");
            separator = ',';
        }
        if separator == ',' {
            self.text.push('}');
        }
    }

    /// The finished page.
    pub(super) fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::super::histogram::Scale;
    use super::*;

    #[test]
    fn samples_have_their_labels_escaped() {
        let mut page = Page::default();
        page.single("up", Kind::Gauge, "Whether\nit \\ runs.", 1.5);
        page.family("names", Kind::Counter, "Names.");
        page.count(&[("who", "a\"b\\c\nd"), ("x", "")], u64::MAX);
        let expected = "# HELP up Whether\\nit \\\\ runs.\n# TYPE up gauge\nup 1.5\n\
                        # HELP names Names.\n# TYPE names counter\n\
                        names{who=\"a\\\"b\\\\c\\nd\",x=\"\"} 18446744073709551615\n";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn histograms_are_cumulative_and_end_in_everything() {
        let mut values = Distribution::empty(Scale::Latency);
        for ns in [600, 3_000, 3_100, 400_000, 30_000_000_000] {
            values.histogram.record(ns).unwrap();
            values.sum += ns;
        }
        let mut page = Page::default();
        page.family("t_seconds", Kind::Histogram, "T.");
        page.latency(&[("stage", "x")], &values);
        let text = page.finish();
        for line in [
            "t_seconds_bucket{stage=\"x\",le=\"0.000001\"} 1",
            "t_seconds_bucket{stage=\"x\",le=\"0.0000025\"} 1",
            "t_seconds_bucket{stage=\"x\",le=\"0.000005\"} 3",
            "t_seconds_bucket{stage=\"x\",le=\"0.0005\"} 4",
            "t_seconds_bucket{stage=\"x\",le=\"10\"} 4",
            "t_seconds_bucket{stage=\"x\",le=\"+Inf\"} 5",
            "t_seconds_sum{stage=\"x\"} 30.0004067",
            "t_seconds_count{stage=\"x\"} 5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
