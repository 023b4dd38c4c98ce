//! The secret that the nodes of a cluster share, and the proofs that are made of it.
//!
//! The secret itself is never sent, shown or logged. A proof covers both nonces, so that it is of no use a second time,
//! and the label of its side, so that it is of no use to the side that it came from.

use std::fmt;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use thiserror::Error;
use windrow_proto::replication::PROOF_LEN;

use super::limits::{SECRET_LEN_MAX, SECRET_LEN_MIN};

/// Who makes a proof.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Whoever connected.
    Connecting,
    /// Whoever was connected to.
    Accepting,
}

impl Side {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Connecting => b"windrow peer connect 1",
            Self::Accepting => b"windrow peer accept 1",
        }
    }
}

/// Why there is no secret.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The file can't be read.
    #[error(
        "cannot read the secret in {}: {source}. Remedy: make it once (`head -c 32 /dev/urandom | base64 > FILE; chmod \
         600 FILE`) and copy it to every node",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may read the file.
    #[error("{} may be read by others (mode {mode:o}). Remedy: `chmod 600 {}`", path.display(), path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The secret has the wrong length.
    #[error(
        "the secret in {} has {len} bytes without the line end, and must have {SECRET_LEN_MIN} to {SECRET_LEN_MAX}. \
         Remedy: `head -c 32 /dev/urandom | base64 > {}`, and the same file on every node",
        path.display(), path.display()
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes found, at most one more than are allowed.
        len: usize,
    },
}

/// The secret that the nodes of a cluster share.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// A secret of these bytes.
    ///
    /// # Panics
    /// If it is shorter or longer than is allowed: [`read`](Self::read) checks that.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        assert!((SECRET_LEN_MIN..=SECRET_LEN_MAX).contains(&bytes.len()), "the length of a secret");
        Self(bytes.into())
    }

    /// Reads the secret from a file that nobody else may read; line ends and spaces behind it do not count.
    ///
    /// # Errors
    /// Each says what to do.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let unreadable = |source| SecretError::Unreadable { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(SecretError::Open { path: path.to_owned(), mode });
        }
        let mut bytes = Vec::new();
        file.take(SECRET_LEN_MAX as u64 + 3).read_to_end(&mut bytes).map_err(unreadable)?;
        let bytes = bytes.trim_ascii_end();
        if (SECRET_LEN_MIN..=SECRET_LEN_MAX).contains(&bytes.len()) {
            Ok(Self::new(bytes))
        } else {
            Err(SecretError::Length { path: path.to_owned(), len: bytes.len() })
        }
    }

    fn mac(&self, side: Side, opening: &[u8], challenge: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(side.label());
        mac.update(opening);
        mac.update(challenge);
        mac
    }

    /// The proof of `side` over the bodies of the opening and the challenge as they were sent.
    #[must_use]
    pub fn prove(&self, side: Side, opening: &[u8], challenge: &[u8]) -> [u8; PROOF_LEN] {
        self.mac(side, opening, challenge).finalize().into_bytes().into()
    }

    /// Whether `proof` is that of `side`. Takes the same time for every wrong proof.
    #[must_use]
    pub fn is_proof(&self, proof: &[u8; PROOF_LEN], side: Side, opening: &[u8], challenge: &[u8]) -> bool {
        self.mac(side, opening, challenge).verify_slice(proof).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};

    use super::*;

    #[test]
    fn a_proof_depends_on_the_secret_the_side_and_both_messages() {
        let secret = Secret::new(b"0123456789abcdef");
        let proof = secret.prove(Side::Connecting, b"opening", b"challenge");
        assert!(secret.is_proof(&proof, Side::Connecting, b"opening", b"challenge"));
        assert!(!secret.is_proof(&proof, Side::Accepting, b"opening", b"challenge"), "played back");
        assert!(!secret.is_proof(&proof, Side::Connecting, b"Opening", b"challenge"));
        assert!(!secret.is_proof(&proof, Side::Connecting, b"opening", b"other challenge"), "replayed");
        assert!(!Secret::new(b"0123456789abcdeF").is_proof(&proof, Side::Connecting, b"opening", b"challenge"));
    }

    #[test]
    fn a_proof_is_the_documented_hmac() {
        // printf 'windrow peer connect 1opening-challenge' | openssl dgst -sha256 -hmac 0123456789abcdef
        let proof = Secret::new(b"0123456789abcdef").prove(Side::Connecting, b"opening", b"-challenge");
        let hex: String = proof.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "f4082cb662274e5b355c0506105e46feaa6899c815c76620a50865c0d874b3fc");
    }

    #[test]
    fn a_file_is_read_without_its_line_end_and_only_if_it_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let with = |bytes: &[u8], mode| {
            let _ = std::fs::remove_file(&path);
            write(&path, bytes).unwrap();
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            Secret::read(&path)
        };
        assert_eq!(*with(b"0123456789abcdef\r\n", 0o400).unwrap().0, *b"0123456789abcdef");
        assert!(matches!(with(b"0123456789abcdef", 0o640), Err(SecretError::Open { mode: 0o640, .. })));
        assert!(matches!(with(b"0123456789abcde\n", 0o600), Err(SecretError::Length { len: 15, .. })));
        assert!(matches!(with(&[b'x'; 5000], 0o600), Err(SecretError::Length { .. })));
        let shown = with(b"0123456789abcdef", 0o600).map(|secret| format!("{secret:?}")).unwrap();
        assert_eq!(shown, "Secret(..)");
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(Secret::read(&path), Err(SecretError::Unreadable { .. })));
    }
}
