//! Values: how long they are, and bytes that follow from key and version, so that a reader can check every one.
//!
//! A value of at least [`HEADER`] bytes starts with the key's number, its version, its length and a check of these
//! three, little-endian; what follows is a stream drawn from key and version. It does not compress. Shorter values are
//! the start of the stream alone and cannot be checked.

use std::fmt;

use crate::units;

/// Bytes that name the value.
pub(crate) const HEADER: u32 = 24;
/// What a server may hold in one value.
const VALUE_MAX: u64 = 512 << 20;

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Sizes {
    Fixed(u32),
    Range {
        least: u32,
        most: u32,
    },
    /// Sizes with the sum of weights up to and including each.
    List(Vec<(u32, u32)>),
}

impl Sizes {
    /// `100`, `10..4k`, or `64:50,1k:30,64k:20`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.contains(':') {
            return Self::list(text);
        }
        match text.split_once("..") {
            None => size(text).map(Self::Fixed),
            Some((least, most)) => {
                let (least, most) = (size(least)?, size(most)?);
                if least > most {
                    return Err(format!("{text} ends before it starts"));
                }
                Ok(Self::Range { least, most })
            }
        }
    }

    fn list(text: &str) -> Result<Self, String> {
        let mut sum = 0_u32;
        let mut list = Vec::new();
        for item in text.split(',') {
            let (bytes, weight) = item.split_once(':').ok_or_else(|| format!("{item} is not SIZE:WEIGHT"))?;
            let weight: u32 = weight.parse().map_err(|_| format!("{weight} is not a whole weight"))?;
            sum = sum.checked_add(weight).ok_or("the weights are too large")?;
            list.push((size(bytes)?, sum));
        }
        if sum == 0 { Err("all weights are 0".to_owned()) } else { Ok(Self::List(list)) }
    }

    pub(crate) fn draw(&self, rng: &mut fastrand::Rng) -> u32 {
        match self {
            Self::Fixed(size) => *size,
            Self::Range { least, most } => rng.u32(*least..=*most),
            Self::List(list) => {
                let most = list.last().map_or(1, |last| last.1);
                let draw = rng.u32(0..most);
                list.iter().find(|item| draw < item.1).map_or(0, |item| item.0)
            }
        }
    }

    pub(crate) fn smallest(&self) -> u32 {
        match self {
            Self::Fixed(size) => *size,
            Self::Range { least, .. } => *least,
            Self::List(list) => list.iter().map(|item| item.0).min().unwrap_or(0),
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size} B"),
            Self::Range { least, most } => write!(f, "{least}..{most} B"),
            Self::List(list) => {
                let mut before = 0;
                for (number, (size, sum)) in list.iter().enumerate() {
                    write!(f, "{}{size}:{}", if number == 0 { "" } else { "," }, sum - before)?;
                    before = *sum;
                }
                f.write_str(" B")
            }
        }
    }
}

fn size(text: &str) -> Result<u32, String> {
    let size = units::bytes(text)?;
    u32::try_from(size).ok().filter(|_| size <= VALUE_MAX).ok_or_else(|| format!("{text}: a value is at most 512 MiB"))
}

/// What is wrong with a value, as far as it can be told from the value alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Damage {
    /// Not as long as it says, or too short to say anything.
    Length,
    /// Its head is not one that was ever written.
    Head,
    /// Whole, but another key's.
    OtherKey,
    /// Its head and its body are of different writes.
    Torn,
}

/// Appends the value of `key` at `version`, `size` bytes.
pub(crate) fn write(key: u64, version: u64, size: u32, out: &mut Vec<u8>) {
    let size = usize::try_from(size).unwrap_or(0);
    let start = out.len();
    out.resize(start + size, 0);
    let value = &mut out[start..];
    let body = match value.split_at_mut_checked(usize::try_from(HEADER).unwrap_or(0)) {
        Some((head, body)) => {
            head.copy_from_slice(&header(key, version, size));
            body
        }
        None => value,
    };
    let mut stream = Stream::new(key, version);
    let mut words = body.chunks_exact_mut(8);
    for word in &mut words {
        word.copy_from_slice(&stream.next().to_le_bytes());
    }
    let rest = words.into_remainder();
    let last = stream.next().to_le_bytes();
    rest.copy_from_slice(&last[..rest.len()]);
}

/// The version of a value of `key`, if every byte of it is as it was written.
pub(crate) fn check(key: u64, value: &[u8]) -> Result<u64, Damage> {
    let Some((head, body)) = value.split_first_chunk::<24>() else { return Err(Damage::Length) };
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| head[at + byte]));
    let (found, version, length) = (word(0), word(8), word(16) & 0xFFFF_FFFF);
    let claimed = usize::try_from(length).unwrap_or(usize::MAX);
    if header(found, version, claimed) != *head {
        return Err(Damage::Head);
    }
    if claimed != value.len() {
        return Err(Damage::Length);
    }
    let mut stream = Stream::new(found, version);
    let mut words = body.chunks_exact(8);
    let whole = words.by_ref().all(|word| *word == stream.next().to_le_bytes());
    let rest = words.remainder();
    if !whole || *rest != stream.next().to_le_bytes()[..rest.len()] {
        return Err(Damage::Torn);
    }
    if found == key { Ok(version) } else { Err(Damage::OtherKey) }
}

fn header(key: u64, version: u64, size: usize) -> [u8; 24] {
    let length = u32::try_from(size).unwrap_or(u32::MAX);
    let check = mix(key ^ version.rotate_left(32) ^ u64::from(length).rotate_left(16)).to_le_bytes();
    let mut head = [0; 24];
    head[..8].copy_from_slice(&key.to_le_bytes());
    head[8..16].copy_from_slice(&version.to_le_bytes());
    head[16..20].copy_from_slice(&length.to_le_bytes());
    head[20..].copy_from_slice(&check[..4]);
    head
}

/// The bytes of a body, eight at a time.
struct Stream(u64);

impl Stream {
    fn new(key: u64, version: u64) -> Self {
        Self(mix(key ^ mix(version)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let word = (self.0 ^ (self.0 >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        word ^ (word >> 32)
    }
}

/// The finaliser of SplitMix64.
fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}
