//! One client connection.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use windrow_proto::limits::Limits as CommandLimits;
use windrow_proto::resp::Parser;

use super::limits::{ENDED_WAITS_WITHIN, Limits, OUTPUT_LEN_UNAUTHENTICATED_MAX};
use super::output::Output;
use crate::ring::ConnId;
use crate::shard::Session;

/// Whether the kernel is receiving for a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Receiving {
    /// It is.
    Armed,
    /// It was told to stop and has not said that it did.
    Stopping,
    /// It is not.
    Stopped,
}

/// Why a connection executes nothing for now, although it has sent commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stalled {
    /// Too many of its replies are waiting, or too many bytes of them.
    Replies,
    /// A command that has to wait: for space in the log, for another core, for the answer of all cores.
    Command,
}

/// Why a connection is closed by this side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Overdue {
    /// It has not authenticated in time, or not finished a command in time.
    Deadline,
    /// It was silent for too long.
    Idle,
    /// It does not read its replies.
    Output,
}

/// One client connection.
///
/// Its socket stays open until the kernel has neither a receive nor a send of it: `receiving` is stopped and `sending`
/// is false. An idle connection holds no buffers.
pub(crate) struct Connection {
    pub(crate) id: ConnId,
    socket: OwnedFd,
    pub(crate) session: Session,
    pub(crate) parser: Parser,
    /// Bytes received that have not been executed.
    pub(crate) input: Vec<u8>,
    /// How many bytes of input the command at its start needs at least.
    pub(crate) needed: usize,
    pub(crate) output: Output,
    pub(crate) receiving: Receiving,
    pub(crate) sending: bool,
    /// Bytes handed to the kernel that it has not sent.
    pub(crate) sending_len: usize,
    /// Those of them that do not lie in the log.
    pub(crate) sending_in_memory: usize,
    pub(crate) stalled: Option<Stalled>,
    /// The peer will send no more.
    pub(crate) ended: bool,
    /// Execute nothing more; close once all replies are sent.
    pub(crate) closing: bool,
    /// The connection is broken or given up: no reply will be sent any more.
    pub(crate) broken: bool,
    /// It is in the list of connections whose output may have something to send.
    pub(crate) dirty: bool,
    /// It is among those whose wait for a flush is over.
    pub(crate) woken: bool,
    /// It is registered to be woken when its front reply is committed.
    pub(crate) waiting: bool,
    /// When the command that is not yet whole began to arrive.
    command_began: Option<Instant>,
    /// Since when its output has been above the soft limit.
    output_soft_since: Option<Instant>,
}

impl Connection {
    pub(crate) fn new(id: ConnId, socket: OwnedFd, session: Session) -> Self {
        Self {
            id,
            socket,
            session,
            parser: Parser::new(),
            input: Vec::new(),
            needed: 1,
            output: Output::default(),
            receiving: Receiving::Stopped,
            sending: false,
            sending_len: 0,
            sending_in_memory: 0,
            stalled: None,
            ended: false,
            closing: false,
            broken: false,
            dirty: false,
            woken: false,
            waiting: false,
            command_began: None,
            output_soft_since: None,
        }
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// What one command of this client may look like.
    pub(crate) fn command_limits(&self) -> &'static CommandLimits {
        if self.session.authenticated { &CommandLimits::AUTHENTICATED } else { &CommandLimits::UNAUTHENTICATED }
    }

    /// Bytes of replies that this side has to keep.
    pub(crate) fn output_len(&self) -> usize {
        self.output.len() + self.sending_len
    }

    /// Whether there is nothing left to do but to close the socket.
    pub(crate) fn is_done(&self) -> bool {
        let answered = self.output.is_empty() && !self.sending;
        let read_all = self.closing || (self.ended && self.stalled.is_none());
        self.broken || (answered && read_all)
    }

    /// Notes after an execution whether part of a command is left over.
    pub(crate) fn note_partial(&mut self, partial: bool, now: Instant) {
        self.command_began = if partial { self.command_began.or(Some(now)) } else { None };
    }

    /// What is overdue at `now`, if anything.
    pub(crate) fn overdue(&mut self, now: Instant, limits: &Limits) -> Option<Overdue> {
        let output = self.output_len();
        if output > limits.output_soft_len {
            let since = *self.output_soft_since.get_or_insert(now);
            if now.duration_since(since) >= limits.output_soft_duration {
                return Some(Overdue::Output);
            }
        } else {
            self.output_soft_since = None;
        }
        let late = |since: Instant, within| now.duration_since(since) >= within;
        if !self.session.authenticated && late(self.session.connected, limits.authenticate_within) {
            return Some(Overdue::Deadline);
        }
        if self.stalled.is_none() && self.command_began.is_some_and(|since| late(since, limits.command_within)) {
            return Some(Overdue::Deadline);
        }
        if self.ended && self.stalled == Some(Stalled::Command) && late(self.session.last_active, ENDED_WAITS_WITHIN) {
            return Some(Overdue::Idle);
        }
        let idle = output == 0 && self.stalled.is_none();
        match limits.idle_timeout {
            Some(within) if idle && late(self.session.last_active, within) => Some(Overdue::Idle),
            _ => None,
        }
    }

