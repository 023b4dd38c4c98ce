//! Windrow's node: executors, rings, connections, commands, metrics.
