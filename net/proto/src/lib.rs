//! Windrow's protocols without I/O: RESP2 and RESP3, the command table and what each data command does to a partition.
