//! Blocking frames over a socket, and the two ways in which the bench speaks to a person.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::Failure;

/// Prints a line of a result.
pub(crate) fn say(line: &str) {
    // a closed pipe ends the reading, not the measuring
    let _closed = writeln!(std::io::stdout(), "{line}");
}

/// Prints a line of an error.
pub(crate) fn say_error(line: &str) {
    let _closed = writeln!(std::io::stderr(), "{line}");
}

/// Connects with small answers sent at once.
pub(crate) fn connect(address: &str) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads one frame into `buffer`, without its length prefix.
pub(crate) fn read_frame(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<(), Failure> {
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix)?;
    let length = usize::try_from(i32::from_be_bytes(prefix))?;
    buffer.resize(length, 0);
    stream.read_exact(buffer)?;
    Ok(())
}

/// Sends a frame and reads the answer.
pub(crate) fn call(stream: &mut TcpStream, frame: &[u8]) -> Result<Vec<u8>, Failure> {
    stream.write_all(frame)?;
    let mut answer = Vec::new();
    read_frame(stream, &mut answer)?;
    Ok(answer)
}
