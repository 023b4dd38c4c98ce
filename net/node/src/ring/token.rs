//! What a completion belongs to, packed into the 64 bits that the kernel hands back.

use super::Timer;

/// A connection's place in its core's slab, and which of the tenants of that place is meant.
///
/// A completion that comes after its connection is gone carries an old generation and is dropped; it can never reach
/// the next connection in the same place before 2^24 others have been there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnId {
    index: u32,
    generation: u32,
}

impl ConnId {
    /// Generations are counted modulo this.
    pub const GENERATIONS: u32 = 1 << 24;

    /// The tenant number `generation` of the place `index`.
    ///
    /// # Panics
    /// If `generation` is not below [`GENERATIONS`](Self::GENERATIONS).
    #[must_use]
    pub const fn new(index: u32, generation: u32) -> Self {
        assert!(generation < Self::GENERATIONS, "generations wrap before this");
        Self { index, generation }
    }

    /// The place in the slab.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// Which tenant of the place.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

/// What a connection waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Interest {
    /// There is something to be read, or the connection has ended.
    Read,
    /// Something can be written, a connection has been made or has failed.
    Write,
}

/// Identifies one operation in the ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Token {
    Accept {
        listener: u32,
    },
    Receive(ConnId),
    Send {
        slot: u32,
    },
    Read {
        slot: u32,
    },
    Ready(ConnId, Interest),
    ZeroCopy {
        slot: u32,
    },
    Watch {
        slot: u32,
    },
    Timer(Timer),
    /// The answer to a cancellation, which nobody waits for.
    Cancel,
    /// Somebody has woken the core.
    Wake,
}

impl Token {
    pub(super) const fn pack(self) -> u64 {
        let (kind, generation, index) = match self {
            Self::Accept { listener } => (1, 0, listener),
            Self::Receive(conn) => (2, conn.generation, conn.index),
            Self::Send { slot } => (3, 0, slot),
            Self::Timer(Timer::Tick) => (4, 0, 0),
            Self::Timer(Timer::Alarm) => (11, 0, 0),
            Self::Cancel => (5, 0, 0),
            Self::Read { slot } => (6, 0, slot),
            Self::Ready(conn, Interest::Read) => (7, conn.generation, conn.index),
            Self::Ready(conn, Interest::Write) => (8, conn.generation, conn.index),
            Self::ZeroCopy { slot } => (9, 0, slot),
            Self::Watch { slot } => (10, 0, slot),
            Self::Wake => (12, 0, 0),
        };
        (kind << 56) | ((generation as u64) << 32) | index as u64
    }

    /// # Panics
    /// If the bits were not made by [`pack`](Self::pack): the kernel returns what it was given.
    pub(super) fn unpack(bits: u64) -> Self {
        let [kind, g2, g1, g0, i3, i2, i1, i0] = bits.to_be_bytes();
        let index = u32::from_be_bytes([i3, i2, i1, i0]);
        let conn = ConnId { index, generation: u32::from_be_bytes([0, g2, g1, g0]) };
        match kind {
            1 => Self::Accept { listener: index },
            2 => Self::Receive(conn),
            3 => Self::Send { slot: index },
            4 => Self::Timer(Timer::Tick),
            5 => Self::Cancel,
            6 => Self::Read { slot: index },
            7 => Self::Ready(conn, Interest::Read),
            8 => Self::Ready(conn, Interest::Write),
            9 => Self::ZeroCopy { slot: index },
            10 => Self::Watch { slot: index },
            11 => Self::Timer(Timer::Alarm),
            12 => Self::Wake,
            _ => panic!("a completion of an operation that was never started: {bits:#018x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        let conn = ConnId::new(u32::MAX, ConnId::GENERATIONS - 1);
        for token in [
            Token::Accept { listener: 7 },
            Token::Receive(conn),
            Token::Receive(ConnId::new(0, 0)),
            Token::Send { slot: u32::MAX },
            Token::Read { slot: 4 },
            Token::Ready(conn, Interest::Read),
            Token::Ready(conn, Interest::Write),
            Token::ZeroCopy { slot: 5 },
            Token::Watch { slot: 5 },
            Token::Timer(Timer::Tick),
            Token::Timer(Timer::Alarm),
            Token::Cancel,
        ] {
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }
}
