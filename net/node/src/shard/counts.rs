//! What `WAIT` and `WAITAOF` answer: in how many logs everything is flushed that has been appended.

use windrow_proto::resp::Encoder;

/// In how many logs everything is flushed that has been appended to one partition, or to each of several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Counted {
    /// Whether it is flushed here.
    pub(super) local: bool,
    /// In how many replicas it is.
    pub(super) replicas: usize,
}

impl Counted {
    /// More than any partition has: what is known before the first one has answered.
    pub(super) const MOST: Self = Self { local: true, replicas: usize::MAX };

    /// What holds where there is no partition.
    pub(super) const NONE: Self = Self { local: true, replicas: 0 };

    /// What holds for the partitions of both.
    pub(super) fn and(self, other: Self) -> Self {
        Self { local: self.local && other.local, replicas: self.replicas.min(other.replicas) }
    }

    /// Writes the reply: `asks_local` to `WAITAOF`, otherwise to `WAIT`.
    pub(super) fn write(self, asks_local: bool, encoder: &mut Encoder<'_>) {
        if asks_local {
            encoder.array(2);
            encoder.integer(self.local.into());
        }
        encoder.count(self.replicas);
    }
}

/// What a transaction needs to know before `WAIT` and `WAITAOF` in it can be answered without waiting.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Counts {
    /// Nothing: it has neither of them.
    #[default]
    Unwanted,
    /// No partition has been asked yet.
    Wanted,
    /// So many partitions have not answered yet, the others have so.
    Asked { question: u64, missing: usize, counted: Counted },
    /// All have answered.
    Known(Counted),
}

impl Counts {
    /// One partition has answered `question`. Returns whether it was the last one. The answer to a question of an earlier
    /// transaction, which was refused before it came, says nothing about this one.
    pub(super) fn add(&mut self, question: u64, answer: Counted) -> bool {
        match *self {
            Self::Asked { question: asked, missing, counted } if asked == question => {
                let (missing, counted) = (missing - 1, counted.and(answer));
                *self = if missing == 0 { Self::Known(counted) } else { Self::Asked { question, missing, counted } };
                missing == 0
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use windrow_proto::resp::Protocol;

    use super::*;

    fn reply(counted: Counted, asks_local: bool, protocol: Protocol) -> String {
        let mut reply = Vec::new();
        counted.write(asks_local, &mut Encoder::new(&mut reply, protocol));
        String::from_utf8(reply).unwrap()
    }

    #[test]
    fn the_partition_with_the_fewest_decides() {
        let mut counts = Counts::Asked { question: 7, missing: 3, counted: Counted::MOST };
        assert!(!counts.add(7, Counted { local: true, replicas: 2 }));
        assert!(!counts.add(7, Counted { local: false, replicas: 3 }));
        assert!(counts.add(7, Counted { local: true, replicas: 1 }));
        assert_eq!(counts, Counts::Known(Counted { local: false, replicas: 1 }));
    }

    /// A transaction may be refused while its question is under way, and its client begin another one.
    #[test]
    fn an_answer_that_comes_late_is_none_to_the_next_transaction() {
        let asked = Counts::Asked { question: 8, missing: 1, counted: Counted::MOST };
        for before in [Counts::Unwanted, Counts::Wanted, asked, Counts::Known(Counted::NONE)] {
            let mut counts = before;
            assert!(!counts.add(7, Counted { local: true, replicas: 2 }));
            assert_eq!(counts, before);
        }
    }

    #[test]
    fn replies_are_those_of_redis() {
        let counted = Counted { local: true, replicas: 2 };
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            assert_eq!(reply(counted, false, protocol), ":2\r\n");
            assert_eq!(reply(counted, true, protocol), "*2\r\n:1\r\n:2\r\n");
        }
    }
}
