//! What is said about connections that fail: each kind of complaint once in a while, however often it is met.

use std::time::Instant;

use super::limits::COMPLAIN_EVERY;

/// Whom a complaint is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum About {
    /// A node that is configured, by its place in the list.
    Link(usize),
    /// Somebody who connected and has proved nothing.
    Stranger,
}

#[derive(Debug)]
struct Complaint {
    about: About,
    kind: &'static str,
    said: Instant,
    suppressed: u64,
}

/// What was said not long ago. Bounded by the number of nodes and of kinds.
#[derive(Debug, Default)]
pub(super) struct Complaints(Vec<Complaint>);

impl Complaints {
    /// Whether to say this now; if so, how often it was not said since the last time.
    pub(super) fn may_say(&mut self, about: About, kind: &'static str, now: Instant) -> Option<u64> {
        let Some(known) = self.0.iter_mut().find(|known| known.about == about && known.kind == kind) else {
            self.0.push(Complaint { about, kind, said: now, suppressed: 0 });
            return Some(0);
        };
        if now.saturating_duration_since(known.said) < COMPLAIN_EVERY {
            known.suppressed += 1;
            return None;
        }
        known.said = now;
        Some(std::mem::take(&mut known.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_said_once_in_a_while() {
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        let link = About::Link(0);
        assert_eq!(complaints.may_say(link, "a", start), Some(0));
        assert_eq!(complaints.may_say(link, "a", start), None);
        assert_eq!(complaints.may_say(link, "b", start), Some(0));
        assert_eq!(complaints.may_say(About::Stranger, "a", start), Some(0));
        assert_eq!(complaints.may_say(link, "a", start + COMPLAIN_EVERY), Some(1));
    }
}
