//! Rust source with its comments and string contents blanked out, so that a rule sees only code.

/// `text` with every character of comments, strings and character literals replaced by a space.
///
/// Line breaks stay, so that line numbers hold.
pub(crate) fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => line_end(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => block_comment_end(&chars, at),
            '"' => string_end(&chars, at),
            'r' if !follows_word(&chars, at) => raw_string_end(&chars, at),
            'b' | 'c' if !follows_word(&chars, at) && chars.get(at + 1) == Some(&'r') => {
                let end = raw_string_end(&chars, at + 1);
                if end > at + 1 { end } else { at }
            }
            '\'' => char_end(&chars, at),
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// Whether `line` holds `word` as a word of its own.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(is_word) && !line[at + word.len()..].starts_with(is_word))
}

fn follows_word(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

fn line_end(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|&c| c == '\n').map_or(chars.len(), |len| at + len)
}

fn block_comment_end(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0_u32;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut at = at + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// The end of the raw string whose `r` is at `at`, or `at` where none starts there.
fn raw_string_end(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
    if chars.get(at + 1 + hashes) != Some(&'"') {
        return at;
    }
    let mut closing = vec!['"'];
    closing.resize(hashes + 1, '#');
    let body = at + 2 + hashes;
    let len = chars[body..].windows(closing.len()).position(|window| window == closing.as_slice());
    len.map_or(chars.len(), |len| body + len + closing.len())
}

/// The end of the character literal at `at`, or `at` where this is a lifetime.
fn char_end(chars: &[char], at: usize) -> usize {
    if chars.get(at + 1) == Some(&'\\') {
        let close = chars.get(at + 3..).and_then(|rest| rest.iter().position(|&c| c == '\''));
        return close.map_or(chars.len(), |len| at + 3 + len + 1);
    }
    if chars.get(at + 2) == Some(&'\'') { at + 3 } else { at }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        code_of(text).split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn comments_and_strings_are_blanked() {
        assert_eq!(words("a // unsafe\nb /* unsafe /* nested */ unsafe */ c"), ["a", "b", "c"]);
        assert_eq!(words(r##"a "un\"safe" b r"\" c r#"x"y"# d br"z" e"##), ["a", "b", "c", "d", "e"]);
        assert_eq!(words("for r in br { crate }"), ["for", "r", "in", "br", "{", "crate", "}"]);
    }

    #[test]
    fn lifetimes_are_not_character_literals() {
        assert_eq!(
            words(r"fn f<'a>(x: &'a u8) { '\'' ; '\\' ; 'x' ; '\u{1F600}' ; y }").join(""),
            "fnf<'a>(x:&'au8){;;;;y}"
        );
    }

    #[test]
    fn lines_keep_their_numbers() {
        let text = "a\n/* b\n c */ \"d\n e\"\nf";
        assert_eq!(code_of(text).lines().count(), text.lines().count());
        assert_eq!(code_of(text).lines().last(), Some("f"));
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("unsafe {", "unsafe"));
        assert!(!has_word("deny(unsafe_code)", "unsafe"));
        assert!(!has_word("an_unsafe", "unsafe"));
    }
}
