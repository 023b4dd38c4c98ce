//! Commands that need several partitions and need not be atomic: taken apart, and their replies put together.
//!
//! Each part is a command of its own, executed by [`execute`](super::execute) on its partition; what comes back are
//! ordinary replies, of the few kinds that these commands have.

use alloc::{vec, vec::Vec};
use core::ops::Range;

use windrow_core::types::{PartitionId, PartitionMap, Slot};

use super::DataError;
use crate::{
    command::{Command, Id},
    resp::{Args, ArgsBuf, Encoder, Protocol, parse_i64},
};

/// The part of a command that concerns one partition.
#[derive(Clone, Debug)]
pub struct Part {
    /// The partition.
    pub partition: PartitionId,
    /// The command with the keys of this partition only.
    pub args: ArgsBuf,
    /// Where its keys stood among all keys of the whole command.
    pub positions: Vec<usize>,
}

/// Takes a command whose route is [`Route::Split`](super::Route::Split) apart, by the partitions of its keys.
#[must_use]
pub fn split(args: Args<'_>, map: PartitionMap) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for (position, key) in args.from(1).enumerate() {
        let partition = map.partition_of(Slot::of(key));
        let index = parts.iter().position(|part| part.partition == partition).unwrap_or_else(|| {
            let mut part = Part { partition, args: ArgsBuf::new(), positions: Vec::new() };
            part.args.push(args.at(0));
            parts.push(part);
            parts.len() - 1
        });
        parts[index].args.push(key);
        parts[index].positions.push(position);
    }
    parts
}

/// How the replies of the parts make the reply of the whole.
#[derive(Debug)]
enum Kind {
    /// The sum of integers.
    Sum(i64),
    /// Every value at its key's place.
    Places(Vec<Range<usize>>),
    /// All elements, one after the other.
    Concatenation(usize),
    /// OK, if every part says so.
    Ok,
    /// One of the replies that are there.
    Any { draw: u64, seen: u64 },
}

/// Puts the replies of parts together to the reply of the whole command.
///
/// A part that answers with an error makes that the whole reply, though the other parts have been done: none of these
/// commands promises all or nothing.
#[derive(Debug)]
pub struct Gather {
    kind: Kind,
    /// Bytes of the parts' replies that are still needed.
    bytes: Vec<u8>,
    error: Option<Vec<u8>>,
    protocol: Protocol,
    len_max: usize,
}

impl Gather {
    /// Ready for the replies to the parts of `command`, called with `args`. `draw` is a random number; where the parts are
    /// longer than `len_max` bytes together, they are not put together, and the reply is an error that says so.
    ///
    /// `None` where the command is none that is split or runs everywhere.
    #[must_use]
    pub fn new(command: &Command, args: Args<'_>, protocol: Protocol, draw: u64, len_max: usize) -> Option<Self> {
        let kind = match command.id {
            Id::Del | Id::Unlink | Id::Exists | Id::Touch | Id::Dbsize => Kind::Sum(0),
            Id::Mget => Kind::Places(vec![0..0; args.len() - 1]),
            Id::Keys => Kind::Concatenation(0),
            Id::Flushall | Id::Flushdb => Kind::Ok,
            Id::Randomkey => Kind::Any { draw, seen: 0 },
            _ => return None,
        };
        Some(Self { kind, bytes: Vec::new(), error: None, protocol, len_max })
    }

    /// Takes the reply to one part. `positions` are those of the part; none for a command that runs everywhere.
    ///
    /// # Panics
    /// If the reply is not one that [`execute`](super::execute) writes for such a part: a bug, not a client's doing.
    pub fn add(&mut self, positions: &[usize], reply: &[u8]) {
        if reply.first() == Some(&b'-') {
            self.error.get_or_insert_with(|| reply.to_vec());
            return;
        }
        if self.error.is_some() {
            return;
        }
        // Of the replies that there are, one takes the place of another.
        let kept_len = if matches!(self.kind, Kind::Any { .. }) { 0 } else { self.bytes.len() };
        if kept_len + reply.len() > self.len_max {
            let mut error = Vec::new();
            Encoder::new(&mut error, self.protocol)
                .error_fmt(format_args!("{}", DataError::ReplyLength { max: self.len_max }));
            self.error = Some(error);
            self.bytes = Vec::new();
            return;
        }
        match &mut self.kind {
            Kind::Sum(sum) => *sum += number_line(reply, 0).0,
            Kind::Ok => assert_eq!(reply, b"+OK\r\n", "a flush says OK"),
            Kind::Concatenation(count) => {
                let (part, start) = number_line(reply, 0);
                *count += usize::try_from(part).expect("an array has no negative length");
                self.bytes.extend_from_slice(&reply[start..]);
            }
            Kind::Places(places) => {
                let (_, mut at) = number_line(reply, 0);
                for &position in positions {
                    let end = bulk_end(reply, at);
                    places[position] = self.bytes.len()..self.bytes.len() + (end - at);
                    self.bytes.extend_from_slice(&reply[at..end]);
                    at = end;
                }
            }
            Kind::Any { draw, seen } => {
                if reply.starts_with(b"$") && !reply.starts_with(b"$-") {
                    *seen += 1;
                    // Each of those seen so far stays with the same chance (reservoir sampling).
                    if draw.rotate_left(8 * u32::try_from(*seen % 8).unwrap_or(0)) % *seen == 0 {
                        self.bytes.clear();
                        self.bytes.extend_from_slice(reply);
                    }
                }
            }
        }
    }

    /// Writes the reply to the whole command, once all parts have been added.
    pub fn finish(self, out: &mut Vec<u8>) {
        if let Some(error) = self.error {
            out.extend_from_slice(&error);
            return;
        }
        let mut encoder = Encoder::new(out, self.protocol);
        match self.kind {
            Kind::Sum(sum) => encoder.integer(sum),
            Kind::Ok => encoder.ok(),
            Kind::Concatenation(count) => {
                encoder.array(count);
                out.extend_from_slice(&self.bytes);
            }
            Kind::Places(places) => {
                encoder.array(places.len());
                places.into_iter().for_each(|place| out.extend_from_slice(&self.bytes[place]));
            }
            Kind::Any { seen: 0, .. } => encoder.null(),
            Kind::Any { .. } => out.extend_from_slice(&self.bytes),
        }
    }
}

/// The number in the line that starts at `at`, after its first byte, and where the next line starts.
fn number_line(reply: &[u8], at: usize) -> (i64, usize) {
    let line = &reply[at + 1..];
    let len = line.iter().position(|&byte| byte == b'\r').expect("a reply's line ends");
    (parse_i64(&line[..len]).expect("a reply's line has a number"), at + 1 + len + 2)
}

/// Where the bulk string or null that starts at `at` ends.
fn bulk_end(reply: &[u8], at: usize) -> usize {
    if reply[at] == b'_' {
        return at + 3;
    }
    let (len, start) = number_line(reply, at);
    usize::try_from(len).map_or(start, |len| start + len + 2)
}
