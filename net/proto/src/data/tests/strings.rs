use alloc::{format, vec, vec::Vec};

use windrow_core::types::Lsn;

use super::harness::{Bench, shown, words};
use crate::{
    command::resolve,
    data::{Outcome, execute},
    resp::Protocol,
};

#[test]
fn set_and_get() {
    Bench::new().script(
        r#"
        GET a -> nil
        SET a 1 -> OK
        GET a -> "1"
        set a "b c\r\n\x00" -> OK
        get a -> "b c\r\n\x00"
        SET a "" -> OK
        GET a -> ""
        SET "" empty -> OK
        GET "" -> "empty"
        # Conditions.
        SET a 2 NX -> nil
        SET b 2 NX -> OK
        SET b 3 XX -> OK
        SET c 3 XX -> nil
        GET c -> nil
        GET b -> "3"
        SET b 4 GET -> "3"
        SET d 1 GET -> nil
        SET d 2 NX GET -> "1"
        GET d -> "1"
        SET e 2 NX GET -> nil
        GET e -> "2"
        SET f 2 XX GET -> nil
        GET f -> nil
        SET d 3 XX GET -> "1"
        GET d -> "3"
        # What makes no sense.
        SET a 1 NX XX -> -ERR syntax error
        SET a 1 XX NX -> -ERR syntax error
        SET a 1 nosuch -> -ERR syntax error
        SET a 1 EX -> -ERR syntax error
        SET a 1 EX 1 PX 1 -> -ERR syntax error
        SET a 1 EX 1 KEEPTTL -> -ERR syntax error
        SET a 1 KEEPTTL EX 1 -> -ERR syntax error
        SET a 1 PERSIST -> -ERR syntax error
        SET a 1 EX abc -> -ERR value is not an integer or out of range
        SET a 1 EX 0 -> -ERR invalid expire time in 'set' command
        SET a 1 PX -1 -> -ERR invalid expire time in 'set' command
        SET a 1 EX 9223372036854775807 -> -ERR invalid expire time in 'set' command
        SET a 1 PX 9223372036854775807 -> -ERR invalid expire time in 'set' command
        SET a 1 PXAT 281474976710656 -> -ERR invalid expire time in 'set' command
        GET a -> ""
        "#,
    );
}

#[test]
fn set_with_an_expiry() {
    Bench::new().script(
        r#"
        SET a 1 EX 10 -> OK
        TTL a -> :10
        SET a 1 PX 1500 -> OK
        PTTL a -> :1500
        SET a 2 KEEPTTL -> OK
        PTTL a -> :1500
        SET a 2 -> OK
        PTTL a -> :-1
        SET a 3 exat 1000000010 -> OK
        TTL a -> :10
        SET a 3 PXAT 1000000000123 -> OK
        PTTL a -> :123
        SET a 4 PX 100 NX GET -> "3"
        + 122
        GET a -> "3"
        PTTL a -> :1
        + 1
        GET a -> nil
        PTTL a -> :-2
        EXISTS a -> :0
        # A key that has expired is no key for any condition.
        SET a 5 XX -> nil
        SET a 5 NX -> OK
        GET a -> "5"
        # The same once more takes the place of the first.
        SET a 5 EX 5 NX NX ex 100 -> nil
        SET a 5 EX 5 ex 100 -> OK
        TTL a -> :100
        SET a 5 EX 5 EX x -> -ERR value is not an integer or out of range
        SET a 5 EX 5 PX 100 -> -ERR syntax error
        # A moment that has passed.
        SET a 6 EXAT 1 -> OK
        GET a -> nil
        SET b 6 PXAT 1 -> OK
        EXISTS b -> :0
        SET a 5 -> OK
        SET a 6 EXAT 1 GET -> "5"
        EXISTS a -> :0
        "#,
    );
}

#[test]
fn setnx_setex_getset_getdel() {
    Bench::new().script(
        r#"
        SETNX a 1 -> :1
        SETNX a 2 -> :0
        GETSET a 3 -> "1"
        GETSET b 4 -> nil
        GET b -> "4"
        SETEX a 10 x -> OK
        TTL a -> :10
        PSETEX a 10 y -> OK
        PTTL a -> :10
        GETSET a z -> "y"
        TTL a -> :-1
        SETEX a 0 x -> -ERR invalid expire time in 'setex' command
        SETEX a -5 x -> -ERR invalid expire time in 'setex' command
        SETEX a 9223372036854775807 x -> -ERR invalid expire time in 'setex' command
        PSETEX a x x -> -ERR value is not an integer or out of range
        PSETEX a 0 x -> -ERR invalid expire time in 'psetex' command
        GETDEL a -> "z"
        GETDEL a -> nil
        EXISTS a -> :0
        "#,
    );
}

