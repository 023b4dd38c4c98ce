//! The bodies of messages.

use alloc::vec::Vec;

use windrow_core::codec::Chain;
use windrow_core::replication::limits::{EPOCHS_IN_HELLO_MAX, RANGE_LEN_MAX};
use windrow_core::replication::{
    Ack, Body, EpochStart, Heartbeat, Hello, LogEnd, Moment, Position, PromiseRequest, Refusal,
};
use windrow_core::types::{ClusterId, Epoch, Lsn, PartitionId};

use super::cursor::{Reader, Writer};

const HEARTBEAT: u8 = 16;
const HELLO: u8 = 17;
const OLDER_EPOCHS: u8 = 18;
const RESUME: u8 = 19;
const CUT: u8 = 20;
const RESTART: u8 = 21;
const BYTES: u8 = 22;
const ACK: u8 = 23;
const PROMISE_REQUEST: u8 = 24;
const PROMISE: u8 = 25;
const REFUSE: u8 = 26;
const TAKE_OVER: u8 = 27;

const HAS_OLDER: u16 = 1;
/// In place of an LSN that the leader does not know.
const UNKNOWN: u64 = u64::MAX;

pub(super) const fn is_kind(kind: u8) -> bool {
    matches!(kind, HEARTBEAT..=TAKE_OVER)
}

pub(super) const fn kind(body: &Body) -> u8 {
    match body {
        Body::Heartbeat(_) => HEARTBEAT,
        Body::Hello(_) => HELLO,
        Body::OlderEpochs { .. } => OLDER_EPOCHS,
        Body::Resume(_) => RESUME,
        Body::Cut { .. } => CUT,
        Body::Restart { .. } => RESTART,
        Body::Bytes { .. } => BYTES,
        Body::Ack(_) => ACK,
        Body::PromiseRequest(_) => PROMISE_REQUEST,
        Body::Promise { .. } => PROMISE,
        Body::Refuse(_) => REFUSE,
        Body::TakeOver => TAKE_OVER,
    }
}

pub(super) fn encode(body: &Body, out: &mut Writer<'_>) {
    match body {
        Body::Heartbeat(beat) => {
            out.bytes(&beat.cluster.0).u64(beat.committed.get()).u64(beat.sent.get()).u64(beat.at.get());
        }
        Body::Hello(hello) => encode_hello(hello, out),
        Body::OlderEpochs { before } => {
            out.u32(before.get()).u32(0);
        }
        Body::Resume(end) => log_end(end, out),
        Body::Cut { end, to } => {
            log_end(end, out);
            out.u64(to.get());
        }
        Body::Restart { end, start, start_chain, common } => {
            log_end(end, out);
            out.u64(start.get()).u32(start_chain.get()).u32(0).u64(common.map_or(UNKNOWN, Lsn::get));
        }
        Body::Bytes { from, to, committed } => {
            assert!(to > from && to.since(*from) <= RANGE_LEN_MAX, "a range stays within its bounds");
            out.u64(from.get()).u64(to.get()).u64(committed.get());
        }
        Body::Ack(ack) => {
            out.u64(ack.received.get()).u64(ack.flushed.get()).u64(ack.at.get());
        }
        Body::PromiseRequest(request) => {
            out.bytes(&request.cluster.0);
            position(request.position, out);
        }
        Body::Promise { position: at } => position(*at, out),
        Body::Refuse(refusal) => encode_refusal(refusal, out),
        Body::TakeOver => {}
    }
}

fn log_end(end: &LogEnd, out: &mut Writer<'_>) {
    out.u64(end.lsn.get()).u32(end.chain.get()).u32(0);
}

fn position(position: Position, out: &mut Writer<'_>) {
    out.u32(position.epoch.get()).u32(0).u64(position.lsn.get());
}

fn encode_hello(hello: &Hello, out: &mut Writer<'_>) {
    assert!(hello.epochs.len() <= EPOCHS_IN_HELLO_MAX, "a Hello stays within its bounds");
    let count = u16::try_from(hello.epochs.len()).expect("checked above");
    out.bytes(&hello.cluster.0).u64(hello.start.get()).u64(hello.end.get()).u64(hello.epochs_end.get());
    out.u32(hello.chain.get()).u16(count).u16(if hello.has_older { HAS_OLDER } else { 0 });
    for entry in &hello.epochs {
        out.u32(entry.epoch.get()).u32(0).u64(entry.start.get());
    }
}

fn encode_refusal(refusal: &Refusal, out: &mut Writer<'_>) {
    let (code, epoch, lsn) = match *refusal {
        Refusal::Stale => (1, Epoch::ZERO, Lsn::ZERO),
        Refusal::OtherCluster => (2, Epoch::ZERO, Lsn::ZERO),
        Refusal::TwoLeaders { epoch } => (3, epoch, Lsn::ZERO),
        Refusal::EmptyCandidate => (4, Epoch::ZERO, Lsn::ZERO),
        Refusal::Blank => (5, Epoch::ZERO, Lsn::ZERO),
        Refusal::Longer(at) => (6, at.epoch, at.lsn),
        Refusal::LeaseRunning => (7, Epoch::ZERO, Lsn::ZERO),
        Refusal::NotAVoter => (8, Epoch::ZERO, Lsn::ZERO),
        Refusal::WouldLoseCommitted { committed } => (9, Epoch::ZERO, committed),
    };
    out.u16(code).u16(0).u32(epoch.get()).u64(lsn.get());
}

