//! The group requests of the measurement, written and read by hand in versions without compact encodings.
//!
//! Invariant: every answer is read to the fields that say whether it is right; an error code that the caller does not
//! expect ends the measurement.

use std::net::TcpStream;

use crate::{Failure, wire};

/// JoinGroup: the member must come back with the id that it is given.
const JOIN: (i16, i16) = (11, 5);
const SYNC: (i16, i16) = (14, 3);
const HEARTBEAT: (i16, i16) = (12, 3);
const LEAVE: (i16, i16) = (13, 1);
const COMMIT: (i16, i16) = (8, 7);
const FETCH: (i16, i16) = (9, 5);
const FIND_COORDINATOR: (i16, i16) = (10, 0);
const API_VERSIONS: (i16, i16) = (18, 0);

/// The topic that all groups read.
pub(super) const TOPIC: &str = "bench-groups";
/// How long a member may be silent: longer than any measurement.
const SESSION_TIMEOUT_MS: i32 = 1_800_000;
const REBALANCE_TIMEOUT_MS: i32 = 300_000;

/// Writes one frame.
struct Frame(Vec<u8>);

impl Frame {
    fn of(api: (i16, i16)) -> Self {
        let mut frame = Self(vec![0; 4]);
        frame.0.extend(api.0.to_be_bytes());
        frame.0.extend(api.1.to_be_bytes());
        frame.int32(7); // correlation id
        frame.string("bench");
        frame
    }

    fn int32(&mut self, value: i32) {
        self.0.extend(value.to_be_bytes());
    }

    fn length(&mut self, length: usize) {
        self.int32(i32::try_from(length).expect("small requests"));
    }

    fn string(&mut self, text: &str) {
        let length = i16::try_from(text.len()).expect("short names");
        self.0.extend(length.to_be_bytes());
        self.0.extend(text.as_bytes());
    }

    /// No group instance id.
    fn null(&mut self) {
        self.0.extend((-1_i16).to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.0.extend(bytes);
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len() - 4).expect("small requests");
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0
    }
}

/// Reads an answer from its front.
struct Answer {
    bytes: Vec<u8>,
    at: usize,
}

impl Answer {
    /// An answer without its correlation id.
    fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, at: 4 }
    }

    fn take(&mut self, length: usize) -> Result<&[u8], Failure> {
        let taken = self.bytes.get(self.at..self.at + length).ok_or("a short answer")?;
        self.at += length;
        Ok(taken)
    }

    fn int16(&mut self) -> Result<i16, Failure> {
        Ok(i16::from_be_bytes(self.take(2)?.try_into()?))
    }

    fn int32(&mut self) -> Result<i32, Failure> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into()?))
    }

    fn int64(&mut self) -> Result<i64, Failure> {
        Ok(i64::from_be_bytes(self.take(8)?.try_into()?))
    }

    /// Null counts as empty.
    fn string(&mut self) -> Result<String, Failure> {
        let length = usize::try_from(self.int16()?).unwrap_or(0);
        Ok(String::from_utf8(self.take(length)?.to_vec())?)
    }

    fn bytes(&mut self) -> Result<usize, Failure> {
        let length = usize::try_from(self.int32()?).unwrap_or(0);
        self.take(length).map(<[u8]>::len)
    }
}

/// One client's connection.
#[derive(Debug)]
pub(super) struct Client(TcpStream);

/// What a JoinGroup was answered.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) error: i16,
    pub(super) generation_id: i32,
    pub(super) member_id: String,
    /// All member ids; only the leader has them.
    pub(super) members: Vec<String>,
}

impl Client {
    pub(super) fn connect(address: &str) -> Result<Self, Failure> {
        wire::connect(address).map(Self)
    }

    fn call(&mut self, frame: Frame) -> Result<Answer, Failure> {
        wire::call(&mut self.0, &frame.finish()).map(Answer::new)
    }

    /// The smallest request there is: what a round trip costs when the machine is as busy as it is.
    pub(super) fn ping(&mut self) -> Result<(), Failure> {
        self.call(Frame::of(API_VERSIONS)).map(drop)
    }

    /// Asks where the coordinator is; a peer makes its offsets topic then.
    pub(super) fn find_coordinator(&mut self, group_id: &str) -> Result<(), Failure> {
        let mut frame = Frame::of(FIND_COORDINATOR);
        frame.string(group_id);
        self.call(frame).map(drop)
    }

    /// Joins as a consumer with two assignors, as Kafka's own consumer does.
    pub(super) fn join(&mut self, group_id: &str, member_id: &str) -> Result<Joined, Failure> {
        let mut subscription = vec![0, 1, 0, 0, 0, 1];
        subscription.extend(u16::try_from(TOPIC.len())?.to_be_bytes());
        subscription.extend(TOPIC.as_bytes());
        subscription.extend([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]); // no user data, nothing owned
        let mut frame = Frame::of(JOIN);
        frame.string(group_id);
        frame.int32(SESSION_TIMEOUT_MS);
        frame.int32(REBALANCE_TIMEOUT_MS);
        frame.string(member_id);
        frame.null();
        frame.string("consumer");
        frame.length(2);
        for assignor in ["range", "cooperative-sticky"] {
            frame.string(assignor);
            frame.bytes(&subscription);
        }
        let mut answer = self.call(frame)?;
        answer.int32()?; // throttle time
        let (error, generation_id) = (answer.int16()?, answer.int32()?);
        answer.string()?; // protocol
        answer.string()?; // leader
        let member_id = answer.string()?;
        let mut members = Vec::new();
        for _ in 0..answer.int32()? {
            members.push(answer.string()?);
            answer.string()?; // instance id
            answer.bytes()?;
        }
        Ok(Joined {
            error,
            generation_id,
            member_id,
            members,
        })
    }

