//! Windrow's storage: memory-mapped segments, directories, flushing.
