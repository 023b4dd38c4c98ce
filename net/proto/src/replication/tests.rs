use alloc::vec;
use alloc::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;
use windrow_core::codec::Chain;
use windrow_core::replication::limits::{EPOCHS_IN_HELLO_MAX, RANGE_LEN_MAX};
use windrow_core::replication::{
    Ack, Body, EpochStart, Heartbeat, Hello, LogEnd, Message, Moment, Position, PromiseRequest, Refusal, ReplicaId,
};
use windrow_core::types::{ClusterId, Epoch, Lsn, PartitionId};

use super::*;

fn lsn() -> impl Strategy<Value = Lsn> {
    (0..=u64::MAX >> 1).prop_map(Lsn::new)
}

fn epoch() -> impl Strategy<Value = Epoch> {
    any::<u32>().prop_map(Epoch::new)
}

fn log_end() -> impl Strategy<Value = LogEnd> {
    (lsn(), any::<u32>()).prop_map(|(lsn, chain)| LogEnd { lsn, chain: Chain::new(chain) })
}

fn position() -> impl Strategy<Value = Position> {
    (epoch(), lsn()).prop_map(|(epoch, lsn)| Position { epoch, lsn })
}

fn hello(partition: PartitionId) -> impl Strategy<Value = Body> {
    let steps = vec((1_u32..9, 16_u64..4096), 0..=EPOCHS_IN_HELLO_MAX);
    (any::<[u8; 16]>(), 0_u64..1 << 40, steps, 0_u64..9999, any::<u32>(), any::<bool>()).prop_map(
        move |(cluster, start, steps, behind, chain, has_older)| {
            let (mut newest, mut at) = (0, start);
            let mut epochs = Vec::new();
            for (step, len) in steps {
                newest += step;
                epochs.push(EpochStart { epoch: Epoch::new(newest), start: Lsn::new(at) });
                at += len;
            }
            Body::Hello(Hello {
                cluster: ClusterId(cluster),
                partition,
                start: Lsn::new(start),
                end: Lsn::new(at + behind),
                chain: Chain::new(chain),
                epochs,
                epochs_end: Lsn::new(at),
                has_older,
            })
        },
    )
}

fn refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        Just(Refusal::Stale),
        Just(Refusal::OtherCluster),
        epoch().prop_map(|epoch| Refusal::TwoLeaders { epoch }),
        Just(Refusal::EmptyCandidate),
        Just(Refusal::Blank),
        position().prop_map(Refusal::Longer),
        Just(Refusal::LeaseRunning),
        Just(Refusal::NotAVoter),
        lsn().prop_map(|committed| Refusal::WouldLoseCommitted { committed }),
    ]
}

fn body(partition: PartitionId) -> impl Strategy<Value = Body> {
    let cluster = || any::<[u8; 16]>().prop_map(ClusterId);
    prop_oneof![
        (cluster(), lsn(), lsn(), any::<u64>()).prop_map(move |(cluster, committed, sent, at)| {
            Body::Heartbeat(Heartbeat { cluster, partition, committed, sent, at: Moment::new(at) })
        }),
        hello(partition),
        epoch().prop_map(|before| Body::OlderEpochs { before }),
        log_end().prop_map(Body::Resume),
        (1_u64..1 << 50, any::<u32>(), any::<u64>()).prop_map(|(end, chain, to)| Body::Cut {
            end: LogEnd { lsn: Lsn::new(end), chain: Chain::new(chain) },
            to: Lsn::new(to % end),
        }),
        (log_end(), log_end(), proptest::option::of(lsn())).prop_map(|(end, begin, common)| Body::Restart {
            end,
            start: begin.lsn,
            start_chain: begin.chain,
            common,
        }),
        (0_u64..1 << 50, 1..=RANGE_LEN_MAX, lsn()).prop_map(|(from, len, committed)| {
            Body::Bytes { from: Lsn::new(from), to: Lsn::new(from + len), committed }
        }),
        (lsn(), lsn(), any::<u64>())
            .prop_map(|(a, b, at)| { Body::Ack(Ack { received: a.max(b), flushed: a.min(b), at: Moment::new(at) }) }),
        (cluster(), position()).prop_map(move |(cluster, position)| Body::PromiseRequest(PromiseRequest {
            cluster,
            partition,
            position
        })),
        position().prop_map(|position| Body::Promise { position }),
        Just(Body::TakeOver),
        refusal().prop_map(Body::Refuse),
    ]
}

