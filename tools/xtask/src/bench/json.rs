//! As much of JSON as results need: numbers and strings by their path.

use std::iter::Peekable;
use std::str::Chars;

/// A value; objects keep their order.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// `None` where `text` is not one JSON value.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut chars = text.chars().peekable();
        let value = value(&mut chars)?;
        skip_space(&mut chars);
        chars.next().is_none().then_some(value)
    }

    /// The value at a path of names, such as `latency.p99`.
    pub(crate) fn at(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |value, name| match value {
            Self::Object(fields) => fields.iter().find(|(field, _)| field == name).map(|(_, value)| value),
            _ => None,
        })
    }

    pub(crate) fn number(&self, path: &str) -> Option<f64> {
        match self.at(path)? {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        match self.at(path)? {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

type Input<'a> = Peekable<Chars<'a>>;

fn skip_space(chars: &mut Input<'_>) {
    while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
}

fn value(chars: &mut Input<'_>) -> Option<Json> {
    skip_space(chars);
    match *chars.peek()? {
        '{' => {
            let field = |chars: &mut Input<'_>| {
                skip_space(chars);
                let name = string(chars)?;
                skip_space(chars);
                chars.next_if_eq(&':')?;
                Some((name, value(chars)?))
            };
            sequence(chars, '}', field).map(Json::Object)
        }
        '[' => sequence(chars, ']', value).map(Json::List),
        '"' => string(chars).map(Json::Text),
        _ => {
            let mut word = String::new();
            while let Some(c) = chars.next_if(|&c| c.is_ascii_alphanumeric() || "+-.".contains(c)) {
                word.push(c);
            }
            match word.as_str() {
                "null" => Some(Json::Null),
                "true" => Some(Json::Bool(true)),
                "false" => Some(Json::Bool(false)),
                number => number.parse().ok().map(Json::Number),
            }
        }
    }
}

/// What is between the bracket that is next and `end`, with commas in between.
fn sequence<T>(chars: &mut Input<'_>, end: char, item: impl Fn(&mut Input<'_>) -> Option<T>) -> Option<Vec<T>> {
    chars.next();
    let mut items = Vec::new();
    skip_space(chars);
    if chars.next_if_eq(&end).is_some() {
        return Some(items);
    }
    loop {
        items.push(item(chars)?);
        skip_space(chars);
        match chars.next()? {
            ',' => {}
            c if c == end => return Some(items),
            _ => return None,
        }
    }
}

fn string(chars: &mut Input<'_>) -> Option<String> {
    chars.next_if_eq(&'"')?;
    let mut text = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\\' => match chars.next()? {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'u' => {
                    let digits: String = (0..4).map_while(|_| chars.next()).collect();
                    text.push(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32).unwrap_or('\u{FFFD}'));
                }
                other => text.push(other),
            },
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_path() {
        let text = r#" {"a": {"b": [1, -2.5e3], "c": "x\"y\u0041"}, "d": 7, "e": null, "f": true, "g": {}} "#;
        let json = Json::parse(text).unwrap();
        assert_eq!(json.number("d"), Some(7.0));
        assert_eq!(json.text("a.c"), Some("x\"yA"));
        assert_eq!(json.at("a.b"), Some(&Json::List(vec![Json::Number(1.0), Json::Number(-2500.0)])));
        assert_eq!((json.number("a.x"), json.number("e"), json.text("d")), (None, None, None));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "{", "[1,", "{\"a\" 1}", "[1] 2", "\"a", "nul", "[1 2]"] {
            assert_eq!(Json::parse(text), None, "{text}");
        }
    }
}
