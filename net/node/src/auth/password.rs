//! Passwords as they are kept: salted and hashed.

use std::fmt;
use std::io::{self, Read};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What the stored form starts with.
const PREFIX: &str = "sha256:";
const SALT_LEN: usize = 16;
const DIGEST_LEN: usize = 32;

/// A password's salted SHA-256. The password itself is not kept.
///
/// SHA-256 is fast on purpose: a check runs on a core that serves other clients. What makes guessing slow is the
/// [`Throttle`](super::Throttle); against somebody who has the settings file, only a long random password helps.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    salt: [u8; SALT_LEN],
    digest: [u8; DIGEST_LEN],
}

/// Text that starts like a stored hash but is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a stored password is `sha256:`, 32 hexadecimal digits of salt, `:` and 64 hexadecimal digits")]
pub struct PasswordError;

impl PasswordHash {
    /// Hashes `password` with `salt`, which should be random (see [`random_bytes`]).
    #[must_use]
    pub fn new(password: &[u8], salt: [u8; SALT_LEN]) -> Self {
        Self { salt, digest: digest(&salt, password) }
    }

    /// Reads the stored form, or hashes `text` as a plain password with `salt`.
    ///
    /// # Errors
    /// The text begins with `sha256:` but is no stored form; as a password it would surely be a mistake.
    pub fn from_setting(text: &str, salt: [u8; SALT_LEN]) -> Result<Self, PasswordError> {
        let Some(stored) = text.strip_prefix(PREFIX) else { return Ok(Self::new(text.as_bytes(), salt)) };
        let (salt, digest) = stored.split_once(':').ok_or(PasswordError)?;
        Ok(Self { salt: from_hex(salt).ok_or(PasswordError)?, digest: from_hex(digest).ok_or(PasswordError)? })
    }

    /// Whether `password` is the right one. Takes the same time for every wrong one of the same length.
    #[must_use]
    pub fn matches(&self, password: &[u8]) -> bool {
        digest(&self.salt, password).ct_eq(&self.digest).into()
    }
}

/// The stored form.
impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.salt.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(":")?;
        self.digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

fn digest(salt: &[u8], password: &[u8]) -> [u8; DIGEST_LEN] {
    Sha256::new().chain_update(salt).chain_update(password).finalize().into()
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// Random bytes from the kernel.
///
/// # Errors
/// `/dev/urandom` cannot be read.
pub fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_is_read_back_and_knows_its_password() {
        let hash = PasswordHash::new(b"secret", random_bytes().unwrap());
        let stored = hash.to_string();
        assert_eq!(stored.len(), 7 + 32 + 1 + 64);
        let read = PasswordHash::from_setting(&stored, [0; 16]).unwrap();
        assert_eq!(read, hash);
        assert!(read.matches(b"secret"));
        for wrong in [&b""[..], b"secre", b"secret ", b"Secret", stored.as_bytes()] {
            assert!(!read.matches(wrong));
        }
    }

    #[test]
    fn it_is_the_plain_digest_of_salt_and_password() {
        // printf 'abc' | sha256sum, with the salt in front.
        let empty = PasswordHash::new(b"", [0x61; 16]);
        assert!(empty.to_string().starts_with("sha256:61616161616161616161616161616161:"));
        assert_eq!(empty.digest, <[u8; 32]>::from(Sha256::digest([0x61; 16])));
        assert_ne!(empty, PasswordHash::new(b"", [0; 16]), "the salt counts");
    }

    #[test]
    fn what_only_looks_like_a_hash_is_refused() {
        for text in ["sha256:", "sha256:00", "sha256:+0000000000000000000000000000000:00"] {
            assert_eq!(PasswordHash::from_setting(text, [0; 16]), Err(PasswordError), "{text}");
        }
        assert!(PasswordHash::from_setting("sha256", [0; 16]).unwrap().matches(b"sha256"));
    }

    #[test]
    fn neither_form_is_in_its_debug_output() {
        assert_eq!(format!("{:?}", PasswordHash::new(b"x", [1; 16])), "PasswordHash(..)");
    }
}