fn message() -> impl Strategy<Value = (PartitionId, Message)> {
    any::<u16>().prop_map(PartitionId::new).prop_flat_map(|partition| {
        (epoch(), body(partition)).prop_map(move |(epoch, body)| (partition, Message { epoch, body }))
    })
}

fn handshake() -> impl Strategy<Value = Handshake> {
    let mode = || prop_oneof![Just(Mode::SharedMemory), Just(Mode::SharedNothing)];
    let who = || (any::<[u8; 16]>().prop_map(ClusterId), any::<u64>().prop_map(ReplicaId::new));
    let rejections = [
        Rejection::Version(Versions { min: 0x0102, max: 0x0304 }),
        Rejection::Mode,
        Rejection::Features,
        Rejection::Cluster,
        Rejection::Proof,
        Rejection::Stranger,
        Rejection::Busy,
        Rejection::Layout(Layout { partitions: 0x0102, cores: 0x0304 }),
    ];
    prop_oneof![
        (any::<(u16, u16)>(), mode(), any::<(u64, u64)>(), who(), any::<[u8; 32]>()).prop_map(
            |((a, b), mode, (features, required), (cluster, replica), nonce)| {
                Handshake::Opening(Opening {
                    version_min: a.min(b),
                    version_max: a.max(b),
                    mode,
                    features,
                    features_required: required & features,
                    cluster,
                    replica,
                    nonce,
                })
            }
        ),
        (any::<u16>(), mode(), any::<u64>(), who(), any::<[u8; 32]>()).prop_map(
            |(version, mode, features, (cluster, replica), nonce)| {
                Handshake::Challenge(Challenge { version, mode, features, cluster, replica, nonce })
            }
        ),
        any::<[u8; 32]>().prop_map(|proof| Handshake::Proof { proof }),
        (1..=u16::MAX, 1..=u16::MAX, any::<[u8; 32]>()).prop_map(|(partitions, cores, proof)| {
            Handshake::Welcome(Welcome { layout: Layout { partitions, cores }, proof })
        }),
        proptest::sample::select(rejections.to_vec()).prop_map(Handshake::Rejected),
    ]
}

proptest! {
    #[test]
    fn a_message_is_read_as_it_was_written((partition, message) in message(), behind in vec(any::<u8>(), 0..9)) {
        let mut bytes = Vec::new();
        encode(partition, &message, &mut bytes);
        let len = bytes.len();
        prop_assert!(len <= FRAME_HEADER_LEN + FRAME_BODY_LEN_MAX);
        for end in 0..len {
            prop_assert_eq!(decode(&bytes[..end], Phase::Open), Ok(None), "a part is no error");
        }
        bytes.extend(behind);
        let frame = Frame::Message { partition, message };
        prop_assert_eq!(decode(&bytes, Phase::Open), Ok(Some((frame, len))));
    }

    #[test]
    fn a_handshake_is_read_as_it_was_written(handshake in handshake()) {
        let mut bytes = Vec::new();
        encode_handshake(&handshake, &mut bytes);
        prop_assert!(bytes.len() <= FRAME_HEADER_LEN + HANDSHAKE_BODY_LEN_MAX);
        prop_assert_eq!(decode(&bytes, Phase::Handshake), Ok(Some((Frame::Handshake(handshake), bytes.len()))));
        let is_out_of_place = matches!(decode(&bytes, Phase::Open), Err(FrameError::Kind { .. }));
        prop_assert!(is_out_of_place);
    }

    #[test]
    fn a_flipped_bit_is_noticed((partition, message) in message(), at in any::<prop::sample::Index>(), bit in 0_u32..8) {
        let mut bytes = Vec::new();
        encode(partition, &message, &mut bytes);
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        // A flip in the length may ask for more bytes; these come, and the checksum is wrong.
        bytes.resize(bytes.len() + FRAME_BODY_LEN_MAX, 0);
        prop_assert!(decode(&bytes, Phase::Open).is_err());
    }

    #[test]
    fn a_body_of_any_bytes_is_what_it_encodes_to(kind in 0_u8..32, body in vec(any::<u8>(), 0..300), epoch: u32) {
        for phase in [Phase::Handshake, Phase::Open] {
            let bytes = framed(kind, epoch, &body);
            if let Ok(Some((frame, len))) = decode(&bytes, phase) {
                prop_assert_eq!(len, bytes.len());
                let mut again = Vec::new();
                match &frame {
                    Frame::Message { partition, message } => encode(*partition, message, &mut again),
                    Frame::Handshake(handshake) => encode_handshake(handshake, &mut again),
                    Frame::Alive => encode_alive(&mut again),
                }
                prop_assert_eq!(again, bytes);
            }
        }
    }
}

