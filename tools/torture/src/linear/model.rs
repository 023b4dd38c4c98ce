//! What one key does, one command after the other: the specification that histories are checked against.

use std::sync::Arc;

/// A value.
pub type Bytes = Arc<[u8]>;
/// What a key holds.
pub type State = Option<Bytes>;

/// A command on one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// `GET`
    Get,
    /// `GETEX … PERSIST`
    GetEx,
    /// `SET`
    Set(Bytes),
    /// `SET … NX`
    SetNx(Bytes),
    /// `SET … XX`
    SetXx(Bytes),
    /// `GETSET`
    GetSet(Bytes),
    /// `GETDEL`
    GetDel,
    /// `INCR`
    Incr,
    /// `APPEND`
    Append(Bytes),
    /// `DEL`
    Del,
}

/// Its reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// `OK`
    Done,
    /// A value, or that there is none. Of `SET … NX` and `XX`: that it was not done.
    Value(State),
    /// A number: what `INCR` came to, how long `APPEND` made the value, how many `DEL` removed.
    Number(i64),
    /// That the value is not an integer, or would overflow.
    NotInteger,
}

/// What `input` does on `state`: the state after it, and its reply.
#[must_use]
pub fn apply(state: &State, input: &Input) -> (State, Output) {
    match input {
        Input::Get | Input::GetEx => (state.clone(), Output::Value(state.clone())),
        Input::Set(value) => (Some(value.clone()), Output::Done),
        Input::SetNx(value) if state.is_none() => (Some(value.clone()), Output::Done),
        Input::SetXx(value) if state.is_some() => (Some(value.clone()), Output::Done),
        Input::SetNx(_) | Input::SetXx(_) => (state.clone(), Output::Value(None)),
        Input::GetSet(value) => (Some(value.clone()), Output::Value(state.clone())),
        Input::GetDel => (None, Output::Value(state.clone())),
        Input::Del => (None, Output::Number(i64::from(state.is_some()))),
        Input::Append(more) => {
            let value: Bytes = [state.as_deref().unwrap_or_default(), more].concat().into();
            let len = i64::try_from(value.len()).unwrap_or(i64::MAX);
            (Some(value), Output::Number(len))
        }
        Input::Incr => match state.as_deref().map_or(Some(0), integer).and_then(|number| number.checked_add(1)) {
            Some(number) => (Some(number.to_string().into_bytes().into()), Output::Number(number)),
            None => (state.clone(), Output::NotInteger),
        },
    }
}

/// An integer in its one canonical form.
fn integer(bytes: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(bytes).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == bytes).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Bytes {
        text.as_bytes().into()
    }

    #[test]
    fn commands_do_what_the_protocol_says() {
        let (none, a) = (None, Some(bytes("a")));
        for (state, input, after, reply) in [
            (&none, Input::Get, none.clone(), Output::Value(None)),
            (&a, Input::GetEx, a.clone(), Output::Value(a.clone())),
            (&none, Input::SetNx(bytes("a")), a.clone(), Output::Done),
            (&a, Input::SetNx(bytes("b")), a.clone(), Output::Value(None)),
            (&none, Input::SetXx(bytes("a")), None, Output::Value(None)),
            (&a, Input::SetXx(bytes("b")), Some(bytes("b")), Output::Done),
            (&a, Input::GetSet(bytes("b")), Some(bytes("b")), Output::Value(a.clone())),
            (&a, Input::GetDel, None, Output::Value(a.clone())),
            (&a, Input::Del, None, Output::Number(1)),
            (&none, Input::Del, None, Output::Number(0)),
            (&none, Input::Append(bytes("a")), a.clone(), Output::Number(1)),
            (&a, Input::Append(bytes("bc")), Some(bytes("abc")), Output::Number(3)),
            (&none, Input::Incr, Some(bytes("1")), Output::Number(1)),
            (&Some(bytes("41")), Input::Incr, Some(bytes("42")), Output::Number(42)),
            (&Some(bytes("041")), Input::Incr, Some(bytes("041")), Output::NotInteger),
            (&Some(bytes("9223372036854775807")), Input::Incr, Some(bytes("9223372036854775807")), Output::NotInteger),
        ] {
            assert_eq!(apply(state, &input), (after, reply), "{input:?} on {state:?}");
        }
    }
}
