//! What can be wrong with a request's framing.

/// Why bytes are no request. The connection must be closed after it: where the next request starts is unknown.
///
/// The text is that of Redis, and goes to the client after `-ERR `.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// An array's length is no number, or too large.
    #[error("Protocol error: invalid multibulk length")]
    ArrayLength,
    /// An argument's length is no number, negative, or too large.
    #[error("Protocol error: invalid bulk length")]
    BulkLength,
    /// Something else than an argument stands in an array.
    #[error("Protocol error: expected '$', got '{}'", char::from(*.found).escape_default())]
    ExpectedBulk {
        /// The byte that stands there instead.
        found: u8,
    },
    /// An argument is not followed by CR LF.
    #[error("Protocol error: expected CRLF after bulk")]
    BulkEnd,
    /// An inline command does not end within the limit.
    #[error("Protocol error: too big inline request")]
    InlineLength,
    /// A quote in an inline command is not closed, or is followed by something else than a space.
    #[error("Protocol error: unbalanced quotes in request")]
    Quotes,
    /// The array is longer than a client may send before it has authenticated.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedArrayLength,
    /// The argument is longer than a client may send before it has authenticated.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// The whole command is longer than a connection may have to hold.
    #[error("Protocol error: command exceeds the limit of {max} bytes")]
    CommandLength {
        /// The limit.
        max: usize,
    },
}
