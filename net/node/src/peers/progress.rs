//! One round of a core: what has come is handed on, and what waits is sent, as far as the sockets are ready.

use std::io::{self, IoSlice};
use std::ops::Range as Bytes;
use std::time::Instant;

use windrow_proto::replication::{FRAME_HEADER_LEN, Frame, Handshake, Phase, decode, encode_handshake};

use super::config::LargeWay;
use super::connection::{Connection, Stage, Why};
use super::counters::WireCounters;
use super::handshake::{HandshakeError, Handshaking, Progress};
use super::host::Host;
use super::input::{Broken, Context, Stopped};
use super::limits::{LARGE_LEN_MIN, ROUND_LEN_MAX};
use super::stream::{Done, slices};
use super::transport::{Transport, ticket};
use crate::auth::random_bytes;
use crate::ring::{ConnId, Interest, Part, Ring};

const PAGE: usize = 4 << 10;

/// Whether a part goes out by itself, without a copy.
fn goes_apart(part: &Part, way: LargeWay) -> bool {
    let Part::Mapped(piece) = part else { return false };
    let is_there = match way {
        LargeWay::Gathered => false,
        LargeWay::ZeroCopy => true,
        // What has not been flushed yet may be in this process's memory only.
        LargeWay::SendFile => piece.segment().is_in_file(piece.range()),
    };
    is_there && piece.len() >= LARGE_LEN_MIN
}

/// How sending came to an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sent {
    /// There is nothing more, or something must come back from the ring first.
    All,
    /// The socket is full.
    Full,
    /// Enough for this round.
    Enough,
}

impl Transport {
    /// Once in every round of the core, after its completions. Returns whether there is more to do at once.
    pub fn run(&mut self, ring: &mut Ring, host: &mut impl Host, now: Instant) -> bool {
        let mut busy = false;
        self.note_time(now);
        self.obey(ring, host, now);
        let mut ids = self.take_ids();
        for &id in &ids {
            busy |= self.receive(id, ring, host, now);
        }
        for id in ids.drain(..) {
            busy |= self.transmit(id, ring, host, now);
        }
        self.give_ids_back(ids);
        busy
    }

    /// Takes a connection as far as what has come allows.
    pub(super) fn receive(&mut self, id: ConnId, ring: &mut Ring, host: &mut impl Host, now: Instant) -> bool {
        let Some(connection) = self.slab.get_mut(id) else { return false };
        let result = match connection.stage {
            Stage::Connecting(link) => self.finish_connecting(id, link).map(|()| false),
            Stage::Handshake(..) => self.shake_hands(id, ring, host, now),
            Stage::Open(..) => self.receive_messages(id, ring, host, now),
        };
        let busy = result.unwrap_or_else(|why| {
            self.end(id, &why, ring, host, now);
            false
        });
        self.obey(ring, host, now);
        if let Some(connection) = self.slab.get_mut(id) {
            if connection.input.take_heard() {
                connection.heard = now;
            }
            if !busy && !connection.paused && !matches!(connection.stage, Stage::Connecting(_)) {
                connection.wait(ring, Interest::Read);
            }
        }
        busy
    }

    /// The connection may be there.
    fn finish_connecting(&mut self, id: ConnId, link: usize) -> Result<(), Why> {
        let now = self.now();
        let Some(connection) = self.slab.get_mut(id) else { return Ok(()) };
        if connection.is_waiting(Interest::Write) {
            return Ok(());
        }
        let io = |error: io::Error| Why::Broken(Broken::Io(error));
        connection.stream.connected().map_err(io)?;
        let nonce = random_bytes().map_err(io)?;
        let (handshaking, opening) = Handshaking::connecting(&self.own, self.links[link].replica, nonce);
        connection.outgoing.push_frame(|frames| encode_handshake(&opening, frames));
        connection.stage = Stage::Handshake(handshaking, Some(link));
        connection.opened = now;
        Ok(())
    }

