//! The little of HTTP/1.1 that a scraper needs: one request, one answer, then the connection closes.

use std::io::{self, Read, Write};
use std::time::Instant;

/// A request's line and headers must fit into this many bytes.
pub const HEADER_LEN_MAX: usize = 8 << 10;

/// What a client asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Request {
    /// The path without the query.
    pub(super) path: String,
    /// `HEAD`: the answer's body is left out.
    pub(super) head: bool,
}

/// Why there is no request to answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum RequestError {
    /// It is not HTTP, or a part of it that is not understood here.
    #[error("400 Bad Request")]
    Malformed,
    /// Only GET and HEAD are answered.
    #[error("405 Method Not Allowed")]
    Method,
    /// It did not come in time.
    #[error("408 Request Timeout")]
    TooSlow,
    /// See [`HEADER_LEN_MAX`].
    #[error("431 Request Header Fields Too Large")]
    TooLarge,
    /// The connection is of no use any more.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
}

/// What is sent back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Response {
    /// Code and reason, such as `200 OK`.
    pub(super) status: &'static str,
    /// The media type of the body.
    pub(super) content_type: &'static str,
    /// The body.
    pub(super) body: String,
}

impl Response {
    /// A body of plain text.
    pub(super) fn text(status: &'static str, body: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }
}

/// Reads one request, up to the end of its headers. `stream` must have a read timeout, so that the deadline is
/// looked at even if nothing comes.
pub(super) fn read_request(stream: &mut impl Read, deadline: Instant) -> Result<Request, RequestError> {
    let mut received = Vec::with_capacity(1 << 10);
    let mut chunk = [0; 1 << 10];
    loop {
        if Instant::now() >= deadline {
            return Err(RequestError::TooSlow);
        }
        match stream.read(&mut chunk) {
            Ok(0) => return Err(RequestError::Malformed),
            Ok(len) => received.extend_from_slice(&chunk[..len]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            return parse(received.get(..end).unwrap_or_default());
        }
        if received.len() >= HEADER_LEN_MAX {
            return Err(RequestError::TooLarge);
        }
    }
}

fn parse(header: &[u8]) -> Result<Request, RequestError> {
    let line = header.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| RequestError::Malformed)?;
    let mut parts = line.split(' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(RequestError::Malformed);
    };
    if !version.starts_with("HTTP/1.") || !target.starts_with('/') {
        return Err(RequestError::Malformed);
    }
    let head = match method {
        "GET" => false,
        "HEAD" => true,
        _ => return Err(RequestError::Method),
    };
    let path = target.split('?').next().unwrap_or(target).to_owned();
    Ok(Request { path, head })
}

/// Sends `response`, without its body if the request was `HEAD`.
pub(super) fn write_response(stream: &mut impl Write, response: &Response, head: bool) -> io::Result<()> {
    let Response { status, content_type, body } = response;
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    let header = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{allow}\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(header.as_bytes())?;
    if !head {
        stream.write_all(body.as_bytes())?;
    }
    stream.flush()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Request, RequestError> {
        let mut bytes = bytes;
        read_request(&mut bytes, Instant::now() + Duration::from_secs(60))
    }

    #[test]
    fn a_request_is_its_path() {
        let request = read(b"GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\nrest").unwrap();
        assert_eq!(request, Request { path: "/metrics".to_owned(), head: false });
        assert!(read(b"HEAD / HTTP/1.0\r\n\r\n").unwrap().head);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for bytes in [
            &b"GET /\r\n\r\n"[..],
            b"GET / HTTP/2\r\n\r\n",
            b"GET http://a/ HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1 x\r\n\r\n",
            b"\xff\xfe / HTTP/1.1\r\n\r\n",
            b"\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n",
            b"",
        ] {
            assert!(matches!(read(bytes), Err(RequestError::Malformed)), "{:?}", bytes.escape_ascii().to_string());
        }
        assert!(matches!(read(b"POST / HTTP/1.1\r\n\r\n"), Err(RequestError::Method)));
        assert!(matches!(read(&[b'a'; 2 * HEADER_LEN_MAX]), Err(RequestError::TooLarge)));
        let mut never = &b"GET / HTTP/1.1\r\n\r\n"[..];
        assert!(matches!(read_request(&mut never, Instant::now()), Err(RequestError::TooSlow)));
    }

    #[test]
    fn the_answer_to_head_has_the_length_of_a_body_that_is_left_out() {
        let mut sent = Vec::new();
        write_response(&mut sent, &Response::text("200 OK", "four"), true).unwrap();
        let sent = String::from_utf8(sent).unwrap();
        assert!(sent.starts_with("HTTP/1.1 200 OK\r\n") && sent.contains("Content-Length: 4\r\n"), "{sent}");
        assert!(sent.ends_with("\r\n\r\n"), "{sent}");
    }
}
