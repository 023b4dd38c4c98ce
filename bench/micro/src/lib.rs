//! Criterion benchmarks of Windrow's parts.