    /// Goes on with the handshake. Returns whether it is over, and messages may have come already.
    fn shake_hands(&mut self, id: ConnId, ring: &mut Ring, host: &mut impl Host, now: Instant) -> Result<bool, Why> {
        while let Some(connection) = self.slab.get_mut(id)
            && let Stage::Handshake(handshaking, link) = &mut connection.stage
        {
            let dialled = link.is_some();
            let decoded = decode(connection.input.held(), Phase::Handshake).map_err(HandshakeError::from)?;
            let Some((frame, len)) = decoded else {
                if connection.input.read(&connection.stream)? {
                    continue;
                }
                return Ok(false);
            };
            let Frame::Handshake(frame) = frame else { return Err(HandshakeError::OutOfTurn.into()) };
            let progress = handshaking.handle(&self.own, &frame, &connection.input.held()[FRAME_HEADER_LEN..len]);
            connection.input.consume(len);
            // Nobody speaks out of turn; but behind the last frame, which goes to whoever connected, messages follow.
            let may_follow = match progress {
                Progress::Known(..) => dialled,
                Progress::Reply(_) => false,
                Progress::Failed(..) => true,
            };
            if !may_follow && !connection.input.held().is_empty() {
                return Err(HandshakeError::OutOfTurn.into());
            }
            let mut say = |reply: &Handshake| connection.outgoing.push_frame(|frames| encode_handshake(reply, frames));
            match progress {
                Progress::Reply(reply) => say(&reply),
                Progress::Known(peer, last) => {
                    if let Some(last) = last {
                        say(&last);
                    }
                    self.known(id, peer, ring, host, now);
                }
                Progress::Failed(error, last) => {
                    if let Some(last) = last {
                        say(&last);
                        self.transmit(id, ring, host, now);
                    }
                    return Err(error.into());
                }
            }
        }
        Ok(true)
    }

    fn receive_messages(
        &mut self,
        id: ConnId,
        ring: &mut Ring,
        host: &mut impl Host,
        now: Instant,
    ) -> Result<bool, Why> {
        let mut budget = ROUND_LEN_MAX;
        loop {
            let Self { slab, own, partitions, counters, outbox, .. } = self;
            let Some(connection) = slab.get_mut(id) else { return Ok(false) };
            let Stage::Open(peer, _) = connection.stage else { return Ok(false) };
            if connection.paused {
                return Ok(false);
            }
            let stream = &connection.stream;
            let mut context = Context { own, stream, peer, partitions, host, outbox, counters };
            let stopped = connection.input.progress(&mut context, &mut budget)?;
            match stopped {
                Stopped::Commands => self.obey(ring, host, now),
                Stopped::NoRoom => {
                    connection.paused = true;
                    // The driver may have said so in the same breath.
                    self.obey(ring, host, now);
                }
                Stopped::Drained => return Ok(false),
                Stopped::Enough => return Ok(true),
            }
        }
    }

    /// Sends what waits, as far as the socket takes it.
    fn transmit(&mut self, id: ConnId, ring: &mut Ring, host: &mut impl Host, now: Instant) -> bool {
        let Some(connection) = self.slab.get_mut(id) else { return false };
        if matches!(connection.stage, Stage::Connecting(_)) || connection.is_waiting(Interest::Write) {
            return false;
        }
        let large = self.large;
        match send_batches(connection, large, &self.counters, ring, host, now) {
            Ok(Sent::All) => false,
            Ok(Sent::Full) => {
                connection.wait(ring, Interest::Write);
                false
            }
            Ok(Sent::Enough) => true,
            Err(error) => {
                self.end(id, &Why::Broken(Broken::Io(error)), ring, host, now);
                self.obey(ring, host, now);
                // What the driver had to say about that may be for others, whose turn is over.
                true
            }
        }
    }

    /// The ring has sent a piece, or could not.
    pub(super) fn sent_zero_copy(&mut self, id: ConnId, result: io::Result<usize>, copied: bool) {
        let now = self.now();
        let Some(connection) = self.slab.get_mut(id) else { return };
        connection.with_ring = false;
        match result {
            Ok(len) => {
                let counters = &self.counters;
                let way = if copied { &counters.sent_zero_copy_copied_bytes } else { &counters.sent_zero_copy_bytes };
                way.add(len as u64);
                connection.batch.advance(len);
                connection.spoke = now;
            }
            // Too little memory may be locked, or this socket cannot do it: it goes the ordinary way from now on. What
            // else there may be, the next write meets, too.
            Err(error) => {
                if self.large == LargeWay::ZeroCopy {
                    self.large = LargeWay::SendFile;
                    tracing::warn!(
                        %error,
                        "SEND_ZC does not work: large ranges go out by sendfile from now on. To use it, raise the \
                         locked-memory limit (`ulimit -l`)"
                    );
                }
            }
        }
    }
}