#[test]
fn getex() {
    Bench::new().script(
        r#"
        SET a 1 -> OK
        GETEX a -> "1"
        TTL a -> :-1
        GETEX a EX 10 -> "1"
        TTL a -> :10
        GETEX a -> "1"
        TTL a -> :10
        GETEX a PX 1234 -> "1"
        PTTL a -> :1234
        GETEX a PXAT 1000000009999 -> "1"
        PTTL a -> :9999
        GETEX a PERSIST -> "1"
        TTL a -> :-1
        GETEX a PERSIST -> "1"
        GETEX a EX 0 -> -ERR invalid expire time in 'getex' command
        GETEX a EX x -> -ERR value is not an integer or out of range
        GETEX a EX -> -ERR syntax error
        GETEX a KEEPTTL -> -ERR syntax error
        GETEX a PERSIST EX 1 -> -ERR syntax error
        GETEX a EX 1 PERSIST -> -ERR syntax error
        # The same once more takes the place of the first.
        GETEX a PERSIST PERSIST -> "1"
        GETEX a EX 5 EX 100 -> "1"
        TTL a -> :100
        GETEX a EX 5 EX -> -ERR syntax error
        GETEX a EX 5 PX 100 -> -ERR syntax error
        GETEX nosuch EX x -> nil
        GETEX nosuch nosuch 1 -> -ERR syntax error
        GET a -> "1"
        GETEX a EXAT 1 -> "1"
        EXISTS a -> :0
        "#,
    );
}

#[test]
fn several_keys_at_once() {
    Bench::new().script(
        r#"
        MSET a 1 b 2 -> OK
        MGET a b c a -> ["1", "2", nil, "1"]
        MSET a 3 a 4 -> OK
        MGET a -> ["4"]
        MSET a 1 b -> -ERR wrong number of arguments for 'mset' command
        MSETNX c 1 d 2 -> :1
        MSETNX d 3 e 4 -> :0
        MGET c d e -> ["1", "2", nil]
        MSETNX e 1 e 2 -> :1
        GET e -> "2"
        MSETNX e 1 f -> -ERR wrong number of arguments for 'msetnx' command
        SET a 1 EX 10 -> OK
        MSET a 2 -> OK
        TTL a -> :-1
        "#,
    );
}

#[test]
fn append_and_ranges() {
    Bench::new().script(
        r#"
        APPEND a "" -> :0
        EXISTS a -> :1
        APPEND a Hello -> :5
        APPEND a " World" -> :11
        STRLEN a -> :11
        STRLEN nosuch -> :0
        GETRANGE a 0 4 -> "Hello"
        GETRANGE a -5 -1 -> "World"
        GETRANGE a 0 -1 -> "Hello World"
        SUBSTR a 6 100 -> "World"
        GETRANGE a 5 3 -> ""
        GETRANGE a 11 20 -> ""
        GETRANGE a -100 4 -> "Hello"
        GETRANGE a -3 -5 -> ""
        # As Redis does it.
        GETRANGE a 0 -100 -> "H"
        GETRANGE a -100 -200 -> ""
        GETRANGE a 9223372036854775807 -9223372036854775808 -> ""
        GETRANGE nosuch 0 -1 -> ""
        GETRANGE a x 1 -> -ERR value is not an integer or out of range
        SETRANGE a 6 Redis -> :11
        GET a -> "Hello Redis"
        SETRANGE b 3 x -> :4
        GET b -> "\x00\x00\x00x"
        SETRANGE c 5 "" -> :0
        EXISTS c -> :0
        SETRANGE a 100 "" -> :11
        SETRANGE a -1 x -> -ERR offset is out of range
        SETRANGE a x x -> -ERR value is not an integer or out of range
        SETRANGE a 67108864 x -> -ERR string exceeds maximum allowed size (proto-max-bulk-len)
        SETRANGE a 9223372036854775807 x -> -ERR string exceeds maximum allowed size (proto-max-bulk-len)
        SET a 1 PX 500 -> OK
        APPEND a 2 -> :2
        SETRANGE a 0 3 -> :2
        PTTL a -> :500
        "#,
    );
}

#[test]
fn integers() {
    Bench::new().script(
        r#"
        INCR a -> :1
        INCRBY a 41 -> :42
        DECR a -> :41
        DECRBY a -9 -> :50
        GET a -> "50"
        DECRBY b 7 -> :-7
        SET a 9223372036854775807 -> OK
        INCR a -> -ERR increment or decrement would overflow
        GET a -> "9223372036854775807"
        SET a -9223372036854775808 -> OK
        DECR a -> -ERR increment or decrement would overflow
        INCRBY a -1 -> -ERR increment or decrement would overflow
        DECRBY a -9223372036854775808 -> -ERR decrement would overflow
        INCRBY a x -> -ERR value is not an integer or out of range
        INCRBY a 9223372036854775808 -> -ERR value is not an integer or out of range
        SET a abc -> OK
        INCR a -> -ERR value is not an integer or out of range
        SET a " 1" -> OK
        INCR a -> -ERR value is not an integer or out of range
        SET a "" -> OK
        INCR a -> -ERR value is not an integer or out of range
        SET a 5 PX 500 -> OK
        INCR a -> :6
        PTTL a -> :500
        "#,
    );
}

