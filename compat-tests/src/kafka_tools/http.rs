//! The little of HTTP that Connect's REST interface needs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Sends a request to `HOST:PORT/PATH`; the status line's number and the body of the answer.
pub fn request(method: &str, url: &str, body: &str) -> Result<(i64, String), String> {
    let (address, path) = url.split_once('/').ok_or("no path in the address")?;
    let exchange = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        // Version 1.0: the answer comes in one piece and ends with the connection.
        write!(
            stream,
            "{method} /{path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(|error| format!("{url}: {error}"))?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| format!("no answer of HTTP: {answer}"))?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| format!("no status: {head}"))?;
    Ok((status, body.to_owned()))
}
