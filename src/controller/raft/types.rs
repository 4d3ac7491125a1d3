//! The types that openraft works with, and our own durable form of its log ids, votes and memberships.
//!
//! The encoding is ours so that the files outlive the library's version. A raft id is not a broker id: it stands for
//! one disk and is never given out again.

use std::collections::{BTreeMap, BTreeSet};

use openraft::{BasicNode, CommittedLeaderId, EntryPayload, Membership, StoredMembership};

use crate::metadata::codec::{CodecError, Reader, Writer};
use crate::metadata::command::{Command, CommandResult};
use crate::metadata::command_codec::{decode_batch, encode_batch};

/// What one log entry of ours holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// Applied in order, each with its result.
    pub commands: Vec<Command>,
}

/// What applying a [`Proposal`] gave; empty for openraft's own entries.
#[derive(Debug, Clone, PartialEq)]
pub struct ProposalResult {
    /// One per command.
    pub results: Vec<CommandResult>,
}

openraft::declare_raft_types!(
    /// openraft's parameters.
    pub TypeConfig:
        D = Proposal,
        R = ProposalResult,
        NodeId = u64,
        Node = BasicNode,
        SnapshotData = std::io::Cursor<Vec<u8>>,
);

/// Position in the log.
pub type LogId = openraft::LogId<u64>;
/// Who leads, or wants to, in which term.
pub type Vote = openraft::Vote<u64>;
/// One log entry.
pub type Entry = openraft::Entry<TypeConfig>;

const BLANK: u8 = 0;
const NORMAL: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// Writes an entry.
pub fn encode_entry(entry: &Entry, out: &mut Writer) {
    encode_log_id(&entry.log_id, out);
    match &entry.payload {
        EntryPayload::Blank => out.u8(BLANK),
        EntryPayload::Normal(proposal) => {
            out.u8(NORMAL);
            encode_batch(&proposal.commands, out);
        }
        EntryPayload::Membership(membership) => {
            out.u8(MEMBERSHIP);
            encode_membership(membership, out);
        }
    }
}

/// Reads an entry.
pub fn decode_entry(input: &mut Reader<'_>) -> Result<Entry, CodecError> {
    let log_id = decode_log_id(input)?;
    let payload = match input.u8()? {
        BLANK => EntryPayload::Blank,
        NORMAL => EntryPayload::Normal(Proposal {
            commands: decode_batch(input)?,
        }),
        MEMBERSHIP => EntryPayload::Membership(decode_membership(input)?),
        found => {
            return Err(CodecError::Unknown {
                what: "a log entry",
                found: u64::from(found),
            });
        }
    };
    Ok(Entry { log_id, payload })
}

/// Writes a log id.
pub fn encode_log_id(id: &LogId, out: &mut Writer) {
    out.u64(id.leader_id.term);
    out.u64(id.leader_id.node_id);
    out.u64(id.index);
}

/// Reads a log id.
pub fn decode_log_id(input: &mut Reader<'_>) -> Result<LogId, CodecError> {
    let leader_id = CommittedLeaderId::new(input.u64()?, input.u64()?);
    Ok(LogId::new(leader_id, input.u64()?))
}

/// Writes a vote.
pub fn encode_vote(vote: &Vote, out: &mut Writer) {
    out.u64(vote.leader_id.term);
    out.u64(vote.leader_id.node_id);
    out.bool(vote.committed);
}

/// Reads a vote.
pub fn decode_vote(input: &mut Reader<'_>) -> Result<Vote, CodecError> {
    let mut vote = Vote::new(input.u64()?, input.u64()?);
    vote.committed = input.bool()?;
    Ok(vote)
}

fn encode_membership(membership: &Membership<u64, BasicNode>, out: &mut Writer) {
    out.list(membership.get_joint_config(), |out, voters| {
        out.list(voters, |out, id| out.u64(*id));
    });
    let nodes: Vec<_> = membership.nodes().collect();
    out.list(nodes, |out, (id, node)| {
        out.u64(*id);
        out.str(&node.addr);
    });
}

fn decode_membership(input: &mut Reader<'_>) -> Result<Membership<u64, BasicNode>, CodecError> {
    let configs = input.list(|input| Ok(input.list(Reader::u64)?.into_iter().collect::<BTreeSet<_>>()))?;
    let nodes = input.list(|input| Ok((input.u64()?, BasicNode::new(input.str()?))))?;
    Ok(Membership::new(configs, nodes.into_iter().collect::<BTreeMap<_, _>>()))
}

/// Writes a membership with its place in the log.
pub fn encode_stored_membership(stored: &StoredMembership<u64, BasicNode>, out: &mut Writer) {
    out.option(stored.log_id().as_ref(), |out, id| encode_log_id(id, out));
    encode_membership(stored.membership(), out);
}

/// Reads a membership with its place in the log.
pub fn decode_stored_membership(input: &mut Reader<'_>) -> Result<StoredMembership<u64, BasicNode>, CodecError> {
    Ok(StoredMembership::new(
        input.option(decode_log_id)?,
        decode_membership(input)?,
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metadata::apply::tests::any_command;

    fn any_log_id() -> impl Strategy<Value = LogId> {
        any::<(u64, u64, u64)>().prop_map(|(term, node, index)| LogId::new(CommittedLeaderId::new(term, node), index))
    }

    fn any_membership() -> impl Strategy<Value = Membership<u64, BasicNode>> {
        let voters = prop::collection::btree_set(any::<u64>(), 1..4);
        let nodes = prop::collection::btree_map(any::<u64>(), "[a-z:]{0,5}".prop_map(BasicNode::new), 0..3);
        (prop::collection::vec(voters, 1..3), nodes).prop_map(|(voters, nodes)| Membership::new(voters, nodes))
    }

    fn any_payload() -> impl Strategy<Value = EntryPayload<TypeConfig>> {
        prop_oneof![
            Just(EntryPayload::Blank),
            prop::collection::vec(any_command(), 0..3).prop_map(|commands| EntryPayload::Normal(Proposal { commands })),
            any_membership().prop_map(EntryPayload::Membership),
        ]
    }

    /// Encodes, decodes, and checks that nothing is left over.
    fn round_trip<T>(
        value: &T,
        encode: impl Fn(&T, &mut Writer),
        decode: impl Fn(&mut Reader<'_>) -> Result<T, CodecError>,
    ) -> T {
        let mut out = Writer::new();
        encode(value, &mut out);
        let bytes = out.into_bytes();
        let mut input = Reader::new(&bytes);
        let read = decode(&mut input).expect("what was written");
        input.finish().expect("nothing left over");
        read
    }

    proptest! {
        #[test]
        fn everything_round_trips(
            log_id in any_log_id(),
            payload in any_payload(),
            term in any::<u64>(),
            node in any::<u64>(),
            committed in any::<bool>(),
            membership_id in prop::option::of(any_log_id()),
            membership in any_membership(),
        ) {
            let entry = Entry { log_id, payload };
            prop_assert!(round_trip(&entry, encode_entry, decode_entry) == entry);
            let vote = if committed { Vote::new_committed(term, node) } else { Vote::new(term, node) };
            prop_assert_eq!(round_trip(&vote, encode_vote, decode_vote), vote);
            let stored = StoredMembership::new(membership_id, membership);
            prop_assert_eq!(round_trip(&stored, encode_stored_membership, decode_stored_membership), stored);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode_entry(&mut Reader::new(&bytes));
            let _ = decode_stored_membership(&mut Reader::new(&bytes));
        }
    }
}
