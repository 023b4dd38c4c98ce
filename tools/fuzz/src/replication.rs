//! The replication wire and the replica behind it, from any bytes: no panic, what is accepted encodes to the bytes
//! that it was read from, and no stranger's bytes make a replica promise, cut or commit without its superblock.
//!
//! The input is a row of pieces, each a length byte and so many bytes: a kind, an epoch, a body. Random bytes hardly
//! ever have the right checksum, so each piece is also tried with its header mended: that is what reaches the replica.
use windrow_core::{
    codec::Chain,
    replication::{
        CommitRule, Config, LogState, Message, Moment, Output, Promised, Promotion, Replica, ReplicaId, Verified,
    },
    types::{ClusterId, Epoch, Lsn, PartitionId},
};
use windrow_proto::replication::{Frame, Phase, decode, encode, encode_alive, encode_handshake};

/// Tries one input.
pub fn replication(data: &[u8]) {
    for phase in [Phase::Handshake, Phase::Open] {
        check(data, phase);
    }
    let mut replica = replica();
    let (mut rest, mut now) = (data, 0);
    while let Some((&len, tail)) = rest.split_first() {
        let (piece, tail) = tail.split_at(usize::from(len).min(tail.len()));
        rest = tail;
        now += 7;
        let frame = mend(piece);
        for phase in [Phase::Handshake, Phase::Open] {
            if let Some(message) = check(&frame, phase) {
                replica.handle_message(Moment::new(now), ReplicaId::new(2 + now % 2), message);
            }
        }
        match now % 5 {
            0 => replica.handle_tick(Moment::new(now * 50)),
            1 => drop(replica.handle_promote(Promotion::Safe)),
            _ => {}
        }
        drive(&mut replica, now);
    }
}

/// What is accepted encodes to the bytes that it was read from.
fn check(bytes: &[u8], phase: Phase) -> Option<Message> {
    let (frame, len) = decode(bytes, phase).ok().flatten()?;
    let mut again = Vec::new();
    match &frame {
        Frame::Message { partition, message } => encode(*partition, message, &mut again),
        Frame::Handshake(handshake) => encode_handshake(handshake, &mut again),
        Frame::Alive => encode_alive(&mut again),
    }
    assert_eq!(again, bytes[..len]);
    match frame {
        Frame::Message { message, .. } => Some(message),
        Frame::Handshake(_) | Frame::Alive => None,
    }
}

/// A frame around a piece: its first byte is the kind, the second the epoch, the rest the body.
pub(crate) fn mend(piece: &[u8]) -> Vec<u8> {
    let (kind, epoch) = (piece.first().copied().unwrap_or(0), piece.get(1).copied().unwrap_or(0));
    let kind = if kind < 16 { kind } else { 16 + kind % 11 };
    let body = piece.get(2..).unwrap_or_default();
    let mut frame = Vec::from(u32::try_from(body.len()).expect("a piece is short").to_le_bytes());
    frame.extend([kind, 0, 0, 0, if kind < 16 { 0 } else { epoch }, 0, 0, 0]);
    frame.extend([0; 4]);
    frame.extend(body);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&frame[..12]);
    hasher.update(body);
    let sum = hasher.finalize().to_le_bytes();
    frame[12..16].copy_from_slice(&sum);
    frame
}

/// A voter of three that holds 64 bytes of epoch 1, in the cluster whose name is all zeros.
fn replica() -> Replica {
    let config = Config {
        cluster: ClusterId([0; 16]),
        partition: PartitionId::new(0),
        id: ReplicaId::new(1),
        voters: (1..=3).map(ReplicaId::new).collect(),
        learners: Vec::new(),
        rule: CommitRule::Quorum,
        window_len: 4096,
        heartbeat_ms: 10,
        lease_ms: 100,
        lease_margin_ms: 10,
        retry_ms: 10,
    };
    let mut log = LogState::empty(Chain::new(0));
    log.history.note(Epoch::new(1), Lsn::ZERO);
    (log.end, log.durable) = (Lsn::new(64), Lsn::new(64));
    let promised = Promised { promised: Epoch::new(1), epoch: Epoch::new(1), floor: None };
    Replica::new(config, log, promised, Moment::new(0)).expect("a sound configuration")
}

/// Does at once what the replica asks for.
fn drive(replica: &mut Replica, now: u64) {
    let now = Moment::new(now);
    let mut durable = replica.current_epoch();
    while let Some(output) = replica.poll_output() {
        match output {
            Output::Send { message, .. } => assert!(message.epoch <= durable.max(replica.current_epoch())),
            Output::WriteSuperblock { ticket, promised } => {
                assert!(promised.promised >= durable, "a promise is never taken back");
                durable = promised.promised;
                replica.handle_superblock_written(now, ticket);
            }
            Output::Receive { upto, .. } => {
                let end = replica.log().end;
                let chain = Chain::new(u32::try_from(upto.get() & 0xFFFF).expect("masked"));
                if upto > end {
                    replica.handle_received(&[Verified { epoch: replica.current_epoch(), end: upto, chain }]);
                }
            }
            Output::Flush { upto } => replica.handle_durable(upto),
            Output::Cut { to } => replica.handle_cut(now, to, Chain::new(0)),
            Output::Reset { start, .. } => replica.handle_reset(now, start),
            Output::LookUpChain { peer, at } => replica.handle_chain(peer, at, Some(Chain::new(0))),
            Output::Lead { .. } => {
                let end = replica.log().end.plus(64);
                replica.handle_appended(end, Chain::new(1));
                replica.handle_durable(end);
            }
            Output::Committed { upto } => assert!(upto <= replica.log().end, "only what is in the log is committed"),
            Output::Ship { from, upto, .. } => assert!(from < upto && upto <= replica.log().end),
            _ => {}
        }
    }
}
