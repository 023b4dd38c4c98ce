//! Requests, compiled once: what does not change from one to the next is bytes already.

use crate::error::Usage;
use crate::keys::KeyText;
use crate::values;

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Bytes(Vec<u8>),
    Key,
    /// `$`, the length of a word of `fixed` bytes and `values` values, and the line's end.
    Length {
        fixed: usize,
        values: usize,
    },
    Value,
}

/// One command in RESP with places for the key and the value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Template {
    pieces: Vec<Piece>,
    keys: KeyText,
    has_value: bool,
}

impl Template {
    /// From words with `{key}` and `{value}` in them.
    pub(crate) fn parse(line: &str, keys: &KeyText) -> Result<Self, Usage> {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.is_empty() {
            return Err(Usage::Template { text: line.to_owned() });
        }
        let mut template = Self { pieces: Vec::new(), keys: keys.clone(), has_value: false };
        template.bytes(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            template.word(word, line)?;
        }
        Ok(template)
    }

    fn word(&mut self, word: &str, line: &str) -> Result<(), Usage> {
        let parts = parts(word).ok_or_else(|| Usage::Template { text: line.to_owned() })?;
        let values = parts.iter().filter(|part| **part == Part::Value).count();
        let fixed = parts.iter().map(|part| part.fixed(&self.keys)).sum();
        if values == 0 {
            self.bytes(format!("${fixed}\r\n").as_bytes());
        } else {
            self.pieces.push(Piece::Length { fixed, values });
            self.has_value = true;
        }
        for part in parts {
            match part {
                Part::Text(text) => self.bytes(text.as_bytes()),
                Part::Key => self.pieces.push(Piece::Key),
                Part::Value => self.pieces.push(Piece::Value),
            }
        }
        self.bytes(b"\r\n");
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if let Some(Piece::Bytes(last)) = self.pieces.last_mut() {
            last.extend_from_slice(bytes);
        } else {
            self.pieces.push(Piece::Bytes(bytes.to_vec()));
        }
    }

    pub(crate) const fn has_value(&self) -> bool {
        self.has_value
    }

    /// Appends the command for `key` with the value of `version`, `size` bytes.
    pub(crate) fn write(&self, key: u64, version: u64, size: u32, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Bytes(bytes) => out.extend_from_slice(bytes),
                Piece::Key => self.keys.write(key, out),
                Piece::Value => values::write(key, version, size, out),
                Piece::Length { fixed, values } => {
                    let length = fixed + values * usize::try_from(size).unwrap_or(0);
                    out.push(b'$');
                    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
                    out.extend_from_slice(b"\r\n");
                }
            }
        }
    }
}

#[derive(PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Key,
    Value,
}

impl Part<'_> {
    fn fixed(&self, keys: &KeyText) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Key => keys.len(),
            Self::Value => 0,
        }
    }
}

fn parts(word: &str) -> Option<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    let mut rest = word;
    while let Some(open) = rest.find('{') {
        if open > 0 {
            parts.push(Part::Text(&rest[..open]));
        }
        let close = open + rest[open..].find('}')?;
        parts.push(match &rest[open..=close] {
            "{key}" => Part::Key,
            "{value}" => Part::Value,
            _ => return None,
        });
        rest = &rest[close + 1..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    Some(parts)
}

/// A command of plain words.
pub(crate) fn words(words: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    out
}
