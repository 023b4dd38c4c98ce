use alloc::{vec, vec::Vec};

use proptest::prelude::*;

use super::{matches, matches_ignoring_case};

#[test]
fn patterns_match_what_redis_matches() {
    #[rustfmt::skip]
    let cases: &[(&str, &str, bool)] = &[
        ("", "", true), ("", "a", false), ("a", "", false), ("*", "", true), ("*", "anything", true),
        ("h?llo", "hello", true), ("h?llo", "hllo", false), ("h*llo", "heeeello", true), ("h*llo", "hell", false),
        ("h[ae]llo", "hallo", true), ("h[ae]llo", "hillo", false), ("h[^e]llo", "hallo", true),
        ("h[^e]llo", "hello", false), ("h[a-b]llo", "hbllo", true), ("h[a-b]llo", "hcllo", false),
        ("[z-a]", "b", true), ("[a-", "-", true), ("[a-", "b", false), ("[", "a", false), ("[", "[", false),
        ("[^", "a", true), ("[^]", "]", true), ("[]]", "]", false), ("[\\]]", "]", true), ("[a-\\]]", "]", false),
        ("a\\", "a\\", true), ("a\\", "a", false), ("\\*", "*", true), ("\\*", "a", false), ("\\a", "a", true),
        ("*a*b", "xaxxb", true), ("*a*b", "xbxxa", false), ("a*", "a", true), ("**", "", true), ("a**b", "ab", true),
        ("*abab", "abaabab", true), ("*?", "", false), ("?*", "a", true), ("A", "a", false),
    ];
    for &(pattern, text, expected) in cases {
        assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern:?} on {text:?}");
    }
    assert!(matches_ignoring_case(b"MaX[A-C]*", b"maxb-memory"));
    assert!(matches_ignoring_case(b"max[a-c]*", b"MAXB"));
    assert!(!matches_ignoring_case(b"max[a-c]*", b"maxd"));
}

/// As a pattern with thousands of stars would take ages, or a deep stack, if each star tried every rest of the text
/// for every choice of the stars before it.
#[test]
fn many_stars_take_a_bounded_number_of_steps() {
    let pattern: Vec<u8> = b"*a".repeat(10_000);
    let mut text = vec![b'a'; 30_000];
    assert!(matches(&pattern, &text));
    text.push(b'b');
    assert!(!matches(&pattern, &text));
}

/// The definition of a match, without any cleverness.
fn naive(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], text) => text.is_empty(),
        ([b'*', rest @ ..], text) => (0..=text.len()).any(|taken| naive(rest, &text[taken..])),
        ([b'?', rest @ ..], [_, tail @ ..]) => naive(rest, tail),
        ([b'\\', wanted, rest @ ..], [byte, tail @ ..]) => wanted == byte && naive(rest, tail),
        ([wanted, rest @ ..], [byte, tail @ ..]) => wanted == byte && naive(rest, tail),
        (_, []) => false,
    }
}

proptest! {
    #[test]
    fn stars_match_as_defined(pattern in "[ab*?\\\\]{0,8}", text in "[ab*\\\\]{0,10}") {
        prop_assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), naive(pattern.as_bytes(), text.as_bytes()));
    }

    #[test]
    fn no_pattern_panics(pattern: Vec<u8>, text: Vec<u8>) {
        let _ = matches(&pattern, &text);
        let _ = matches_ignoring_case(&pattern, &text);
    }
}
