//! Index files: whole or not there, and never believed when they lost something.

use std::io::IoSlice;

use super::*;
use crate::io::file_system::OpenMode;
use crate::io::sim_fs::{CrashKind, Fault, FaultKind, Operation};

fn no_room(operation: Operation, lasting: bool) -> Fault {
    Fault {
        operation: Some(operation),
        after: 0,
        kind: FaultKind::NoSpace,
        lasting,
    }
}

/// 80 batches whose timestamps grow by ten; returns the log end.
fn write_closed_log(fixture: &Fixture) -> i64 {
    let mut writer = fixture.open().writer;
    for n in 0..80 {
        writer.append(vec![plain(&[n * 10, n * 10 + 5])], 0, now())[0]
            .as_ref()
            .expect("appended");
    }
    writer.close().expect("closed")
}

fn overwrite(fixture: &Fixture, name: &str, content: &[u8]) {
    let path = Path::new(DIR).join(name);
    let file = fixture.fs.shared().open(&path, OpenMode::Truncate).expect("opened");
    file.write_at(&[IoSlice::new(content)], 0).expect("written");
}

/// Every lookup by time answers as the batches say.
fn check_times(reader: &LogReader, context: &str) {
    let end = reader.watermarks().log_end_offset;
    let newest = reader.max_timestamp(end).expect("looked up").expect("there");
    let expected = (end - 1, (end - 1) / 2 * 10 + 5);
    assert_eq!((newest.offset, newest.timestamp_ms), expected, "{context}");
    for offset in 0..end {
        let timestamp_ms = offset / 2 * 10 + offset % 2 * 5;
        let found = reader.offset_for_timestamp(timestamp_ms, end).expect("looked up");
        assert_eq!(found.map(|found| found.offset), Some(offset), "{context}");
    }
}

fn index_names(fixture: &Fixture) -> Vec<String> {
    let names = fixture.names().into_iter();
    names.filter(|name| name.contains("index")).collect()
}

#[test]
fn a_power_loss_after_a_clean_stop_takes_nothing_from_the_indexes() {
    for seed in 0..40 {
        let fixture = Fixture::on(SimFileSystem::new(seed), small_segments());
        let end = write_closed_log(&fixture);
        let names = index_names(&fixture);
        let contents: Vec<_> = names.iter().map(|name| fixture.contents(name)).collect();
        fixture.fs.crash(CrashKind::PowerLoss);
        assert_eq!(index_names(&fixture), names, "seed {seed}");
        for (name, content) in names.iter().zip(&contents) {
            assert_eq!(fixture.contents(name), *content, "{name}, seed {seed}");
        }
        check_times(
            &fixture.try_open(true, end).expect("opens").reader,
            &format!("seed {seed}"),
        );
    }
}

#[test]
fn a_file_that_cannot_be_replaced_stays_as_it_was() {
    for operation in [Operation::Write, Operation::SyncData] {
        let fixture = Fixture::new(small_segments());
        let end = write_closed_log(&fixture);
        let names = index_names(&fixture);
        let contents: Vec<_> = names.iter().map(|name| fixture.contents(name)).collect();
        let mut writer = fixture.try_open(true, end).expect("opens").writer;
        writer.append(vec![plain(&[800, 805])], 0, now())[0]
            .as_ref()
            .expect("appended");
        writer.flush().expect("synced");
        fixture.fs.inject(no_room(operation, true));
        assert!(writer.close().is_err());
        fixture.fs.clear_faults();
        assert_eq!(index_names(&fixture), names, "nothing half-written is left");
        for (name, content) in names.iter().zip(&contents) {
            assert_eq!(fixture.contents(name), *content, "{name}");
        }
        check_times(&fixture.open().reader, "recovered");
    }
}

#[test]
fn an_empty_time_index_is_made_again_and_in_memory_if_there_is_no_room() {
    for is_full in [false, true] {
        let fixture = Fixture::new(small_segments());
        let end = write_closed_log(&fixture);
        let times: Vec<_> = index_names(&fixture)
            .into_iter()
            .filter(|name| name.ends_with(".timeindex"))
            .collect();
        let sealed = &times[..times.len() - 1];
        assert!(sealed.len() > 4, "more than stay open");
        for name in sealed {
            overwrite(&fixture, name, &[]);
        }
        let opened = fixture.try_open(true, end).expect("opens");
        if is_full {
            fixture.fs.inject(no_room(Operation::Change, true));
        }
        check_times(&opened.reader, &format!("full: {is_full}"));
        for name in sealed {
            assert_eq!(fixture.contents(name).is_empty(), is_full, "{name}");
        }
        // what was made again is durable at once
        fixture.fs.crash(CrashKind::PowerLoss);
        check_times(
            &fixture.try_open(true, end).expect("opens").reader,
            "after a power loss",
        );
    }
}

#[test]
fn an_empty_time_index_is_right_where_no_record_has_a_timestamp() {
    let fixture = Fixture::new(small_segments());
    let mut writer = fixture.open().writer;
    for _ in 0..40 {
        writer.append(vec![plain(&[-1, -1])], 0, now())[0]
            .as_ref()
            .expect("appended");
    }
    let end = writer.close().expect("closed");
    let reader = fixture.try_open(true, end).expect("opens").reader;
    assert_eq!(reader.max_timestamp(end).expect("looked up"), None);
    let operations = fixture.fs.operations();
    assert_eq!(reader.offset_for_timestamp(0, end).expect("looked up"), None);
    assert_eq!(fixture.fs.operations(), operations, "not made again each time");
}

#[test]
fn leftovers_of_interrupted_replacements_are_removed() {
    let fixture = Fixture::new(small_segments());
    let end = write_closed_log(&fixture);
    let names = fixture.names();
    for name in ["00000000000000000000.index.tmp", "00000000000000000000.timeindex.tmp"] {
        let path = Path::new(DIR).join(name);
        fixture.fs.shared().open(&path, OpenMode::CreateNew).expect("made");
    }
    check_times(&fixture.try_open(true, end).expect("opens").reader, "with leftovers");
    assert_eq!(fixture.names(), names);
}

/// A power loss may keep the offset index of the active segment and not its time index.
#[test]
fn recovery_notes_again_what_the_time_index_does_not_reach() {
    let fixture = Fixture::new(LogConfig {
        segment_bytes: 1 << 20,
        ..small_segments()
    });
    let mut writer = fixture.open().writer;
    for n in 0..40 {
        let timestamp_ms = if n == 20 { 5000 } else { n * 10 };
        writer.append(vec![plain(&[timestamp_ms])], 0, now())[0]
            .as_ref()
            .expect("appended");
    }
    writer.write_checkpoint().expect("written");
    writer.flush().expect("synced");
    let name = "00000000000000000000.timeindex";
    let times = fixture.contents(name);
    assert!(times.len() >= 10 * 12, "{} bytes are no test", times.len());
    for kept in [0, 1, 5, times.len() / 12 - 1, times.len() / 12] {
        overwrite(&fixture, name, &times[..kept * 12]);
        let opened = fixture.try_open(false, 40).expect("opens");
        let newest = opened.reader.max_timestamp(40).expect("looked up").expect("there");
        assert_eq!((newest.offset, newest.timestamp_ms), (20, 5000), "{kept} entries");
        let found = opened.reader.offset_for_timestamp(1000, 40).expect("looked up");
        assert_eq!(found.map(|found| found.offset), Some(20), "{kept} entries");
    }
}
