//! Requests from any bytes: no panic, the same commands however the bytes are split, and no disagreement with the
//! `redis-protocol` crate about what a well-formed array of bulk strings holds.
//!
//! The first input byte says into how large pieces the rest is cut.
use redis_protocol::resp2::{decode::decode, types::OwnedFrame};
use windrow_proto::{
    limits::Limits,
    resp::{ParseError, Parser, Progress},
};

type Command = Vec<Vec<u8>>;

/// Tries one input.
pub fn resp(data: &[u8]) {
    let Some((&piece, input)) = data.split_first() else { return };
    for limits in [Limits::AUTHENTICATED, Limits::UNAUTHENTICATED] {
        let whole = parse(input, input.len().max(1), &limits);
        let pieces = parse(input, usize::from(piece).max(1), &limits);
        assert_eq!(whole, pieces);
    }
    compare_with_oracle(input);
}

fn parse(input: &[u8], piece: usize, limits: &Limits) -> (Vec<Command>, usize, Option<ParseError>) {
    let (mut parser, mut commands) = (Parser::new(), Vec::new());
    let (mut start, mut end) = (0, 0);
    loop {
        match parser.parse(&input[start..end], limits) {
            Ok(Progress::Complete { consumed }) => {
                commands.push(parser.args(&input[start..end]).from(0).map(<[u8]>::to_vec).collect());
                start += consumed;
            }
            Ok(Progress::Incomplete { need }) => {
                assert!(need > end - start);
                if end == input.len() {
                    return (commands, start, None);
                }
                end = (end + piece).min(input.len());
            }
            Err(error) => return (commands, start, Some(error)),
        }
    }
}

fn compare_with_oracle(input: &[u8]) {
    if input.first() != Some(&b'*') {
        return;
    }
    let mut parser = Parser::new();
    let ours = parser.parse(input, &Limits::AUTHENTICATED);
    let oracle = decode(input);
    match ours {
        Ok(Progress::Complete { consumed }) => {
            let args = parser.args(input);
            // What is skipped without a word, a negative length included, is not the oracle's business.
            if args.is_empty() {
                return;
            }
            let Ok(Some((OwnedFrame::Array(frames), oracle_consumed))) = oracle else {
                panic!("only ours takes it: {oracle:?}");
            };
            assert_eq!(consumed, oracle_consumed);
            assert_eq!(frames.len(), args.len());
            for (frame, arg) in frames.iter().zip(args.from(0)) {
                assert!(matches!(frame, OwnedFrame::BulkString(bytes) if bytes == arg), "{frame:?} is not {arg:?}");
            }
        }
        Ok(Progress::Incomplete { .. }) => assert!(!matches!(oracle, Ok(Some(_))), "only the oracle is content"),
        Err(_) => {
            // The oracle also takes nested arrays, other types, and numbers with zeros or a plus before them; but what
            // a client would have written must have been taken.
            if let Ok(Some((OwnedFrame::Array(frames), consumed))) = oracle {
                assert_ne!(canonical(&frames).as_deref(), Some(&input[..consumed]), "only the oracle takes it");
            }
        }
    }
}

/// The frames as a client writes them, if they are a command.
fn canonical(frames: &[OwnedFrame]) -> Option<Vec<u8>> {
    let mut bytes = format!("*{}\r\n", frames.len()).into_bytes();
    for frame in frames {
        let OwnedFrame::BulkString(arg) = frame else { return None };
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    Some(bytes)
}
