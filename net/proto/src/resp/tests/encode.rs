use alloc::{format, string::ToString, vec::Vec};

use proptest::prelude::*;

use crate::resp::{Encoder, Protocol, format_double};

fn encoded(protocol: Protocol, write: impl Fn(&mut Encoder<'_>)) -> Vec<u8> {
    let mut out = b"before".to_vec();
    write(&mut Encoder::new(&mut out, protocol));
    out.split_off(6)
}

#[test]
fn every_kind_of_reply_in_both_versions() {
    type Case = (fn(&mut Encoder<'_>), &'static str, &'static str);
    #[rustfmt::skip]
    let cases: &[Case] = &[
        (|e| e.ok(), "+OK\r\n", "+OK\r\n"),
        (|e| e.simple("PO\r\nNG"), "+PO  NG\r\n", "+PO  NG\r\n"),
        (|e| e.error("ERR syntax error"), "-ERR syntax error\r\n", "-ERR syntax error\r\n"),
        (|e| e.error_fmt(format_args!("ERR bad {}", "a\nb")), "-ERR bad a b\r\n", "-ERR bad a b\r\n"),
        (|e| e.integer(-42), ":-42\r\n", ":-42\r\n"),
        (|e| e.integer(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"),
        (|e| e.count(7), ":7\r\n", ":7\r\n"),
        (|e| e.bulk(b""), "$0\r\n\r\n", "$0\r\n\r\n"),
        (|e| e.bulk(b"a\r\nb"), "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n"),
        (|e| e.bulk_fmt(format_args!("{}-{}", 12, "x")), "$4\r\n12-x\r\n", "$4\r\n12-x\r\n"),
        (|e| e.null(), "$-1\r\n", "_\r\n"),
        (|e| e.null_array(), "*-1\r\n", "_\r\n"),
        (|e| e.boolean(true), ":1\r\n", "#t\r\n"),
        (|e| e.boolean(false), ":0\r\n", "#f\r\n"),
        (|e| e.double(3.25), "$4\r\n3.25\r\n", ",3.25\r\n"),
        (|e| e.double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n"),
        (|e| e.big_number("-123"), "$4\r\n-123\r\n", "(-123\r\n"),
        (|e| e.verbatim(*b"txt", b"hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"),
        (|e| e.array(2), "*2\r\n", "*2\r\n"),
        (|e| e.map(2), "*4\r\n", "%2\r\n"),
        (|e| e.set(2), "*2\r\n", "~2\r\n"),
        (|e| e.push(2), "*2\r\n", ">2\r\n"),
    ];
    for (number, (write, two, three)) in cases.iter().enumerate() {
        let text = |protocol| alloc::string::String::from_utf8(encoded(protocol, write)).unwrap();
        assert_eq!(text(Protocol::Resp2), *two, "case {number}");
        assert_eq!(text(Protocol::Resp3), *three, "case {number}");
    }
}

#[test]
fn doubles_are_short() {
    for (value, text) in [
        (0.0, "0"),
        (1.0, "1"),
        (-1.5, "-1.5"),
        (0.1, "0.1"),
        (1e16, "10000000000000000"),
        (1e17, "1e+17"),
        (-2.5e300, "-2.5e+300"),
        (1e-7, "1e-7"),
        (f64::INFINITY, "inf"),
        (f64::NAN, "nan"),
    ] {
        assert_eq!(format_double(value).to_string(), text);
    }
}

proptest! {
    #[test]
    fn doubles_read_back(value in proptest::num::f64::NORMAL) {
        prop_assert_eq!(format_double(value).to_string().parse::<f64>(), Ok(value));
    }

    #[test]
    fn integers_and_bulks_read_back(number: i64, bytes: Vec<u8>) {
        let out = encoded(Protocol::Resp3, |encoder| {
            encoder.integer(number);
            encoder.bulk(&bytes);
        });
        let mut expected = format!(":{number}\r\n${}\r\n", bytes.len()).into_bytes();
        expected.extend_from_slice(&bytes);
        expected.extend_from_slice(b"\r\n");
        prop_assert_eq!(out, expected);
    }
}
