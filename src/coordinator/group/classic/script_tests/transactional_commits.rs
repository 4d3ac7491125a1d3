//! Who may commit offsets in a transaction, and who may not.

use super::*;

#[test]
fn to_a_group_without_members_only_consumers_without_one_commit() {
    check(
        "
        who txn-commit gen=0
            who txn-commit: ILLEGAL_GENERATION
        who txn-commit gen=1
            who txn-commit: ILLEGAL_GENERATION
        new txn-commit gen=1
            new txn-commit: ILLEGAL_GENERATION
        g describe
            g describe: no such group
        new txn-commit
            transaction 7, record: t-0 at 5
            new txn-commit: NONE
        g describe
            g describe: Empty \"\" \"\" []
        who txn-commit
            transaction 7, record: t-0 at 5
            who txn-commit: NONE
        who txn-commit gen=1
            who txn-commit: UNKNOWN_MEMBER_ID
        new txn-commit gen=1
            new txn-commit: UNKNOWN_MEMBER_ID
        ",
    );
}

#[test]
fn to_a_live_group_only_members_and_those_who_name_none_commit() {
    check_stable(
        "
        new txn-commit
            transaction 7, record: t-0 at 5
            new txn-commit: NONE
        who txn-commit
            who txn-commit: UNKNOWN_MEMBER_ID
        who txn-commit gen=1
            who txn-commit: UNKNOWN_MEMBER_ID
        new txn-commit gen=1
            new txn-commit: UNKNOWN_MEMBER_ID
        M1 txn-commit
            M1 txn-commit: ILLEGAL_GENERATION
        M1 txn-commit gen=0
            M1 txn-commit: ILLEGAL_GENERATION
        M1 txn-commit gen=2
            M1 txn-commit: ILLEGAL_GENERATION
        M1 txn-commit gen=1 instance=i
            M1 txn-commit: UNKNOWN_MEMBER_ID
        new txn-commit instance=i
            new txn-commit: UNKNOWN_MEMBER_ID
        M1 txn-commit gen=1
            transaction 7, record: t-0 at 5
            M1 txn-commit: NONE
        ",
    );
}

#[test]
fn a_fenced_instance_does_not_commit() {
    check_static(
        "
        newB join instance=b
            record: generation 1 leader M1 [M1=x M3=y]
            newB join: M3 generation 1 range leader M1
        M2 txn-commit gen=1 instance=b
            M2 txn-commit: FENCED_INSTANCE_ID
        M2 txn-commit instance=b
            M2 txn-commit: FENCED_INSTANCE_ID
        M3 txn-commit instance=b
            M3 txn-commit: ILLEGAL_GENERATION
        M3 txn-commit gen=1 instance=b
            transaction 7, record: t-0 at 5
            M3 txn-commit: NONE
        ",
    );
}

/// Unlike a commit without a transaction, which waits for the new assignment.
#[test]
fn the_state_of_a_rebalance_does_not_count() {
    check_stable(
        "
        newC join v=3
        M1 txn-commit gen=1
            transaction 7, record: t-0 at 5
            M1 txn-commit: NONE
        M1 join
        M2 join
            M1 join: M1 generation 2 range leader M1 M1=m M2=m M3=m
            M2 join: M2 generation 2 range leader M1
            newC join: M3 generation 2 range leader M1
        M1 txn-commit gen=1
            M1 txn-commit: ILLEGAL_GENERATION
        M1 txn-commit gen=2
            transaction 7, record: t-0 at 5
            M1 txn-commit: NONE
        ",
    );
}

#[test]
fn a_commit_in_a_transaction_is_no_heartbeat() {
    check_stable(
        "
        wait 9999
        M1 txn-commit gen=1
            transaction 7, record: t-0 at 5
            M1 txn-commit: NONE
        M2 heartbeat gen=1
            M2 heartbeat: NONE
        wait 1
        M2 heartbeat gen=1
            M2 heartbeat: REBALANCE_IN_PROGRESS
        ",
    );
}

#[test]
fn groups_are_made_by_transactions_up_to_the_limit() {
    let mut world = World::new(GroupConfig::default());
    world.groups_left = 0;
    check_in(
        world,
        "
        new txn-commit
            new txn-commit: POLICY_VIOLATION
        ",
    );
}
