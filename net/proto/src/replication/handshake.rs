//! The handshake: who is there, what both understand, and the proof that both know the secret.
//!
//! `Opening` (from whoever connects), `Challenge`, `Proof`, `Welcome`; or `Rejected` at any point. A proof is made by
//! whoever has the secret, over both nonces and both identities, see `docs/replication.md`; the secret itself is never
//! sent. The one who connects proves first.

use windrow_core::replication::ReplicaId;
use windrow_core::types::ClusterId;

use super::cursor::{Reader, Writer};

/// The version of the protocol that this build speaks: of the handshake and of the messages behind it. Version 1 had
/// several forms, which did not tell of one another.
pub const VERSION: u16 = 2;
/// Bytes of a nonce.
pub const NONCE_LEN: usize = 32;
/// Bytes of a proof: an HMAC-SHA-256.
pub const PROOF_LEN: usize = 32;

const MAGIC: [u8; 8] = *b"WINDROWR";

/// How the node was built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// The cores of one box share memory.
    SharedMemory,
    /// Nothing is shared.
    SharedNothing,
}

impl Mode {
    const fn to_byte(self) -> u8 {
        match self {
            Self::SharedMemory => 1,
            Self::SharedNothing => 2,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::SharedMemory),
            2 => Some(Self::SharedNothing),
            _ => None,
        }
    }
}

/// One frame of the handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handshake {
    /// From whoever connects: who I am.
    Opening(Opening),
    /// From whoever was connected to: who I am; prove that you know the secret.
    Challenge(Challenge),
    /// The proof.
    Proof {
        /// The proof of whoever connects.
        proof: [u8; PROOF_LEN],
    },
    /// The other proof: messages may follow.
    Welcome(Welcome),
    /// No. The connection ends.
    Rejected(Rejection),
}

/// Who connects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opening {
    /// The oldest version that it speaks.
    pub version_min: u16,
    /// The newest version that it speaks.
    pub version_max: u16,
    /// How it was built.
    pub mode: Mode,
    /// Features that it understands.
    pub features: u64,
    /// Features without which it will not talk; all of them are among those it understands.
    pub features_required: u64,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Which replica it is.
    pub replica: ReplicaId,
    /// Random, new for each connection.
    pub nonce: [u8; NONCE_LEN],
}

/// Who was connected to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Challenge {
    /// The version to speak.
    pub version: u16,
    /// How it was built.
    pub mode: Mode,
    /// The features that both understand.
    pub features: u64,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Which replica it is.
    pub replica: ReplicaId,
    /// Random, new for each connection.
    pub nonce: [u8; NONCE_LEN],
}

/// How a node lays its partitions out. Core number *n* talks with core number *n* of every other node, so all nodes of a
/// set have the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// How many partitions the cluster has; not zero.
    pub partitions: u16,
    /// On how many cores they are; not zero.
    pub cores: u16,
}

impl core::fmt::Display for Layout {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let s = |count: u16| if count == 1 { "" } else { "s" };
        let Self { partitions, cores } = *self;
        write!(f, "{partitions} partition{} on {cores} core{}", s(partitions), s(cores))
    }
}

/// The last step of the handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Welcome {
    /// How whoever was connected to lays its partitions out.
    pub layout: Layout,
    /// The proof of whoever was connected to.
    pub proof: [u8; PROOF_LEN],
}

/// The versions of the protocol that a node speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Versions {
    /// The oldest; zero where the node does not say, which is version 1.
    pub min: u16,
    /// The newest; not below that.
    pub max: u16,
}

impl Versions {
    /// What this build speaks.
    pub const OWN: Self = Self { min: VERSION, max: VERSION };
}

impl core::fmt::Display for Versions {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match (self.min.max(1), self.max.max(1)) {
            (min, max) if min == max => write!(f, "version {min}"),
            (min, max) => write!(f, "versions {min} to {max}"),
        }
    }
}

/// Why a handshake ends.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Rejection {
    /// No version that both speak.
    #[error("it speaks {0} of the protocol between nodes, and nothing that is spoken here")]
    Version(
        /// What the one speaks that rejects.
        Versions,
    ),
    /// One side was built for shared memory, the other one is not.
    #[error("one side is built for shared-memory mode and the other for shared-nothing mode")]
    Mode,
    /// A feature that one side requires is unknown to the other.
    #[error("a required feature is unknown to the other side")]
    Features,
    /// The clusters differ.
    #[error("the replicas belong to different clusters")]
    Cluster,
    /// The proof is wrong.
    #[error("the shared secrets differ")]
    Proof,
    /// The replica is not one of those configured.
    #[error("the replica is not known here")]
    Stranger,
    /// There are too many connections.
    #[error("too many connections")]
    Busy,
    /// The nodes lay their partitions out otherwise.
    #[error("it has {0}, which is another number than there are here")]
    Layout(
        /// What the one has that rejects.
        Layout,
    ),
}

impl Rejection {
    const fn to_code(self) -> u16 {
        match self {
            Self::Version(_) => 1,
            Self::Mode => 2,
            Self::Features => 3,
            Self::Cluster => 4,
            Self::Proof => 5,
            Self::Stranger => 6,
            Self::Busy => 7,
            Self::Layout(_) => 8,
        }
    }

