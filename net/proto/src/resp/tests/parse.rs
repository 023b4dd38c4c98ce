use alloc::{format, string::ToString, vec, vec::Vec};

use proptest::prelude::*;

use crate::{
    limits::Limits,
    resp::{ArgsBuf, ParseError, Parser, Progress, parse_i64},
};

type Command = Vec<Vec<u8>>;

/// Everything that `input` holds, as a connection would read it that receives `cuts` bytes at a time.
fn parse_in_pieces(
    input: &[u8],
    mut cuts: impl FnMut() -> usize,
    limits: &Limits,
) -> (Vec<Command>, Result<(), ParseError>) {
    let (mut parser, mut commands) = (Parser::new(), Vec::new());
    let (mut start, mut end) = (0, 0);
    loop {
        match parser.parse(&input[start..end], limits) {
            Ok(Progress::Complete { consumed }) => {
                assert!(consumed > 0 && start + consumed <= end);
                commands.push(parser.args(&input[start..end]).from(0).map(<[u8]>::to_vec).collect());
                start += consumed;
                assert!(!parser.is_partial());
            }
            Ok(Progress::Incomplete { need }) => {
                assert!(need > end - start, "a need that has already been met would stall the connection");
                if end == input.len() {
                    return (commands, Ok(()));
                }
                end = (end + cuts().max(1)).min(input.len());
            }
            Err(error) => return (commands, Err(error)),
        }
    }
}

fn parse_all(input: &[u8]) -> (Vec<Command>, Result<(), ParseError>) {
    parse_in_pieces(input, || usize::MAX / 2, &Limits::AUTHENTICATED)
}

