//! Every bound that a client can run into, in one place.
//!
//! Each one exists because the peer chooses the number that it bounds. A connection that has not yet authenticated
//! gets far less than one that has.

/// What one connection may send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The longest single argument, in bytes.
    pub bulk_len: usize,
    /// The most arguments of one command, its name included.
    pub array_len: usize,
    /// The longest command without array framing, and the longest line of any kind, in bytes.
    pub inline_len: usize,
    /// The longest command with its framing, in bytes: what a connection may have to hold at once.
    pub command_len: usize,
    /// Whether exceeding a limit is reported as "unauthenticated …".
    pub unauthenticated: bool,
}

/// The longest single argument of an authenticated connection, in bytes.
pub const BULK_LEN_MAX: usize = 64 << 20;
/// The most arguments of one command of an authenticated connection.
pub const ARRAY_LEN_MAX: usize = 65_536;
/// The longest inline command or line of framing, in bytes.
pub const INLINE_LEN_MAX: usize = 64 << 10;
/// What a command may hold beside its longest argument, in bytes.
pub const COMMAND_LEN_SPARE: usize = 32 << 10;
/// The longest single argument before authentication, in bytes.
pub const UNAUTHENTICATED_BULK_LEN_MAX: usize = 4 << 10;
/// The most arguments of one command before authentication.
pub const UNAUTHENTICATED_ARRAY_LEN_MAX: usize = 10;
/// The longest command before authentication, in bytes.
pub const UNAUTHENTICATED_COMMAND_LEN_MAX: usize = 64 << 10;
/// The most characters of a length in RESP framing; no 64-bit number needs more.
pub const LENGTH_DIGITS_MAX: usize = 20;
/// How many argument positions a parser keeps room for between commands.
pub const ARGS_KEPT: usize = 256;
/// How many bytes of unescaped inline arguments a parser keeps room for between commands.
pub const SCRATCH_KEPT: usize = 4 << 10;

/// The longest pattern of KEYS and SCAN, in bytes: a pattern and a key together can take as many steps as the product
/// of their lengths.
pub const PATTERN_LEN_MAX: usize = 1 << 10;
/// The most cells of the table that LCS fills, each of 4 bytes: the product of the lengths of both values.
pub const LCS_CELLS_MAX: usize = 16 << 20;
/// The most keys that one call of SCAN looks at, whatever its COUNT.
pub const SCAN_COUNT_MAX: usize = 10_000;
/// How many keys one call of SCAN looks at unless COUNT says otherwise.
pub const SCAN_COUNT_DEFAULT: usize = 10;
/// A value of so many bytes is sent from the log itself rather than copied into the reply, unless it is set.
pub const LARGE_VALUE_LEN_DEFAULT: usize = 64 << 10;
/// How many bytes of a value that was put together are kept room for between commands.
pub const VALUE_SCRATCH_KEPT: usize = 64 << 10;

impl Limits {
    /// What a client may send once it has authenticated, or where no password is set.
    pub const AUTHENTICATED: Self = Self {
        bulk_len: BULK_LEN_MAX,
        array_len: ARRAY_LEN_MAX,
        inline_len: INLINE_LEN_MAX,
        command_len: BULK_LEN_MAX + COMMAND_LEN_SPARE,
        unauthenticated: false,
    };
    /// What a client may send before it has authenticated.
    pub const UNAUTHENTICATED: Self = Self {
        bulk_len: UNAUTHENTICATED_BULK_LEN_MAX,
        array_len: UNAUTHENTICATED_ARRAY_LEN_MAX,
        inline_len: UNAUTHENTICATED_COMMAND_LEN_MAX,
        command_len: UNAUTHENTICATED_COMMAND_LEN_MAX,
        unauthenticated: true,
    };
}

// Positions of arguments are kept as `u32`.
const _: () = assert!(Limits::AUTHENTICATED.command_len < u32::MAX as usize);
const _: () = assert!(BULK_LEN_MAX + COMMAND_LEN_SPARE > INLINE_LEN_MAX);
const _: () = assert!(UNAUTHENTICATED_COMMAND_LEN_MAX > UNAUTHENTICATED_BULK_LEN_MAX * UNAUTHENTICATED_ARRAY_LEN_MAX);