    fn encode(self, writer: &mut Writer<'_>) {
        writer.u16(self.to_code());
        match self {
            Self::Version(versions) => writer.u16(versions.min).u16(versions.max).bytes(&[0; 2]),
            Self::Layout(layout) => layout.encode(writer).bytes(&[0; 2]),
            _ => writer.bytes(&[0; 6]),
        };
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let rejection = match reader.u16()? {
            1 => {
                let (min, max) = (reader.u16()?, reader.u16()?);
                reader.zero::<2>()?;
                return (min <= max).then_some(Self::Version(Versions { min, max }));
            }
            2 => Self::Mode,
            3 => Self::Features,
            4 => Self::Cluster,
            5 => Self::Proof,
            6 => Self::Stranger,
            7 => Self::Busy,
            8 => {
                let layout = Layout::decode(reader)?;
                reader.zero::<2>()?;
                return Some(Self::Layout(layout));
            }
            _ => return None,
        };
        reader.zero::<6>()?;
        Some(rejection)
    }
}

impl Layout {
    fn encode<'a, 'b>(self, writer: &'a mut Writer<'b>) -> &'a mut Writer<'b> {
        writer.u16(self.partitions).u16(self.cores)
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let (partitions, cores) = (reader.u16()?, reader.u16()?);
        (partitions > 0 && cores > 0).then_some(Self { partitions, cores })
    }
}

/// What whoever was connected to answers: the version and the features to use. Identity comes before anything else.
///
/// # Errors
/// [`Rejection`]: what the two do not share.
pub fn agree(
    opening: &Opening,
    cluster: ClusterId,
    mode: Mode,
    features: u64,
    required: u64,
) -> Result<(u16, u64), Rejection> {
    if opening.cluster != cluster {
        return Err(Rejection::Cluster);
    }
    if opening.mode != mode {
        return Err(Rejection::Mode);
    }
    if !(opening.version_min..=opening.version_max).contains(&VERSION) {
        return Err(Rejection::Version(Versions::OWN));
    }
    let both = opening.features & features;
    if (opening.features_required | required) & !both != 0 {
        return Err(Rejection::Features);
    }
    Ok((VERSION, both))
}

pub(super) const fn is_kind(kind: u8) -> bool {
    matches!(kind, 1..=5)
}

impl Handshake {
    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::Opening(_) => 1,
            Self::Challenge(_) => 2,
            Self::Proof { .. } => 3,
            Self::Welcome(_) => 4,
            Self::Rejected(_) => 5,
        }
    }

    pub(super) fn encode(&self, writer: &mut Writer<'_>) {
        match self {
            Self::Opening(opening) => {
                writer.bytes(&MAGIC).u16(opening.version_min).u16(opening.version_max);
                writer.u8(opening.mode.to_byte()).bytes(&[0; 3]);
                writer.u64(opening.features).u64(opening.features_required);
                writer.bytes(&opening.cluster.0).u64(opening.replica.get()).bytes(&opening.nonce);
            }
            Self::Challenge(challenge) => {
                writer.bytes(&MAGIC).u16(challenge.version).u8(challenge.mode.to_byte()).bytes(&[0; 5]);
                writer.u64(challenge.features);
                writer.bytes(&challenge.cluster.0).u64(challenge.replica.get()).bytes(&challenge.nonce);
            }
            Self::Proof { proof } => {
                writer.bytes(proof);
            }
            Self::Welcome(welcome) => {
                welcome.layout.encode(writer).bytes(&[0; 4]).bytes(&welcome.proof);
            }
            Self::Rejected(rejection) => {
                rejection.encode(writer);
            }
        }
    }

    pub(super) fn decode(kind: u8, body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let handshake = match kind {
            1 => Self::Opening(opening(&mut reader)?),
            2 => Self::Challenge(challenge(&mut reader)?),
            3 => Self::Proof { proof: reader.array()? },
            4 => {
                let layout = Layout::decode(&mut reader)?;
                reader.zero::<4>()?;
                Self::Welcome(Welcome { layout, proof: reader.array()? })
            }
            5 => Self::Rejected(Rejection::decode(&mut reader)?),
            _ => return None,
        };
        reader.end()?;
        Some(handshake)
    }
}

fn opening(reader: &mut Reader<'_>) -> Option<Opening> {
    if reader.array()? != MAGIC {
        return None;
    }
    let (version_min, version_max) = (reader.u16()?, reader.u16()?);
    let mode = Mode::from_byte(reader.u8()?)?;
    reader.zero::<3>()?;
    let (features, features_required) = (reader.u64()?, reader.u64()?);
    let is_sound = version_min <= version_max && features_required & !features == 0;
    is_sound.then_some(())?;
    let cluster = ClusterId(reader.array()?);
    let replica = ReplicaId::new(reader.u64()?);
    Some(Opening {
        version_min,
        version_max,
        mode,
        features,
        features_required,
        cluster,
        replica,
        nonce: reader.array()?,
    })
}

fn challenge(reader: &mut Reader<'_>) -> Option<Challenge> {
    if reader.array()? != MAGIC {
        return None;
    }
    let version = reader.u16()?;
    let mode = Mode::from_byte(reader.u8()?)?;
    reader.zero::<5>()?;
    let features = reader.u64()?;
    let cluster = ClusterId(reader.array()?);
    let replica = ReplicaId::new(reader.u64()?);
    Some(Challenge { version, mode, features, cluster, replica, nonce: reader.array()? })
}