fn frame(command: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for arg in command {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn words(text: &str) -> Command {
    text.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

#[test]
fn arrays_and_lines_are_commands() {
    let (commands, end) =
        parse_all(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$0\r\n\r\nPING  hi\r\n\r\n*0\r\n*-1\r\nGET a\n*1\r\n$4\r\nPI");
    assert_eq!(end, Ok(()));
    assert_eq!(
        commands,
        [vec![b"SET".to_vec(), b"a".to_vec(), vec![]], words("PING hi"), vec![], vec![], vec![], words("GET a")]
    );
}

#[test]
fn lines_are_split_as_redis_does() {
    type Case = (&'static [u8], Result<&'static [&'static [u8]], ParseError>);
    #[rustfmt::skip]
    let cases: &[Case] = &[
        (b" \t set  k\tv ", Ok(&[b"set", b"k", b"v"])),
        (br#"set k "a b\n\r\t\b\a\x41\xfF\x4g\q\"""#, Ok(&[b"set", b"k", b"a b\n\r\t\x08\x07A\xffx4gq\""])),
        (br"set k 'a \n \' b'", Ok(&[b"set", b"k", br"a \n ' b"])),
        (br#"a"b c" d"#, Ok(&[b"ab c", b"d"])),
        (br#"'' "" x"#, Ok(&[b"", b"", b"x"])),
        (b"a\0b c", Ok(&[b"a"])),
        (b"a\x0Bb", Ok(&[b"a\x0Bb"])),
        (br#"set k "a"#, Err(ParseError::Quotes)),
        (br"set k 'a", Err(ParseError::Quotes)),
        (br#"set "k"v"#, Err(ParseError::Quotes)),
        (br"set 'k'v", Err(ParseError::Quotes)),
        (br#"set "k\"#, Err(ParseError::Quotes)),
    ];
    for (line, expected) in cases {
        let (commands, end) = parse_all(&[line, &b"\r\n"[..]].concat());
        match expected {
            Ok(words) => {
                assert_eq!(end, Ok(()), "{}", line.escape_ascii());
                assert_eq!(commands, [words.to_vec()], "{}", line.escape_ascii());
            }
            Err(error) => assert_eq!(end, Err(*error), "{}", line.escape_ascii()),
        }
    }
}

#[test]
fn errors_have_the_texts_of_redis() {
    let long_line = vec![b'a'; 64 << 10];
    #[rustfmt::skip]
    let cases: &[(&[u8], &str)] = &[
        (b"*x\r\n", "Protocol error: invalid multibulk length"),
        (b"*03\r\n", "Protocol error: invalid multibulk length"),
        (b"*+3\r\n", "Protocol error: invalid multibulk length"),
        (b"*\r\n", "Protocol error: invalid multibulk length"),
        (b"*3\r3\r\n", "Protocol error: invalid multibulk length"),
        (b"*65537\r\n", "Protocol error: invalid multibulk length"),
        (b"*9223372036854775808\r\n", "Protocol error: invalid multibulk length"),
        (b"*111111111111111111111", "Protocol error: invalid multibulk length"),
        (b"*1\r\n:1\r\n", "Protocol error: expected '$', got ':'"),
        (b"*1\r\n*1\r\n", "Protocol error: expected '$', got '*'"),
        (b"*1\r\n\n", "Protocol error: expected '$', got '\\n'"),
        (b"*1\r\n$x\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$-1\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$67108865\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$99999999999999999999\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$1\r\nabc", "Protocol error: expected CRLF after bulk"),
        (b"get \"a\r\n", "Protocol error: unbalanced quotes in request"),
        (&long_line, "Protocol error: too big inline request"),
    ];
    for (input, text) in cases {
        let shown = input[..input.len().min(40)].escape_ascii();
        let whole = parse_all(input).1.expect_err("no request");
        assert_eq!(whole.to_string(), *text, "{shown}");
        let bytewise = parse_in_pieces(input, || 1, &Limits::AUTHENTICATED).1;
        assert_eq!(bytewise, Err(whole), "{shown}");
    }
}

#[test]
fn limits_hold_at_their_edges() {
    let limits = Limits { bulk_len: 8, array_len: 3, inline_len: 16, command_len: 40, unauthenticated: false };
    let parse = |input: &[u8]| parse_in_pieces(input, || 1, &limits).1;
    assert_eq!(parse(b"*3\r\n$8\r\n12345678\r\n"), Ok(()));
    assert_eq!(parse(b"*3\r\n$9\r\n"), Err(ParseError::BulkLength));
    assert_eq!(parse(b"*4\r\n"), Err(ParseError::ArrayLength));
    assert_eq!(parse(b"123456789012345"), Ok(()));
    assert_eq!(parse(b"1234567890123456"), Err(ParseError::InlineLength));
    assert_eq!(parse(b"12345678901234\r\n"), Ok(()));
    assert_eq!(parse(b"a b c d\r\n"), Err(ParseError::InlineLength));
    assert_eq!(parse(b"*3\r\n$8\r\n12345678\r\n$8\r\n12345678\r\n$2\r\n12\r\n"), Ok(()));
    assert_eq!(parse(b"*3\r\n$8\r\n12345678\r\n$8\r\n12345678\r\n$5\r\n"), Err(ParseError::CommandLength { max: 40 }));
}

#[test]
fn little_is_taken_before_authentication() {
    let parse = |input: &[u8]| parse_in_pieces(input, || 7, &Limits::UNAUTHENTICATED).1;
    let text = |input: &[u8]| parse(input).expect_err("too much").to_string();
    assert_eq!(parse(b"*10\r\n$4096\r\n"), Ok(()));
    assert_eq!(text(b"*11\r\n"), "Protocol error: unauthenticated multibulk length");
    assert_eq!(text(b"*1\r\n$4097\r\n"), "Protocol error: unauthenticated bulk length");
    assert_eq!(text(b"*1\r\n$-1\r\n"), "Protocol error: invalid bulk length");
    assert_eq!(parse(b"a b c d e f g h i j\r\n"), Ok(()));
    assert_eq!(parse(b"a b c d e f g h i j k\r\n"), Err(ParseError::InlineLength));
}

/// The peer only claims the length; nothing is reserved for it.
#[test]
fn a_large_argument_is_neither_read_twice_nor_reserved() {
    let mut parser = Parser::new();
    let mut input = b"*2\r\n$3\r\nGET\r\n$67108864\r\n".to_vec();
    let need = input.len() + (64 << 20) + 2;
    assert_eq!(parser.parse(&input, &Limits::AUTHENTICATED), Ok(Progress::Incomplete { need }));
    assert!(parser.is_partial());
    // What has been understood is not looked at again.
    input[..4].copy_from_slice(b"????");
    input.extend_from_slice(b"abc");
    assert_eq!(parser.parse(&input, &Limits::AUTHENTICATED), Ok(Progress::Incomplete { need }));
}

#[test]
fn owned_arguments_read_like_those_of_the_input() {
    let input = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$0\r\n\r\n";
    let mut parser = Parser::new();
    assert_eq!(parser.parse(input, &Limits::AUTHENTICATED), Ok(Progress::Complete { consumed: input.len() }));
    let args = parser.args(input);
    let mut copy = ArgsBuf::copied(args);
    assert_eq!(copy.args().len(), 3);
    assert!(copy.args().from(0).eq(args.from(0)));
    assert_eq!((copy.args().at(1), copy.args().get(3), copy.args().at(3)), (&b"a"[..], None, &b""[..]));
    copy.clear();
    assert!(copy.args().is_empty());
}

#[test]
fn integers_are_read_strictly() {
    #[rustfmt::skip]
    let cases: &[(&str, Option<i64>)] = &[
        ("0", Some(0)), ("-1", Some(-1)), ("9223372036854775807", Some(i64::MAX)),
        ("-9223372036854775808", Some(i64::MIN)), ("9223372036854775808", None), ("-9223372036854775809", None),
        ("", None), ("-", None), ("+1", None), ("01", None), ("-0", None), (" 1", None), ("1 ", None), ("1.0", None),
        ("111111111111111111111", None),
    ];
    for &(text, expected) in cases {
        assert_eq!(parse_i64(text.as_bytes()), expected, "{text:?}");
    }
}

fn command() -> impl Strategy<Value = Command> {
    proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 1..5)
}

/// Bytes that look enough like requests to get past the first branch.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"*1\r\n".to_vec()),
        Just(b"*2\r\n".to_vec()),
        Just(b"$3\r\nGET\r\n".to_vec()),
        Just(b"$".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"-12".to_vec()),
        Just(b"PING \"a b\" ".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..6),
        "[0-9]{1,22}".prop_map(alloc::string::String::into_bytes),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn commands_survive_framing_and_any_split(
        commands in proptest::collection::vec(command(), 0..6),
        cuts in proptest::collection::vec(1_usize..40, 1..20),
    ) {
        let input: Vec<u8> = commands.iter().flat_map(|command| frame(command)).collect();
        let mut cuts = cuts.into_iter().cycle();
        let pieces = parse_in_pieces(&input, || cuts.next().unwrap_or(1), &Limits::AUTHENTICATED);
        prop_assert_eq!(pieces, (commands, Ok(())));
    }

    #[test]
    fn any_bytes_mean_the_same_however_they_are_split(
        input in soup(),
        cuts in proptest::collection::vec(1_usize..8, 1..20),
    ) {
        let mut cuts = cuts.into_iter().cycle();
        let pieces = parse_in_pieces(&input, || cuts.next().unwrap_or(1), &Limits::UNAUTHENTICATED);
        prop_assert_eq!(parse_in_pieces(&input, || usize::MAX / 2, &Limits::UNAUTHENTICATED), pieces);
    }

    #[test]
    fn numbers_read_back(number: i64) {
        prop_assert_eq!(parse_i64(number.to_string().as_bytes()), Some(number));
    }
}