    /// Whether its replies take more room than it may have.
    pub(crate) fn output_exceeds(&self, limits: &Limits) -> bool {
        if !self.session.authenticated {
            return self.output_len() > OUTPUT_LEN_UNAUTHENTICATED_MAX;
        }
        // One reply of all the length that it may have, beside almost as much as lets the next command be executed.
        let max = limits.output_len_max.saturating_add(limits.output_soft_len);
        self.output.len_in_memory() + self.sending_in_memory > max
    }

    /// Brings the figures that others may ask for up to date.
    pub(crate) fn note_traffic(&mut self) {
        let traffic = &mut self.session.traffic;
        traffic.input_len = self.input.len();
        traffic.output_len = self.output.len() + self.sending_len;
        traffic.replies_waiting = self.output.replies();
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

    use super::*;
    use crate::net::{Pool, Wait};

    const LIMITS: Limits = Limits {
        clients_max: 1,
        clients_per_address_max: None,
        output_len_max: 1_000,
        output_soft_len: 100,
        output_soft_duration: Duration::from_secs(3),
        authenticate_within: Duration::from_secs(1),
        command_within: Duration::from_secs(2),
        idle_timeout: Some(Duration::from_secs(4)),
        tcp_keepalive: None,
        idle_poll: Duration::ZERO,
    };

    fn connection(start: Instant) -> Connection {
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 1);
        let mut session = Session::new(1, address, address, start);
        session.authenticated = true;
        Connection::new(ConnId::new(0, 0), tempfile::tempfile().unwrap().into(), session)
    }

    /// What is overdue after each of so many milliseconds.
    fn after(connection: &mut Connection, start: Instant, millis: &[u64]) -> Vec<Option<Overdue>> {
        millis.iter().map(|&millis| connection.overdue(start + Duration::from_millis(millis), &LIMITS)).collect()
    }

    #[test]
    fn silence_is_allowed_for_a_while() {
        let start = Instant::now();
        let mut silent = connection(start);
        assert_eq!(after(&mut silent, start, &[0, 3_999, 4_000]), [None, None, Some(Overdue::Idle)]);
        silent.stalled = Some(Stalled::Command);
        assert_eq!(after(&mut silent, start, &[10_000]), [None], "it waits for this side");
    }

    /// `WAIT 1 0` may wait for ever, and its client be gone without a word but that nothing more comes.
    #[test]
    fn who_sends_no_more_is_not_kept_waiting_for_ever() {
        let start = Instant::now();
        let mut ended = connection(start);
        ended.stalled = Some(Stalled::Command);
        assert_eq!(after(&mut ended, start, &[60_000]), [None]);
        ended.ended = true;
        assert_eq!(after(&mut ended, start, &[59_999, 60_000]), [None, Some(Overdue::Idle)]);
    }

    #[test]
    fn authentication_is_due_and_then_no_more() {
        let start = Instant::now();
        let mut stranger = connection(start);
        stranger.session.authenticated = false;
        assert_eq!(after(&mut stranger, start, &[999, 1_000]), [None, Some(Overdue::Deadline)]);
        stranger.session.authenticated = true;
        assert_eq!(after(&mut stranger, start, &[1_000]), [None]);
    }

    #[test]
    fn a_command_must_get_whole_whatever_else_comes() {
        let start = Instant::now();
        let mut slow = connection(start);
        slow.note_partial(true, start);
        slow.note_partial(true, start + Duration::from_millis(1_900));
        assert_eq!(after(&mut slow, start, &[1_999, 2_000]), [None, Some(Overdue::Deadline)]);
        slow.note_partial(false, start);
        assert_eq!(after(&mut slow, start, &[2_000]), [None]);
    }

    #[test]
    fn the_soft_limit_counts_from_when_it_was_exceeded_last() {
        let start = Instant::now();
        let mut full = connection(start);
        let fill = |connection: &mut Connection, len: usize| {
            let mut pool = Pool::default();
            connection.output = Output::default();
            let buffer = connection.output.begin(&mut pool, start);
            buffer.resize(len, b'x');
            connection.output.finish(0, Wait::Ready, &mut pool, start);
        };
        fill(&mut full, 101);
        assert_eq!(after(&mut full, start, &[0, 2_999]), [None, None]);
        fill(&mut full, 100);
        assert_eq!(after(&mut full, start, &[2_999]), [None]);
        fill(&mut full, 60);
        full.sending_len = 41;
        let found = after(&mut full, start, &[3_000, 5_999, 6_000]);
        assert_eq!(found, [None, None, Some(Overdue::Output)], "what the kernel has counts, too");
        assert!(!full.output_exceeds(&LIMITS));
        full.sending_len = 5_000;
        assert!(!full.output_exceeds(&LIMITS), "what lies in the log takes no memory");
        full.sending_in_memory = 1_040;
        assert!(!full.output_exceeds(&LIMITS), "the last reply had all its length, and others were there");
        full.sending_in_memory = 1_041;
        assert!(full.output_exceeds(&LIMITS));
    }
}