/// A frame with the right length and checksum around any body.
fn framed(kind: u8, epoch: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::from(u32::try_from(body.len()).unwrap().to_le_bytes());
    bytes.extend([kind, 0, 0, 0]);
    bytes.extend(if kind < 16 { [0; 4] } else { epoch.to_le_bytes() });
    bytes.extend([0; 4]);
    bytes.extend(body);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..12]);
    hasher.update(body);
    let sum = hasher.finalize().to_le_bytes();
    bytes[12..16].copy_from_slice(&sum);
    bytes
}

#[test]
fn a_length_is_checked_before_anything_is_waited_for() {
    let mut header = [0; FRAME_HEADER_LEN];
    header[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    let too_long = |max| Err(FrameError::TooLong { len: u32::MAX, max });
    assert_eq!(decode(&header, Phase::Open), too_long(FRAME_BODY_LEN_MAX));
    assert_eq!(decode(&header, Phase::Handshake), too_long(HANDSHAKE_BODY_LEN_MAX));
}

#[test]
fn before_the_handshake_no_message_is_read() {
    let message = Message { epoch: Epoch::new(1), body: Body::Refuse(Refusal::Stale) };
    let mut bytes = Vec::new();
    encode(PartitionId::new(0), &message, &mut bytes);
    assert_eq!(decode(&bytes, Phase::Handshake), Err(FrameError::Kind { kind: 26 }));
}

#[test]
fn fields_that_contradict_each_other_are_refused() {
    let bad = |kind: u8, fields: &[u64]| {
        let body: Vec<u8> = fields.iter().flat_map(|field| field.to_le_bytes()).collect();
        assert_eq!(decode(&framed(kind, 1, &body), Phase::Open), Err(FrameError::Body { kind }), "{fields:?}");
    };
    bad(22, &[32, 32, 0]); // An empty range,
    bad(22, &[0, RANGE_LEN_MAX + 1, 0]); // one that is too long,
    bad(22, &[u64::MAX - 15, u64::MAX, 0]); // and one beyond every log.
    bad(23, &[16, 32, 0]); // Flushed, but not received.
    bad(20, &[64, 1, 64]); // A cut at the end.
    bad(26, &[1, 5]); // A refusal with a position that it does not have.
    bad(17, &[0, 0, 64, 32, 32, 0]); // A log that ends before it starts.
    bad(17, &[0, 0, 0, 64, 64, 1 << 32]); // One epoch named, none there.
}

#[test]
fn a_sign_of_life_is_a_bare_header_after_the_handshake() {
    let mut bytes = Vec::new();
    encode_alive(&mut bytes);
    assert_eq!(decode(&bytes, Phase::Open), Ok(Some((Frame::Alive, FRAME_HEADER_LEN))));
    assert_eq!(decode(&bytes, Phase::Handshake), Err(FrameError::Kind { kind: 15 }));
    assert_eq!(decode(&framed(15, 0, &[0]), Phase::Open), Err(FrameError::Body { kind: 15 }), "without a body");
}

#[test]
fn both_sides_have_to_share_cluster_mode_version_and_features() {
    let opening = Opening {
        version_min: 1,
        version_max: 3,
        mode: Mode::SharedNothing,
        features: 0b110,
        features_required: 0b010,
        cluster: ClusterId([1; 16]),
        replica: ReplicaId::new(1),
        nonce: [0; NONCE_LEN],
    };
    let with = |opening: Opening, features, required| {
        agree(&opening, ClusterId([1; 16]), Mode::SharedNothing, features, required)
    };
    assert_eq!(with(opening, 0b011, 0b010), Ok((VERSION, 0b010)));
    assert_eq!(with(opening, 0b100, 0), Err(Rejection::Features), "they require what is not known here");
    assert_eq!(with(opening, 0b011, 0b001), Err(Rejection::Features), "we require what is not known there");
    for (version_min, version_max) in [(1, VERSION - 1), (VERSION + 1, VERSION + 1)] {
        let other = Opening { version_min, version_max, ..opening };
        assert_eq!(with(other, 0b010, 0), Err(Rejection::Version(Versions::OWN)));
    }
    assert_eq!(with(Opening { mode: Mode::SharedMemory, ..opening }, 0b010, 0), Err(Rejection::Mode));
    let other = Opening { cluster: ClusterId([2; 16]), mode: Mode::SharedMemory, version_min: 3, ..opening };
    assert_eq!(with(other, 0b010, 0), Err(Rejection::Cluster), "the cluster comes first");
}

/// The table of messages in the documentation has the kinds and lengths that are sent.
#[test]
fn messages_have_the_kinds_and_lengths_that_are_documented() {
    let end = LogEnd { lsn: Lsn::new(32), chain: Chain::new(1) };
    let position = Position::default();
    let (cluster, partition, zero) = (ClusterId([0; 16]), PartitionId::new(0), Lsn::ZERO);
    let epochs = Vec::new();
    let bodies = [
        Body::Heartbeat(Heartbeat { cluster, partition, committed: zero, sent: zero, at: Moment::new(0) }),
        Body::Hello(Hello {
            cluster,
            partition,
            start: zero,
            end: zero,
            chain: Chain::new(0),
            epochs,
            epochs_end: zero,
            has_older: false,
        }),
        Body::OlderEpochs { before: Epoch::ZERO },
        Body::Resume(end),
        Body::Cut { end, to: zero },
        Body::Restart { end, start: zero, start_chain: Chain::new(0), common: None },
        Body::Bytes { from: zero, to: Lsn::new(16), committed: zero },
        Body::Ack(Ack::default()),
        Body::PromiseRequest(PromiseRequest { cluster, partition, position }),
        Body::Promise { position },
        Body::Refuse(Refusal::Stale),
    ];
    let docs = include_str!("../../../../docs/replication.md");
    for (kind, body) in (16_u8..).zip(bodies) {
        let mut bytes = Vec::new();
        encode(partition, &Message { epoch: Epoch::ZERO, body }, &mut bytes);
        assert_eq!(bytes[4], kind);
        let row = docs.lines().find(|line| line.starts_with(&alloc::format!("| {kind} | `"))).unwrap();
        let documented = row.split('|').nth(4).unwrap().split_whitespace().next().unwrap();
        assert_eq!(documented, alloc::format!("{}", bytes.len() - FRAME_HEADER_LEN), "{row}");
    }
}

#[test]
fn a_node_that_refuses_a_version_says_which_it_speaks() {
    // What version 1 said of it: nothing.
    let mut body = [0; 8];
    body[0] = 1;
    let read = |body: &[u8]| match decode(&framed(5, 0, body), Phase::Handshake) {
        Ok(Some((Frame::Handshake(Handshake::Rejected(rejection)), _))) => Some(alloc::format!("{rejection}")),
        _ => None,
    };
    assert!(read(&body).unwrap().starts_with("it speaks version 1 of"));
    (body[2], body[4]) = (3, 5);
    assert!(read(&body).unwrap().starts_with("it speaks versions 3 to 5 of"));
    (body[2], body[4]) = (5, 3);
    assert_eq!(read(&body), None, "the oldest is not above the newest");
}