#[test]
fn floats() {
    Bench::new().script(
        r#"
        INCRBYFLOAT a 10.5 -> "10.5"
        INCRBYFLOAT a 0.1 -> "10.6"
        INCRBYFLOAT a -5 -> "5.6"
        GET a -> "5.6"
        SET a 5.0e3 -> OK
        INCRBYFLOAT a 200 -> "5200"
        INCRBYFLOAT a abc -> -ERR value is not a valid float
        INCRBYFLOAT a nan -> -ERR value is not a valid float
        INCRBYFLOAT a inf -> -ERR increment would produce NaN or Infinity
        GET a -> "5200"
        SET a abc -> OK
        INCRBYFLOAT a 1 -> -ERR value is not a valid float
        SET a 1 PX 500 -> OK
        INCRBYFLOAT a 1 -> "2"
        PTTL a -> :500
        "#,
    );
}

#[test]
fn lcs() {
    Bench::new().script(
        r#"
        MSET a ohmytext b mynewtext -> OK
        LCS a b -> "mytext"
        LCS a b LEN -> :6
        LCS a b IDX -> ["matches", [[[4, 7], [5, 8]], [[2, 3], [0, 1]]], "len", :6]
        LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN -> ["matches", [[[4, 7], [5, 8], :4]], "len", :6]
        LCS a b IDX MINMATCHLEN -1 -> ["matches", [[[4, 7], [5, 8]], [[2, 3], [0, 1]]], "len", :6]
        LCS a nosuch -> ""
        LCS a nosuch LEN -> :0
        LCS a nosuch IDX -> ["matches", [], "len", :0]
        LCS a b LEN IDX -> -ERR If you want both the length and indexes, please just use IDX.
        LCS a b nosuch -> -ERR syntax error
        LCS a b IDX MINMATCHLEN x -> -ERR value is not an integer or out of range
        "#
        .replace("[4, 7]", "[:4, :7]")
        .replace("[5, 8]", "[:5, :8]")
        .replace("[2, 3]", "[:2, :3]")
        .replace("[0, 1]", "[:0, :1]")
        .as_str(),
    );
    let mut bench = Bench::of(0, 1, 1 << 20);
    bench.line(&format!("SET a {}", "a".repeat(5000)));
    assert_eq!(bench.reply("LCS a a"), "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
}

#[test]
fn a_large_value_stays_in_the_log() {
    let mut bench = Bench::new();
    bench.ctx.large_len_min = 1000;
    let value = "v".repeat(1000);
    bench.line(&format!("SET a {value}"));
    let (outcome, head) = bench.try_line("GET a");
    assert_eq!(head, b"$1000\r\n");
    let Outcome::Large { value: range, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(bench.range(range), value.as_bytes());
    assert_eq!(bench.reply("GET a"), format!("\"{value}\""));
    bench.line(&format!("SET a {}", &value[1..]));
    assert!(matches!(bench.try_line("GET a").0, Outcome::Done { .. }));
}

#[test]
fn nothing_is_in_both_versions_of_the_protocol() {
    let mut bench = Bench::new();
    assert_eq!(bench.line("GET a"), b"$-1\r\n");
    bench.ctx.protocol = Protocol::Resp3;
    assert_eq!(bench.line("GET a"), b"_\r\n");
    assert_eq!(bench.line("MGET a b"), b"*2\r\n_\r\n_\r\n");
    assert_eq!(shown(&bench.line("LCS a b IDX")), "[\"matches\", [], \"len\", :0]");
}

#[test]
fn too_long_is_refused() {
    let mut bench = Bench::new();
    let mut with_long = |line: &str, len: usize| {
        let mut args = words(line);
        args.push(&vec![b'x'; len]);
        let mut out = Vec::new();
        let command = resolve(args.args()).unwrap();
        let outcome = execute(&mut bench.ctx, &mut bench.partition, command, args.args(), &mut out);
        assert_eq!(outcome, Outcome::Done { wait: Lsn::ZERO });
        shown(&out)
    };
    for line in ["GET", "DEL", "DEL x", "EXISTS x", "INCR", "RENAME x"] {
        assert_eq!(with_long(line, (64 << 10) + 1), "-ERR the key is longer than 65536 bytes", "{line}");
    }
    assert_eq!(with_long("GET", 64 << 10), "nil");
    let reply = with_long("SET a", 64 << 10);
    assert!(reply.starts_with("-ERR too large: a record of "), "{reply}");
    assert_eq!(bench.reply("GET a"), "nil");
}
