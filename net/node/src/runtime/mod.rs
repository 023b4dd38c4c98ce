//! Executors pinned to cores. Nothing outside this module knows which runtime it is.
