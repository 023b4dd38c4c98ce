//! Values that say themselves what they are.
//!
//! A value is a sequence of chunks: one that SET wrote and those that APPEND added. A chunk names the write it comes
//! from, its key and its length, and its other bytes follow from these, so that whoever reads a value can tell whether
//! every byte is right, and which writes it holds.

/// The bytes of a chunk before its filling.
pub(super) const HEADER: usize = 6 + 12 + 4 + 8;
const MARK: &[u8] = b"chunk:";

/// One piece of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Chunk {
    /// The number of the write, among those of one writer.
    pub(super) version: u64,
    /// How many bytes it has, its header included.
    pub(super) len: usize,
}

fn filling(version: u64, at: usize) -> u8 {
    let letter = (version.wrapping_mul(31) + u64::try_from(at).unwrap_or(0)) % 26;
    b'a' + u8::try_from(letter).unwrap_or(0)
}

impl Chunk {
    /// Appends the bytes of this chunk in a value of key number `key`.
    pub(super) fn write(self, key: u16, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(MARK);
        out.extend_from_slice(format!("{:012x}{key:04x}{:08x}", self.version, self.len).as_bytes());
        out.extend((HEADER..self.len).map(|at| filling(self.version, at)));
        debug_assert_eq!(out.len() - start, self.len.max(HEADER));
    }

    fn read(bytes: &[u8], key: u16) -> Option<Self> {
        let header = bytes.get(..HEADER)?.strip_prefix(MARK)?;
        let text = std::str::from_utf8(header).ok()?;
        let (version, rest) = text.split_at_checked(12)?;
        let (found_key, len) = rest.split_at_checked(4)?;
        let len = usize::try_from(u32::from_str_radix(len, 16).ok()?).ok()?;
        let chunk = Self { version: u64::from_str_radix(version, 16).ok()?, len };
        let filled = bytes.get(HEADER..len)?.iter().zip(HEADER..).all(|(&byte, at)| byte == filling(chunk.version, at));
        (u16::from_str_radix(found_key, 16).ok()? == key && filled).then_some(chunk)
    }
}

/// The chunks of a value of key number `key`; none where a byte is wrong.
pub(super) fn parse(mut bytes: &[u8], key: u16) -> Option<Vec<Chunk>> {
    let mut chunks = Vec::new();
    while !bytes.is_empty() {
        let chunk = Chunk::read(bytes, key)?;
        bytes = bytes.get(chunk.len..)?;
        chunks.push(chunk);
    }
    Some(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_byte_is_seen_wherever_it_is() {
        let chunks = [Chunk { version: 3, len: HEADER }, Chunk { version: 0xABC, len: 100 }];
        let mut value = Vec::new();
        chunks.iter().for_each(|chunk| chunk.write(7, &mut value));
        assert_eq!(parse(&value, 7), Some(chunks.to_vec()));
        assert_eq!(parse(&value, 8), None);
        assert_eq!(parse(&[], 7), Some(Vec::new()));
        for at in 0..value.len() {
            let mut damaged = value.clone();
            damaged[at] ^= 1;
            assert_ne!(parse(&damaged, 7), Some(chunks.to_vec()), "byte {at}");
            assert_ne!(parse(&value[..at], 7), Some(chunks.to_vec()), "cut at {at}");
        }
    }
}