/// Sends batch after batch.
fn send_batches(
    connection: &mut Connection,
    large: LargeWay,
    counters: &WireCounters,
    ring: &mut Ring,
    host: &mut impl Host,
    now: Instant,
) -> io::Result<Sent> {
    let mut budget = ROUND_LEN_MAX;
    loop {
        if connection.with_ring {
            return Ok(Sent::All);
        }
        if connection.batch.is_empty() {
            if let Some(bounds) = connection.pace.end(now, || connection.stream.path().ok()) {
                connection.stream.bound(bounds);
            }
            connection.batch = connection.outgoing.next_batch(
                connection.pace.len(),
                connection.cold_reads > 0,
                |partition, range| host.piece(partition, range.epoch, range.from, range.upto),
                || counters.messages_dropped.increment(),
            );
            if connection.batch.is_empty() {
                connection.pace.idle();
                return Ok(Sent::All);
            }
            if connection.batch.may_be_cold && reads_cold(connection, counters, ring) {
                let batch = std::mem::take(&mut connection.batch);
                connection.outgoing.put_aside(batch);
                continue;
            }
            connection.pace.begin(connection.batch.len(), now);
            counters.ranges_sent.add(connection.batch.ranges);
        }
        if budget == 0 {
            return Ok(Sent::Enough);
        }
        match send_some(connection, large, counters, budget, ring)? {
            Done::NotReady => return Ok(Sent::Full),
            Done::Ended => return Ok(Sent::All),
            Done::Some(len) => {
                connection.spoke = now;
                connection.batch.advance(len);
                budget = budget.saturating_sub(len);
            }
        }
    }
}

/// Sends some of the batch. [`Done::Ended`]: the ring does.
fn send_some(
    connection: &mut Connection,
    large: LargeWay,
    counters: &WireCounters,
    budget: usize,
    ring: &mut Ring,
) -> io::Result<Done> {
    let (batch, stream) = (&connection.batch, &connection.stream);
    if !batch.is_there() {
        return Err(io::Error::other("the log was cut while a range of it was being sent"));
    }
    let apart = |part: &Part| goes_apart(part, large);
    match batch.parts.front() {
        Some(Part::Mapped(piece)) if apart(&batch.parts[0]) => {
            if large == LargeWay::ZeroCopy {
                let range = piece.range();
                let rest = crate::ring::Mapped::new(piece.segment().clone(), range.start + batch.offset..range.end);
                ring.send_zero_copy(connection.id, std::os::fd::AsFd::as_fd(stream), rest)?;
                connection.with_ring = true;
                return Ok(Done::Ended);
            }
            let done = stream.send_file(piece, batch.offset, budget)?;
            match done {
                Done::Some(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                Done::Some(len) => {
                    counters.sent_file_bytes.add(len as u64);
                    Ok(done)
                }
                done => Ok(done),
            }
        }
        _ => {
            let mut gathered: Vec<IoSlice<'_>> = Vec::with_capacity(batch.parts.len());
            slices(batch.parts.iter(), batch.offset, apart, &mut gathered);
            let more = gathered.len() < batch.parts.len();
            let done = stream.write(&gathered, more, connection.pace.is_held())?;
            if let Done::Some(len) = done {
                counters.sent_gathered_bytes.add(batch.mapped_within(len) as u64);
            }
            Ok(done)
        }
    }
}

/// Has the pieces of the batch that are not in memory read first. Returns whether there are any.
fn reads_cold(connection: &mut Connection, counters: &WireCounters, ring: &mut Ring) -> bool {
    for part in &connection.batch.parts {
        let Part::Mapped(piece) = part else { continue };
        if !piece.segment().is_resident(piece.range()) {
            let Bytes { start, end } = piece.range();
            connection.cold_reads += 1;
            counters.sent_cold_bytes.add((end - start) as u64);
            ring.read(ticket(connection.id), piece.segment().clone(), start - start % PAGE..end);
        }
    }
    connection.cold_reads > 0
}

#[cfg(test)]
mod tests {
    use windrow_core::log::SegmentMemory;
    use windrow_core::types::Lsn;
    use windrow_store::{FillMode, create_segment};

    use super::*;
    use crate::ring::Mapped;

    #[test]
    fn the_file_is_sent_only_as_far_as_it_has_been_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut segment = create_segment(dir.path(), Lsn::ZERO, 1 << 20, FillMode::Direct).unwrap();
        segment.write(0..2 * LARGE_LEN_MIN).fill(7);
        segment.publish(LARGE_LEN_MIN);
        let view = segment.share();
        let goes = |range, way| goes_apart(&Part::Mapped(Mapped::new(view.clone(), range)), way);
        let ways = [LargeWay::SendFile, LargeWay::ZeroCopy, LargeWay::Gathered];
        assert_eq!(ways.map(|way| goes(0..LARGE_LEN_MIN, way)), [false, true, false], "it is in memory only");
        view.sync_data().unwrap();
        assert_eq!(ways.map(|way| goes(0..LARGE_LEN_MIN, way)), [true, true, false]);
        segment.publish(2 * LARGE_LEN_MIN);
        assert!(!goes(1..1 + LARGE_LEN_MIN, LargeWay::SendFile), "its end is not in the file");
        assert!(!goes(0..LARGE_LEN_MIN - 1, LargeWay::SendFile), "what is small is gathered");
    }
}
