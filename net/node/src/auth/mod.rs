//! Who may use the node: the password, what wrong ones cost, and protected mode.
//!
//! Nothing here waits. A wrong password is answered late, which the shard does by holding the reply back; the core
//! goes on with everybody else.

mod password;
mod protected;
mod throttle;

pub use password::{PasswordError, PasswordHash, random_bytes};
pub use protected::{DENIED, is_denied};
pub use throttle::{ADDRESSES_MAX, DELAY_FIRST, DELAY_MAX, FORGOTTEN_AFTER, Throttle};

/// The error reply to a command of a client that has not authenticated.
pub const NOAUTH: &str = "NOAUTH Authentication required.";
/// The error reply to a wrong password or user name.
pub const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";
/// The error reply to `AUTH password` where no password is set.
pub const NO_PASSWORD_SET: &str = "ERR AUTH <password> called without any password configured for the default user. \
                                   Are you sure your configuration is correct?";
/// The only user there is.
pub const DEFAULT_USER: &[u8] = b"default";
