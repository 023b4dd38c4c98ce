use super::harness::Bench;

#[test]
fn delete_and_exist() {
    Bench::new().script(
        r#"
        MSET a 1 b 2 c 3 -> OK
        EXISTS a -> :1
        EXISTS a b nosuch a -> :3
        TOUCH a b nosuch -> :2
        DEL nosuch -> :0
        DEL a -> :1
        DEL a b a c b -> :2
        EXISTS a b c -> :0
        SET a 1 -> OK
        UNLINK a nosuch -> :1
        TYPE a -> none
        SET a 1 -> OK
        TYPE a -> string
        PEXPIRE a 10 -> :1
        + 10
        DEL a -> :0
        TYPE a -> none
        "#,
    );
}

#[test]
fn rename_and_copy() {
    Bench::new().script(
        r#"
        RENAME nosuch a -> -ERR no such key
        RENAME nosuch nosuch -> -ERR no such key
        RENAMENX nosuch a -> -ERR no such key
        SET a 1 PX 500 -> OK
        RENAME a b -> OK
        PTTL b -> :500
        EXISTS a -> :0
        SET c 2 -> OK
        RENAME c b -> OK
        GET b -> "2"
        PTTL b -> :-1
        RENAME b b -> OK
        RENAMENX b b -> :0
        GET b -> "2"
        SET c 3 -> OK
        RENAMENX c b -> :0
        RENAMENX c d -> :1
        MGET b c d -> ["2", nil, "3"]
        PEXPIRE d 10 -> :1
        COPY d e -> :1
        PTTL e -> :10
        COPY d e -> :0
        COPY b e REPLACE -> :1
        GET e -> "2"
        PTTL e -> :-1
        COPY nosuch e REPLACE -> :0
        COPY b f DB 0 REPLACE -> :1
        COPY b f DB 1 -> -ERR DB index is out of range
        COPY b f DB x -> -ERR value is not an integer or out of range
        COPY b f DB -> -ERR syntax error
        COPY b f nosuch -> -ERR syntax error
        COPY b b -> -ERR source and destination objects are the same
        + 10
        RENAME d x -> -ERR no such key
        RENAMENX b d -> :1
        "#,
    );
}

#[test]
fn expiries() {
    Bench::new().script(
        r#"
        EXPIRE a 10 -> :0
        TTL a -> :-2
        PTTL a -> :-2
        EXPIRETIME a -> :-2
        PEXPIRETIME a -> :-2
        PERSIST a -> :0
        SET a 1 -> OK
        TTL a -> :-1
        EXPIRETIME a -> :-1
        PERSIST a -> :0
        EXPIRE a 10 -> :1
        TTL a -> :10
        PTTL a -> :10000
        EXPIRETIME a -> :1000000010
        PEXPIRETIME a -> :1000000010000
        + 501
        TTL a -> :9
        + 499
        TTL a -> :9
        PERSIST a -> :1
        TTL a -> :-1
        PEXPIRE a 1500 -> :1
        TTL a -> :2
        EXPIREAT a 2000000000 -> :1
        EXPIRETIME a -> :2000000000
        PEXPIREAT a 2000000000001 -> :1
        PEXPIRETIME a -> :2000000000001
        EXPIRETIME a -> :2000000000
        GET a -> "1"
        # A moment that has passed deletes the key.
        EXPIRE a 0 -> :1
        EXISTS a -> :0
        SET a 1 -> OK
        PEXPIRE a -5 -> :1
        EXISTS a -> :0
        SET a 1 -> OK
        EXPIREAT a 1 -> :1
        EXISTS a -> :0
        SET a 1 -> OK
        PEXPIREAT a -9223372036854775808 -> :1
        EXISTS a -> :0
        SET a 1 -> OK
        EXPIRE a x -> -ERR value is not an integer or out of range
        EXPIRE a 9223372036854775807 -> -ERR invalid expire time in 'expire' command
        EXPIRE a -9223372036854775808 -> -ERR invalid expire time in 'expire' command
        PEXPIRE a 9223372036854775807 -> -ERR invalid expire time in 'pexpire' command
        EXPIREAT a 9223372036854775807 -> -ERR invalid expire time in 'expireat' command
        TTL a -> :-1
        "#,
    );
}

#[test]
fn expiries_on_condition() {
    Bench::new().script(
        r#"
        SET a 1 -> OK
        EXPIRE a 100 XX -> :0
        EXPIRE a 100 GT -> :0
        TTL a -> :-1
        EXPIRE a 100 LT -> :1
        EXPIRE a 50 NX -> :0
        EXPIRE a 50 GT -> :0
        EXPIRE a 100 GT -> :0
        EXPIRE a 100 LT -> :0
        EXPIRE a 200 GT -> :1
        TTL a -> :200
        EXPIRE a 50 LT -> :1
        TTL a -> :50
        EXPIRE a 60 XX -> :1
        EXPIRE a 70 XX GT -> :1
        EXPIRE a 70 xx lt -> :0
        PERSIST a -> :1
        EXPIRE a 100 NX -> :1
        TTL a -> :100
        EXPIRE a -1 NX -> :0
        EXPIRE a 1 NX XX -> -ERR NX and XX, GT or LT options at the same time are not compatible
        EXPIRE a 1 NX GT -> -ERR NX and XX, GT or LT options at the same time are not compatible
        EXPIRE a 1 GT LT -> -ERR GT and LT options at the same time are not compatible
        EXPIRE a 1 nosuch -> -ERR Unsupported option nosuch
        EXPIRE a x nosuch -> -ERR Unsupported option nosuch
        EXPIRE nosuch 1 NX -> :0
        TTL a -> :100
        "#,
    );
}

#[test]
fn how_values_are_kept() {
    Bench::new().script(
        r#"
        OBJECT ENCODING a -> nil
        OBJECT REFCOUNT a -> nil
        OBJECT IDLETIME a -> nil
        OBJECT FREQ a -> nil
        MEMORY USAGE a -> nil
        SET a 123 -> OK
        OBJECT ENCODING a -> "int"
        OBJECT REFCOUNT a -> :1
        OBJECT IDLETIME a -> :0
        OBJECT FREQ a -> -ERR An LFU maxmemory policy is not selected, access frequency not tracked.
        SET a 12345678901234567890 -> OK
        OBJECT ENCODING a -> "embstr"
        SET a 01234567890123456789012345678901234567890123 -> OK
        OBJECT ENCODING a -> "embstr"
        APPEND a x -> :45
        OBJECT ENCODING a -> "raw"
        MEMORY USAGE a -> :112
        MEMORY USAGE a SAMPLES 5 -> :112
        MEMORY USAGE a SAMPLES x -> -ERR value is not an integer or out of range
        MEMORY USAGE a SAMPLES -1 -> -ERR syntax error
        MEMORY USAGE a nosuch 1 -> -ERR syntax error
        "#,
    );
}
