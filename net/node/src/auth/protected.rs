//! Protected mode: a node without a password serves nobody but its own machine.

use std::net::IpAddr;

/// The whole error reply to a client that is turned away, in the spirit of Redis.
pub const DENIED: &[u8] = b"-DENIED Windrow is running in protected mode because protected mode is enabled and no \
password is set. In this mode connections are only accepted from the loopback interface. To connect from other \
machines, do one of the following: 1) set a password with the setting 'requirepass', or by 'CONFIG SET requirepass \
<password>' from the loopback interface, and use AUTH. 2) Where every machine that can reach this one may read and \
write everything, disable protected mode with 'protected-mode = false', or by 'CONFIG SET protected-mode no' from the \
loopback interface. 3) Leave it as it is and connect through an encrypted tunnel.\r\n";

/// Whether a client from `peer` must be turned away.
#[must_use]
pub fn is_denied(peer: IpAddr, protected_mode: bool, password_set: bool) -> bool {
    protected_mode && !password_set && !peer.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_strangers_to_an_open_node_are_denied() {
        let far: IpAddr = "192.0.2.1".parse().unwrap();
        assert!(is_denied(far, true, false));
        assert!(!is_denied(far, false, false));
        assert!(!is_denied(far, true, true));
        for near in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(!is_denied(near.parse().unwrap(), true, false), "{near}");
        }
        assert!(is_denied("::ffff:192.0.2.1".parse().unwrap(), true, false));
    }

    #[test]
    fn the_reply_is_one_error_line() {
        assert!(DENIED.starts_with(b"-DENIED ") && DENIED.ends_with(b".\r\n"));
        assert_eq!(DENIED.iter().filter(|&&byte| byte == b'\r' || byte == b'\n').count(), 2);
    }
}