    /// Syncs; who has members assigns one partition to each of them. Returns the error code.
    pub(super) fn sync(&mut self, group_id: &str, joined: &Joined) -> Result<i16, Failure> {
        let mut frame = Frame::of(SYNC);
        frame.string(group_id);
        frame.int32(joined.generation_id);
        frame.string(&joined.member_id);
        frame.null();
        frame.length(joined.members.len());
        for (partition, member_id) in (0_i32..).zip(&joined.members) {
            let mut assignment = vec![0, 1, 0, 0, 0, 1];
            assignment.extend(u16::try_from(TOPIC.len())?.to_be_bytes());
            assignment.extend(TOPIC.as_bytes());
            assignment.extend([0, 0, 0, 1]);
            assignment.extend(partition.to_be_bytes());
            assignment.extend([0xff; 4]); // no user data
            frame.string(member_id);
            frame.bytes(&assignment);
        }
        let mut answer = self.call(frame)?;
        answer.int32()?; // throttle time
        let error = answer.int16()?;
        if error == 0 && answer.bytes()? == 0 {
            return Err("a member got no assignment".into());
        }
        Ok(error)
    }

    pub(super) fn heartbeat(&mut self, group_id: &str, generation_id: i32, member_id: &str) -> Result<i16, Failure> {
        let mut frame = Frame::of(HEARTBEAT);
        frame.string(group_id);
        frame.int32(generation_id);
        frame.string(member_id);
        frame.null();
        let mut answer = self.call(frame)?;
        answer.int32()?; // throttle time
        answer.int16()
    }

    pub(super) fn leave(&mut self, group_id: &str, member_id: &str) -> Result<(), Failure> {
        let mut frame = Frame::of(LEAVE);
        frame.string(group_id);
        frame.string(member_id);
        let mut answer = self.call(frame)?;
        answer.int32()?; // throttle time
        expect("LeaveGroup", answer.int16()?)
    }

    /// Commits `offset` for all partitions below `partitions`, as a member or (generation -1, no id) without a group.
    pub(super) fn commit(
        &mut self,
        group_id: &str,
        member: (i32, &str),
        partitions: i32,
        offset: i64,
    ) -> Result<i16, Failure> {
        let mut answer = self.call(commit_frame(group_id, member, partitions, offset))?;
        answer.int32()?; // throttle time
        let mut error = 0;
        for _ in 0..answer.int32()? {
            answer.string()?;
            for _ in 0..answer.int32()? {
                answer.int32()?;
                error = answer.int16()?.max(error);
            }
        }
        Ok(error)
    }

    /// Sends many commits of one group without waiting for each; the last one counts.
    pub(super) fn commit_many(&mut self, group_id: &str, partitions: i32, times: i64) -> Result<(), Failure> {
        const IN_FLIGHT: i64 = 16;
        let mut buffer = Vec::new();
        for turn in 0..times + IN_FLIGHT {
            if turn < times {
                let frame = commit_frame(group_id, (-1, ""), partitions, turn + 1).finish();
                std::io::Write::write_all(&mut self.0, &frame)?;
            }
            if turn >= IN_FLIGHT {
                wire::read_frame(&mut self.0, &mut buffer)?;
                expect(
                    "OffsetCommit",
                    i16::from_be_bytes(buffer[buffer.len() - 2..].try_into()?),
                )?;
            }
        }
        Ok(())
    }

    /// Whether all partitions below `partitions` have the offset; an error code of the coordinator otherwise.
    pub(super) fn has_committed(&mut self, group_id: &str, partitions: i32, offset: i64) -> Result<bool, Failure> {
        let mut frame = Frame::of(FETCH);
        frame.string(group_id);
        frame.length(1);
        frame.string(TOPIC);
        frame.int32(partitions);
        (0..partitions).for_each(|partition| frame.int32(partition));
        let mut answer = self.call(frame)?;
        answer.int32()?; // throttle time
        let mut right = 0;
        for _ in 0..answer.int32()? {
            answer.string()?;
            for _ in 0..answer.int32()? {
                answer.int32()?;
                right += i32::from(answer.int64()? == offset);
                answer.int32()?;
                answer.string()?;
                answer.int16()?;
            }
        }
        match answer.int16()? {
            0 if right == partitions => Ok(true),
            0 => Err(format!("{group_id}: {right} of {partitions} offsets are right").into()),
            14..=16 => Ok(false), // loading, or not elected yet
            error => Err(format!("OffsetFetch: error {error}").into()),
        }
    }
}

fn commit_frame(group_id: &str, member: (i32, &str), partitions: i32, offset: i64) -> Frame {
    let mut frame = Frame::of(COMMIT);
    frame.string(group_id);
    frame.int32(member.0);
    frame.string(member.1);
    frame.null();
    frame.length(1);
    frame.string(TOPIC);
    frame.int32(partitions);
    for partition in 0..partitions {
        frame.int32(partition);
        frame.0.extend(offset.to_be_bytes());
        frame.int32(-1); // leader epoch
        frame.string("");
    }
    frame
}

/// Ends the measurement at an error code.
pub(super) fn expect(what: &str, error: i16) -> Result<(), Failure> {
    if error == 0 {
        Ok(())
    } else {
        Err(format!("{what}: error {error}").into())
    }
}