/// Reads a body. `None` where it does not have the layout of its kind, or its fields contradict each other.
pub(super) fn decode(kind: u8, partition: PartitionId, body: &[u8]) -> Option<Body> {
    let mut reader = Reader(body);
    let body = match kind {
        HEARTBEAT => Body::Heartbeat(Heartbeat {
            cluster: ClusterId(reader.array()?),
            partition,
            committed: lsn(&mut reader)?,
            sent: lsn(&mut reader)?,
            at: Moment::new(reader.u64()?),
        }),
        HELLO => Body::Hello(decode_hello(partition, &mut reader)?),
        OLDER_EPOCHS => Body::OlderEpochs { before: padded_epoch(&mut reader)? },
        RESUME => Body::Resume(decode_log_end(&mut reader)?),
        CUT => {
            let (end, to) = (decode_log_end(&mut reader)?, lsn(&mut reader)?);
            (to < end.lsn).then_some(Body::Cut { end, to })?
        }
        RESTART => {
            let end = decode_log_end(&mut reader)?;
            let LogEnd { lsn: start, chain: start_chain } = decode_log_end(&mut reader)?;
            let common = match reader.u64()? {
                UNKNOWN => None,
                known => Some(position_of_log(known)?),
            };
            Body::Restart { end, start, start_chain, common }
        }
        BYTES => {
            let (from, to, committed) = (lsn(&mut reader)?, lsn(&mut reader)?, lsn(&mut reader)?);
            let is_sound = to > from && to.since(from) <= RANGE_LEN_MAX;
            is_sound.then_some(Body::Bytes { from, to, committed })?
        }
        ACK => {
            let (received, flushed) = (lsn(&mut reader)?, lsn(&mut reader)?);
            let at = Moment::new(reader.u64()?);
            (flushed <= received).then_some(Body::Ack(Ack { received, flushed, at }))?
        }
        PROMISE_REQUEST => Body::PromiseRequest(PromiseRequest {
            cluster: ClusterId(reader.array()?),
            partition,
            position: decode_position(&mut reader)?,
        }),
        PROMISE => Body::Promise { position: decode_position(&mut reader)? },
        REFUSE => Body::Refuse(decode_refusal(&mut reader)?),
        TAKE_OVER => Body::TakeOver,
        _ => return None,
    };
    reader.end()?;
    Some(body)
}

fn lsn(reader: &mut Reader<'_>) -> Option<Lsn> {
    reader.u64().and_then(position_of_log)
}

/// Room for a window beyond every position, so that no sum of positions overflows.
fn position_of_log(bytes: u64) -> Option<Lsn> {
    (bytes <= u64::MAX >> 1).then_some(Lsn::new(bytes))
}

fn padded_epoch(reader: &mut Reader<'_>) -> Option<Epoch> {
    let epoch = Epoch::new(reader.u32()?);
    reader.zero::<4>()?;
    Some(epoch)
}

fn decode_position(reader: &mut Reader<'_>) -> Option<Position> {
    Some(Position { epoch: padded_epoch(reader)?, lsn: lsn(reader)? })
}

fn decode_log_end(reader: &mut Reader<'_>) -> Option<LogEnd> {
    let end = LogEnd { lsn: lsn(reader)?, chain: Chain::new(reader.u32()?) };
    reader.zero::<4>()?;
    Some(end)
}

fn decode_hello(partition: PartitionId, reader: &mut Reader<'_>) -> Option<Hello> {
    let cluster = ClusterId(reader.array()?);
    let (start, end, epochs_end) = (lsn(reader)?, lsn(reader)?, lsn(reader)?);
    let chain = Chain::new(reader.u32()?);
    let count = usize::from(reader.u16()?);
    let flags = reader.u16().filter(|&flags| flags & !HAS_OLDER == 0)?;
    if count > EPOCHS_IN_HELLO_MAX || start > end || epochs_end > end {
        return None;
    }
    let mut epochs: Vec<EpochStart> = Vec::with_capacity(count);
    for _ in 0..count {
        let entry = EpochStart { epoch: padded_epoch(reader)?, start: lsn(reader)? };
        let is_next = epochs.last().is_none_or(|last| last.epoch < entry.epoch && last.start < entry.start);
        (is_next && entry.start < epochs_end).then_some(())?;
        epochs.push(entry);
    }
    let has_older = flags & HAS_OLDER != 0;
    Some(Hello { cluster, partition, start, end, chain, epochs, epochs_end, has_older })
}

fn decode_refusal(reader: &mut Reader<'_>) -> Option<Refusal> {
    let code = reader.u16()?;
    reader.zero::<2>()?;
    let (epoch, lsn) = (Epoch::new(reader.u32()?), lsn(reader)?);
    let refusal = match code {
        1 => Refusal::Stale,
        2 => Refusal::OtherCluster,
        3 => Refusal::TwoLeaders { epoch },
        4 => Refusal::EmptyCandidate,
        5 => Refusal::Blank,
        6 => Refusal::Longer(Position { epoch, lsn }),
        7 => Refusal::LeaseRunning,
        8 => Refusal::NotAVoter,
        9 => Refusal::WouldLoseCommitted { committed: lsn },
        _ => return None,
    };
    let has_epoch = matches!(refusal, Refusal::TwoLeaders { .. } | Refusal::Longer(_));
    let has_lsn = matches!(refusal, Refusal::Longer(_) | Refusal::WouldLoseCommitted { .. });
    let is_plain = (has_epoch || epoch == Epoch::ZERO) && (has_lsn || lsn == Lsn::ZERO);
    is_plain.then_some(refusal)
}
