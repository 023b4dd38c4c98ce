//! What the connections between nodes count.

use crate::metrics::Counter;

/// Counts of one core's connections to other nodes. One writer, any number of readers.
#[derive(Debug, Default)]
pub struct WireCounters {
    /// Connections that both ends have proved themselves on.
    pub connections_opened: Counter,
    /// Connections that have ended after that.
    pub connections_closed: Counter,
    /// Handshakes that failed, and connections that were refused or gave up before.
    pub handshakes_failed: Counter,
    /// Connections that ended because nothing came for too long.
    pub connections_silent: Counter,
    /// Messages sent.
    pub messages_sent: Counter,
    /// Messages and ranges dropped because the peer was not there or took nothing.
    pub messages_dropped: Counter,
    /// Messages received.
    pub messages_received: Counter,
    /// Ranges of the log sent.
    pub ranges_sent: Counter,
    /// Ranges of the log received in full.
    pub ranges_received: Counter,
    /// Bytes of the log handed to the kernel by a gathered send, which copies them once, into the socket.
    pub sent_gathered_bytes: Counter,
    /// Bytes of the log handed to the kernel by `sendfile`, which takes the pages themselves.
    pub sent_file_bytes: Counter,
    /// Bytes of the log handed to the kernel by `SEND_ZC` of which its notification says that they were not copied.
    pub sent_zero_copy_bytes: Counter,
    /// Bytes of the log handed to the kernel by `SEND_ZC` of which its notification says that it copied them after all.
    pub sent_zero_copy_copied_bytes: Counter,
    /// Bytes of the log that had to be read from disk before they were sent.
    pub sent_cold_bytes: Counter,
    /// Bytes of the log received straight into it.
    pub received_direct_bytes: Counter,
    /// Bytes of the log that had come with the message before them, and were copied.
    pub received_copied_bytes: Counter,
    /// Bytes of the log that were received and thrown away.
    pub received_discarded_bytes: Counter,
}
