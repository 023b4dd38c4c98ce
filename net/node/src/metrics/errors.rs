//! Error replies by their prefix.

/// The prefixes that the node's own error replies start with. What is not here is counted as "other", so that no
/// input can make the list grow.
pub const ERROR_PREFIXES: [&str; 26] = [
    "ERR",
    "WRONGTYPE",
    "NOAUTH",
    "WRONGPASS",
    "NOPERM",
    "NOPROTO",
    "DENIED",
    "MOVED",
    "ASK",
    "CROSSSLOT",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "EXECABORT",
    "OOM",
    "BUSY",
    "BUSYKEY",
    "LOADING",
    "MISCONF",
    "READONLY",
    "NOREPLICAS",
    "NOSPACE",
    "MASTERDOWN",
    "UNCONFIRMED",
    "STALE",
    "UNKILLABLE",
    "NOSCRIPT",
];

/// The index in [`ERROR_PREFIXES`] of the prefix of `line` (what follows the `-` of an error reply), or one past it.
#[must_use]
pub fn error_index(line: &[u8]) -> usize {
    let prefix = line.split(|&byte| byte == b' ' || byte == b'\r').next().unwrap_or(line);
    ERROR_PREFIXES.iter().position(|known| known.as_bytes() == prefix).unwrap_or(ERROR_PREFIXES.len())
}

/// The name under which index `at` is reported.
#[must_use]
pub fn error_name(at: usize) -> &'static str {
    ERROR_PREFIXES.get(at).copied().unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_told_apart_and_strangers_are_other() {
        assert_eq!(error_name(error_index(b"ERR unknown command 'x'")), "ERR");
        assert_eq!(error_name(error_index(b"MOVED 1 127.0.0.1:1")), "MOVED");
        assert_eq!(error_name(error_index(b"EXECABORT")), "EXECABORT");
        assert_eq!(error_name(error_index(b"ERRATIC")), "other");
        assert_eq!(error_name(error_index(b"")), "other");
    }
}
