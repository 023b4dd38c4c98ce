//! What a run did, counted by name.

use std::collections::BTreeMap;
use std::fmt;

/// Counters by name.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    /// Adds to a counter.
    pub fn add(&mut self, name: &'static str, count: u64) {
        *self.0.entry(name).or_default() += count;
    }

    /// Counts what a server said of its recovery.
    pub fn add_recovery(&mut self, said: &[String]) {
        for line in said {
            if line.contains("had a torn tail") {
                self.add("torn tails cut", 1);
                self.add("torn tails with whole records behind a hole", u64::from(!line.contains("whole_records=0")));
            }
            if line.contains("what a failed flush had not written: dropped") {
                self.add("page caches not believed", 1);
            }
        }
    }

    /// A counter's value.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// As a JSON object.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        self.0.iter().map(|(name, count)| ((*name).to_owned(), serde_json::Value::from(*count))).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(|(name, count)| format!("{count} {name}")).collect();
        f.write_str(&parts.join(", "))
    }
}
