//! A connection as the execution of its commands sees it.

use windrow_proto::resp::Encoder;

use super::session::ReplyMode;
use super::{Now, Session};
use crate::net::{Output, Pool, Ticket, Wait};
use crate::ring::{ConnId, Mapped};

/// A connection as the execution of its commands sees it: everything but its input.
pub(super) struct Client<'a> {
    pub(super) id: ConnId,
    pub(super) session: &'a mut Session,
    pub(super) output: &'a mut Output,
    pub(super) pool: &'a mut Pool,
    pub(super) now: Now,
    /// Which replies the client wanted when the command came.
    pub(super) mode: ReplyMode,
}

/// How a command ended, for the loop over a connection's commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Go on with the next one.
    Next,
    /// It is under way; the next one must wait for it.
    Wait,
    /// It could not be started: try it again when the connection is resumed.
    Again,
    /// It could not be started: try it again when replies that were expected before have come.
    Full,
    /// It was the last one.
    Close,
}

impl Step {
    /// Whether the command need not be tried again.
    pub(super) fn is_done(self) -> bool {
        !matches!(self, Self::Again | Self::Full)
    }
}

impl Client<'_> {
    /// The buffer that the reply is written to, and where it starts.
    #[inline]
    pub(super) fn begin(&mut self) -> (&mut Vec<u8>, usize) {
        let buffer = self.output.begin(self.pool, self.now.instant);
        let start = buffer.len();
        (buffer, start)
    }

    /// The reply that starts at `start` is complete.
    #[inline]
    pub(super) fn finish(&mut self, start: usize, wait: Wait) {
        if self.is_silent() {
            self.output.begin(self.pool, self.now.instant).truncate(start);
        } else {
            self.output.finish(start, wait, self.pool, self.now.instant);
        }
    }

    /// The reply that starts at `start` is complete but for a value, which is sent from the log.
    pub(super) fn finish_with(&mut self, start: usize, value: Mapped, wait: Wait) {
        if self.is_silent() {
            self.output.begin(self.pool, self.now.instant).truncate(start);
        } else {
            self.output.finish_with(start, value, wait, self.pool, self.now.instant);
        }
    }

    /// A reply that can be given at once.
    pub(super) fn reply(&mut self, write: impl FnOnce(&mut Encoder<'_>)) -> Step {
        let protocol = self.session.protocol;
        let (buffer, start) = self.begin();
        write(&mut Encoder::new(buffer, protocol));
        self.finish(start, Wait::Ready);
        Step::Next
    }

    /// The reply comes later. Returns its ticket, and whether the client does not want it.
    pub(super) fn expect(&mut self) -> (Ticket, bool) {
        let silent = self.is_silent();
        (self.output.expect(self.now.instant), silent)
    }

    fn is_silent(&mut self) -> bool {
        let skipped = self.mode == ReplyMode::SkipNext;
        if skipped && self.session.reply_mode == ReplyMode::SkipNext {
            self.session.reply_mode = ReplyMode::On;
        }
        skipped || self.session.reply_mode == ReplyMode::Off
    }
}
