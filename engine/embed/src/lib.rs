//! Windrow as a library: a durable, partitioned key-value store that an application embeds.
