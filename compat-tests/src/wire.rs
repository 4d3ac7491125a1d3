//! One connection to a broker, spoken to without any client: typed requests, and raw bytes where no client would do.
//!
//! **Invariants:** blocking, one thread; every wait ends after [`PATIENCE`], so that a broker that hangs fails a test
//! instead of stopping it. The `try_` forms return errors, the others fail the test.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

/// How long any answer may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What the tests call themselves.
const CLIENT_ID: StrBytes = StrBytes::from_static_str("compat-tests");

/// A TCP connection with a counter of requests.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    client_id: StrBytes,
    correlation_id: i32,
}

impl Connection {
    /// Connects, or fails the test.
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// Connects.
    pub fn try_open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            client_id: CLIENT_ID,
            correlation_id: 0,
        })
    }

    /// The same connection, of a client that calls itself `client_id`.
    pub fn named(mut self, client_id: &str) -> Self {
        self.client_id = text(client_id);
        self
    }

    /// Sends a request and returns its answer, or fails the test.
    pub fn call<Q: Request>(&mut self, version: i16, request: &Q) -> Q::Response {
        self.try_call(version, request)
            .unwrap_or_else(|error| panic!("API key {} version {version}: {error}", Q::KEY))
    }

    /// Sends a request and returns its answer.
    pub fn try_call<Q: Request>(&mut self, version: i16, request: &Q) -> io::Result<Q::Response> {
        let correlation_id = self.try_send(version, request)?;
        self.try_receive::<Q>(version, correlation_id)
    }

    /// Sends a request and returns its correlation id; [`Self::receive`] takes the answer.
    pub fn send<Q: Request>(&mut self, version: i16, request: &Q) -> i32 {
        self.try_send(version, request)
            .unwrap_or_else(|error| panic!("API key {} not sent: {error}", Q::KEY))
    }

    /// The answer to the request with `correlation_id`, which must be the next one to come.
    pub fn receive<Q: Request>(&mut self, version: i16, correlation_id: i32) -> Q::Response {
        self.try_receive::<Q>(version, correlation_id)
            .unwrap_or_else(|error| panic!("API key {} version {version}: {error}", Q::KEY))
    }

    fn try_send<Q: Request>(&mut self, version: i16, request: &Q) -> io::Result<i32> {
        self.correlation_id += 1;
        let frame = encode_request_of(&self.client_id, self.correlation_id, version, request);
        self.stream.write_all(&frame)?;
        Ok(self.correlation_id)
    }

    fn try_receive<Q: Request>(&mut self, version: i16, correlation_id: i32) -> io::Result<Q::Response> {
        let mut frame = self.try_read_frame()?.ok_or(ErrorKind::UnexpectedEof)?;
        let header = ResponseHeader::decode(&mut frame, <Q::Response as HeaderVersion>::header_version(version))
            .map_err(io::Error::other)?;
        if header.correlation_id != correlation_id {
            let why = format!("answer {} where {correlation_id} was due", header.correlation_id);
            return Err(io::Error::other(why));
        }
        let fields = version_of_fields(Q::KEY, version);
        let response = Q::Response::decode(&mut frame, fields).map_err(io::Error::other)?;
        if !frame.is_empty() {
            return Err(io::Error::other(format!("{} bytes behind the answer", frame.len())));
        }
        Ok(response)
    }

    /// Sends bytes as they are. An error is no failure: the broker may have closed the connection already.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes));
    }

    /// Sends a frame around `payload`.
    pub fn send_frame(&mut self, payload: &[u8]) {
        let length = i32::try_from(payload.len()).expect("a small frame");
        self.send_bytes(&[&length.to_be_bytes()[..], payload].concat());
    }

    /// Lets answers take another time than [`PATIENCE`].
    pub fn be_patient(&self, patience: Duration) {
        self.stream
            .set_read_timeout(Some(patience))
            .expect("a time that is not zero");
    }

    /// Says that nothing more will be sent, and keeps the other direction open.
    pub fn finish_sending(&mut self) {
        drop(self.stream.shutdown(Shutdown::Write));
    }

    /// The next frame without its length, or `None` when the broker has closed the connection.
    pub fn try_read_frame(&mut self) -> io::Result<Option<Bytes>> {
        let mut length = [0; 4];
        match self.stream.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if is_close(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
        let length = usize::try_from(i32::from_be_bytes(length)).map_err(io::Error::other)?;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload)?;
        Ok(Some(Bytes::from(payload)))
    }

    /// Waits until an answer has begun to come, and leaves it unread.
    pub fn wait_for_answer(&self) {
        let seen = self.stream.peek(&mut [0]).expect("an answer");
        assert_eq!(seen, 1, "the connection was closed");
    }

    /// Asserts that the broker closes the connection without another answer.
    pub fn expect_close(&mut self, after: &str) {
        match self.try_read_frame() {
            Ok(None) => {}
            Ok(Some(frame)) => panic!("{after}: {} bytes were answered where a close was due", frame.len()),
            Err(error) => panic!("{after}: no close: {error}"),
        }
    }
}

fn is_close(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
    )
}

/// A whole request frame with its length.
pub fn encode_request<Q: Request>(correlation_id: i32, version: i16, request: &Q) -> Bytes {
    encode_request_of(&CLIENT_ID, correlation_id, version, request)
}

fn encode_request_of<Q: Request>(client_id: &StrBytes, correlation_id: i32, version: i16, request: &Q) -> Bytes {
    let header = RequestHeader::default()
        .with_request_api_key(Q::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(client_id.clone()));
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    header
        .encode(&mut frame, Q::header_version(version))
        .expect("a header always encodes");
    request
        .encode(&mut frame, version_of_fields(Q::KEY, version))
        .unwrap_or_else(|error| panic!("API key {} version {version} does not encode: {error}", Q::KEY));
    let length = u32::try_from(frame.len() - 4).expect("a small frame");
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame.freeze()
}

/// The version whose fields a version has: kafka-protocol knows ListOffsets up to 10, whose fields 11 has too, and
/// WriteTxnMarkers up to 1, whose response has not changed.
pub fn version_of_fields(key: i16, version: i16) -> i16 {
    match (key, version) {
        (2, 11) => 10,
        (27, 2) => 1,
        _ => version,
    }
}

/// A string as kafka-protocol wants it.
pub fn text(string: &str) -> StrBytes {
    StrBytes::from_string(string.to_owned())
}
