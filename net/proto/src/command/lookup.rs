//! From a command's name to its entry.

use super::{Command, TABLE};

/// The longest name, in bytes: what fits into one 128-bit number.
const NAME_LEN_MAX: usize = 16;
/// How many places the hash table has: a power of two, four times as many as there are commands.
const PLACES: usize = 512;
/// No command: there are fewer than 255.
const FREE: u8 = u8::MAX;

/// The command called `name`, in any case.
#[must_use]
#[inline]
pub fn lookup(name: &[u8]) -> Option<&'static Command> {
    let packed = pack(name)?;
    let mut place = place_of(packed);
    loop {
        let entry = PACKED[place];
        if entry.name == packed {
            return TABLE.get(usize::from(entry.index)).copied();
        }
        if entry.index == FREE {
            return None;
        }
        place = (place + 1) % PLACES;
    }
}

/// A name in lower case as one number, or `None` where no command has so long a name.
#[inline]
fn pack(name: &[u8]) -> Option<u128> {
    let mut bytes = [0_u8; NAME_LEN_MAX];
    bytes.get_mut(..name.len())?.copy_from_slice(name);
    // Letters in either case differ in one bit. Other bytes change too, but no name has any that another becomes.
    Some(u128::from_le_bytes(bytes) | CASE_BITS[name.len()])
}

/// The case bit of the first `n` bytes.
const CASE_BITS: [u128; NAME_LEN_MAX + 1] = {
    let mut bits = [0_u128; NAME_LEN_MAX + 1];
    let mut len = 1;
    while len <= NAME_LEN_MAX {
        bits[len] = bits[len - 1] | 0x20 << (8 * (len - 1));
        len += 1;
    }
    bits
};

#[expect(clippy::cast_possible_truncation, reason = "a hash takes what bits it likes")]
const fn place_of(packed: u128) -> usize {
    let folded = (packed as u64) ^ ((packed >> 64) as u64).rotate_left(23);
    (folded.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 55) as usize % PLACES
}

#[derive(Clone, Copy)]
struct Place {
    name: u128,
    index: u8,
}

static PACKED: [Place; PLACES] = {
    // No packed name is zero, because none is empty.
    let mut places = [Place { name: 0, index: FREE }; PLACES];
    let mut index = 0;
    while index < TABLE.len() {
        let name = TABLE[index].name.as_bytes();
        let mut bytes = [0_u8; NAME_LEN_MAX];
        let mut at = 0;
        while at < name.len() {
            assert!(name[at].is_ascii_lowercase(), "only letters survive the folding of case");
            bytes[at] = name[at];
            at += 1;
        }
        let packed = u128::from_le_bytes(bytes);
        let mut place = place_of(packed);
        while places[place].index != FREE {
            assert!(places[place].name != packed, "two commands of one name");
            place = (place + 1) % PLACES;
        }
        #[expect(clippy::cast_possible_truncation, reason = "asserted below")]
        let small = index as u8;
        places[place] = Place { name: packed, index: small };
        index += 1;
    }
    places
};

const _: () = assert!(TABLE.len() < FREE as usize && TABLE.len() * 4 <= PLACES);
