//! Starting again: clean stops, kills, damaged files.

use std::io::IoSlice;

use proptest::prelude::*;

use super::*;
use crate::io::file_system::OpenMode;
use crate::io::sim_fs::CrashKind;
use crate::log::recovery::RecoveryReport;

/// 40 batches of two records in several segments, epochs 0 to 3; returns the batches.
fn write_log(fixture: &Fixture) -> Vec<Bytes> {
    let OpenedLog { mut writer, reader, .. } = fixture.open();
    for n in 0..40 {
        let batch = if n % 3 == 0 {
            produced(n, 0, 0, 2)
        } else {
            plain(&[n, n])
        };
        writer.append(vec![batch], (n / 10) as i32, now())[0]
            .as_ref()
            .expect("appended");
    }
    read_all(&reader)
}

fn segment_files(fixture: &Fixture) -> Vec<String> {
    fixture
        .names()
        .into_iter()
        .filter(|name| name.ends_with(".log"))
        .collect()
}

#[test]
fn a_clean_stop_needs_no_scan_and_keeps_everything() {
    let fixture = Fixture::new(small_segments());
    let written = write_log(&fixture);
    let OpenedLog { writer, .. } = fixture.open();
    let recovery_point = writer.close().expect("closed");
    assert_eq!(recovery_point, 80);
    let opened = fixture.try_open(true, recovery_point).expect("opens");
    assert_eq!(opened.report, RecoveryReport::default());
    assert_eq!(opened.reader.watermarks().log_end_offset, 80);
    assert_eq!(read_all(&opened.reader), written);
    assert_eq!(opened.reader.end_offset_for_epoch(1), (1, 40));
    assert_eq!(opened.reader.durable_offset(), 80);
    assert_eq!(opened.writer.producers().len(), 14);
    // closing an unchanged log writes nothing
    let operations = fixture.fs.operations();
    opened.writer.close().expect("closed");
    assert_eq!(fixture.fs.operations(), operations);
}

#[test]
fn appending_goes_on_after_a_clean_stop_as_if_there_was_none() {
    let split = Fixture::new(small_segments());
    let whole = Fixture::new(small_segments());
    let mut uninterrupted = whole.open().writer;
    let mut end = 0;
    for n in 0..30 {
        let mut writer = split.try_open(true, end).expect("opens").writer;
        writer.append(vec![plain(&[n * 7 % 20, n])], 0, now())[0]
            .as_ref()
            .expect("appended");
        end = writer.close().expect("closed");
        uninterrupted.append(vec![plain(&[n * 7 % 20, n])], 0, now())[0]
            .as_ref()
            .expect("appended");
    }
    uninterrupted.close().expect("closed");
    for name in whole.names().iter().filter(|name| !name.ends_with("metadata")) {
        let same = if name.ends_with(".timeindex") {
            // each clean stop may add the largest timestamp of its moment
            split.contents(name).len() >= whole.contents(name).len()
        } else {
            split.contents(name) == whole.contents(name)
        };
        assert!(same, "{name}");
    }
}

#[test]
fn after_a_kill_only_what_lies_behind_the_recovery_point_is_scanned() {
    let fixture = Fixture::new(small_segments());
    let written = write_log(&fixture);
    let size = |from: usize| written[from..].iter().map(|bytes| bytes.len() as u64).sum::<u64>();
    for recovery_point in [0, 20, 50, 78, 80] {
        fixture.fs.crash(CrashKind::ProcessKill);
        let opened = fixture.try_open(false, recovery_point).expect("opens");
        let first_scanned = (recovery_point / 2) as usize;
        assert_eq!(
            opened.report,
            RecoveryReport {
                scanned_bytes: size(first_scanned),
                ..RecoveryReport::default()
            }
        );
        assert_eq!(read_all(&opened.reader), written);
        assert_eq!(opened.reader.durable_offset(), recovery_point);
        assert_eq!(opened.writer.producers().len(), 14);
        assert_eq!(
            opened.reader.end_offset_for_epoch(2),
            (2, 60),
            "epochs come from the batches if need be"
        );
        opened.reader.shared.sync().expect("synced");
        assert_eq!(opened.reader.durable_offset(), 80);
    }
}

#[test]
fn missing_and_broken_indexes_are_made_again() {
    let fixture = Fixture::new(small_segments());
    let written = write_log(&fixture);
    let end = fixture.open().writer.close().expect("closed");
    let files = segment_files(&fixture);
    let (first, second) = (files[0].replace("log", "index"), files[1].replace("log", "timeindex"));
    fixture
        .fs
        .shared()
        .remove_file(&Path::new(DIR).join(&first))
        .expect("removed");
    let file = fixture
        .fs
        .shared()
        .open(&Path::new(DIR).join(&second), OpenMode::Truncate)
        .expect("opened");
    file.write_at(&[IoSlice::new(&[0; 13])], 0).expect("written");
    let opened = fixture.try_open(true, end).expect("opens");
    let newest = opened.reader.max_timestamp(end).expect("looked up");
    assert_eq!(newest.map(|newest| newest.timestamp_ms), Some(now().wall_ms));
    assert_eq!(read_all(&opened.reader), written);
    for offset in 0..80 {
        opened
            .reader
            .plan_read(offset, 80, 100, true)
            .expect("in range")
            .slice
            .expect("there");
    }
    // made with Kafka's default interval, of which a segment here has less
    assert_eq!(fixture.contents(&first), []);
    assert_eq!(fixture.contents(&second).len(), 12, "the largest timestamp");
}

#[test]
fn an_index_that_lies_is_not_believed() {
    let fixture = Fixture::new(small_segments());
    write_log(&fixture);
    let end = fixture.open().writer.close().expect("closed");
    let index = segment_files(&fixture)[0].replace("log", "index");
    let mut bytes = fixture.contents(&index);
    // positions of all entries become wrong but stay ascending
    for entry in bytes.as_chunks_mut::<8>().0 {
        entry[7] = entry[7].wrapping_add(1);
    }
    let file = fixture
        .fs
        .shared()
        .open(&Path::new(DIR).join(&index), OpenMode::Truncate)
        .expect("opened");
    file.write_at(&[IoSlice::new(&bytes)], 0).expect("written");
    let opened = fixture.try_open(true, end).expect("opens");
    assert_eq!(read_offsets(&opened.reader).len(), 40);
}

#[test]
fn damage_before_the_recovery_point_is_never_cut() {
    let fixture = Fixture::new(small_segments());
    let written = write_log(&fixture);
    let files = segment_files(&fixture);
    // a bit in the records of the second segment's first batch: the chain holds, only that batch is bad
    fixture
        .fs
        .flip_bit(&Path::new(DIR).join(&files[1]), 80, 3)
        .expect("flipped");
    let opened = fixture.try_open(false, 80).expect("opens");
    assert_eq!(opened.report, RecoveryReport::default());
    assert_eq!(
        opened.reader.size_bytes(),
        written.iter().map(|bytes| bytes.len() as u64).sum::<u64>()
    );
    drop(opened);
    // the chain itself: opening refuses and names the place, the files stay
    let last = Path::new(DIR).join(files.last().expect("there"));
    let before = fixture.contents(files.last().expect("there"));
    fixture.fs.flip_bit(&last, 16, 0).expect("flipped");
    let error = fixture.try_open(false, 80).expect_err("damaged");
    assert!(
        matches!(&error, StorageError::Corrupt { path, offset: 0, .. } if *path == last),
        "{error}"
    );
    assert_eq!(fixture.contents(files.last().expect("there")).len(), before.len());
}

/// After a clean stop nothing can be torn: what is broken then is damage, and nothing is cut.
#[test]
fn damage_after_a_clean_stop_is_never_cut() {
    let fixture = Fixture::new(small_segments());
    write_log(&fixture);
    let end = fixture.open().writer.close().expect("closed");
    let name = segment_files(&fixture).pop().expect("there");
    let path = Path::new(DIR).join(&name);
    let whole = fixture.contents(&name);
    let last_batch = {
        let opened = fixture.try_open(true, end).expect("opens");
        whole.len() - read_all(&opened.reader).last().expect("a batch").len()
    };
    // a header that is none, a file cut inside its last batch, bytes behind the end
    let mut broken = whole.clone();
    broken[last_batch + 16] ^= 1;
    let longer = [whole.as_slice(), &[0; 100]].concat();
    for (content, position) in [
        (broken.as_slice(), last_batch),
        (&whole[..whole.len() - 3], last_batch),
        (longer.as_slice(), whole.len()),
    ] {
        let file = fixture.fs.shared().open(&path, OpenMode::Truncate).expect("opened");
        file.write_at(&[IoSlice::new(content)], 0).expect("written");
        // also when the checkpoint with the recovery point was lost
        for recovery_point in [end, 0] {
            let error = fixture.try_open(true, recovery_point).map(drop).expect_err("damaged");
            assert!(
                matches!(&error, StorageError::Corrupt { path: named, offset, .. }
                    if *named == path && *offset == position as u64),
                "{error}"
            );
            assert_eq!(fixture.contents(&name), content, "nothing is touched");
        }
    }
}

#[test]
fn a_missing_index_is_written_again_by_the_next_clean_stop() {
    for (batches, lost) in [(40, "index"), (40, "timeindex"), (1, "index")] {
        let fixture = Fixture::new(LogConfig {
            segment_bytes: 1 << 20,
            ..small_segments()
        });
        let mut writer = fixture.open().writer;
        for n in 0..batches {
            writer.append(vec![plain(&[n, n])], 0, now())[0]
                .as_ref()
                .expect("appended");
        }
        let end = writer.close().expect("closed");
        let name = format!("{:020}.{lost}", 0);
        let content = fixture.contents(&name);
        fixture
            .fs
            .shared()
            .remove_file(&Path::new(DIR).join(&name))
            .expect("removed");
        let end_again = fixture
            .try_open(true, end)
            .expect("opens")
            .writer
            .close()
            .expect("closed");
        assert_eq!(end_again, end);
        assert_eq!(fixture.contents(&name), content);
        // now there is nothing left to do
        let opened = fixture.try_open(true, end).expect("opens");
        let operations = fixture.fs.operations();
        opened.writer.close().expect("closed");
        assert_eq!(fixture.fs.operations(), operations, "{batches} batches");
    }
}

#[test]
fn a_tail_of_zeros_is_cut_without_a_word() {
    let fixture = Fixture::new(small_segments());
    let written = write_log(&fixture);
    let last = segment_files(&fixture).pop().expect("there");
    let len = fixture.contents(&last).len() as u64;
    let file = fixture
        .fs
        .shared()
        .open(&Path::new(DIR).join(&last), OpenMode::ReadWrite)
        .expect("opened");
    file.truncate(len + 5000).expect("extended");
    let opened = fixture.try_open(false, 60).expect("opens");
    assert_eq!(opened.report.truncated_bytes, 5000);
    assert_eq!(opened.report.first_bad, None);
    assert_eq!(read_all(&opened.reader), written);
    assert_eq!(file.len().expect("length"), len);
}

#[test]
fn a_segment_that_does_not_continue_the_one_before_it_is_removed() {
    let fixture = Fixture::new(small_segments());
    let written = write_log(&fixture);
    let files = segment_files(&fixture);
    let second = Path::new(DIR).join(&files[1]);
    let file = fixture.fs.shared().open(&second, OpenMode::ReadWrite).expect("opened");
    let last_batch = written
        .iter()
        .rposition(|bytes| bytes[..8] < files[2].as_bytes()[12..20][..])
        .map_or(0, |_| 0);
    assert_eq!(last_batch, 0);
    // the file system kept only the first batch of the second segment, whole
    let first_batch = protocol::record::BatchHeader::parse(&fixture.contents(&files[1])).expect("a batch");
    file.truncate(first_batch.size_bytes() as u64).expect("cut");
    let opened = fixture.try_open(false, 0).expect("opens");
    assert_eq!(opened.reader.watermarks().log_end_offset, first_batch.next_offset());
    assert_eq!(opened.report.removed_segments, files.len() - 2);
    let bad = opened.report.first_bad.expect("named");
    assert_eq!((bad.path, bad.position), (Path::new(DIR).join(&files[2]), 0));
    assert_eq!(segment_files(&fixture).len(), 2);
    assert!(
        read_all(&opened.reader)
            .iter()
            .zip(&written)
            .all(|(read, written)| read == written)
    );
}

/// The checkpoints may still speak of a deleted topic of the same name.
#[test]
fn a_new_directory_has_no_past() {
    let fixture = Fixture::new(small_segments());
    let opened = fixture.try_open_at(false, 50, 40, 45).expect("opens");
    let marks = opened.reader.watermarks();
    assert_eq!(
        (marks.log_start_offset, marks.high_watermark, marks.log_end_offset),
        (0, 0, 0)
    );
    assert_eq!(opened.reader.durable_offset(), 0);
    let mut writer = opened.writer;
    let appended = writer.append(vec![plain(&[1])], 0, now()).remove(0).expect("appended");
    assert_eq!(appended.base_offset, 0);
    fixture.flusher.run_pending();
    drop(writer);
    // a directory that was there keeps its bounds
    let opened = fixture.try_open_at(false, 1, 1, 1).expect("opens");
    assert_eq!(opened.reader.watermarks().log_start_offset, 1);
    assert_eq!(opened.reader.watermarks().high_watermark, 1);
}

#[test]
fn a_directory_of_another_topic_is_refused() {
    let fixture = Fixture::new(small_segments());
    write_log(&fixture);
    let other = OpenLog {
        fs: fixture.fs.shared(),
        dir: PathBuf::from(DIR),
        topic: "topic".to_owned(),
        partition: 0,
        topic_id: Uuid::from_u128(8),
        config: Arc::new(fixture.config.clone()),
        clean_shutdown: false,
        recovery_point: 0,
        log_start_offset: 0,
        high_watermark: 0,
        flusher: fixture.flusher.clone(),
        now: now(),
    };
    assert!(matches!(open_log(other), Err(StorageError::Corrupt { .. })));
}

#[test]
fn a_half_written_metadata_file_is_written_again_and_another_one_is_not() {
    let fixture = Fixture::new(small_segments());
    let written = write_log(&fixture);
    let whole = fixture.contents("partition.metadata");
    let path = Path::new(DIR).join("partition.metadata");
    for left in [
        Vec::new(),
        vec![0; whole.len()],
        whole[..20].to_vec(),
        b"something else".to_vec(),
    ] {
        let file = fixture.fs.shared().open(&path, OpenMode::Truncate).expect("opened");
        file.write_at(&[IoSlice::new(&left)], 0).expect("written");
        match fixture.try_open(false, 0) {
            Ok(opened) => {
                assert_eq!(fixture.contents("partition.metadata"), whole);
                assert_eq!(read_all(&opened.reader), written);
            }
            Err(error) => assert!(left.starts_with(b"some"), "{error}"),
        }
    }
}

#[test]
fn a_batch_larger_than_every_buffer_is_recovered() {
    let config = LogConfig {
        segment_bytes: 64 << 20,
        ..small_segments()
    };
    let fixture = Fixture::new(config);
    let mut builder = BatchBuilder::new(TimestampType::CreateTime, Compression::None);
    builder.append(1, None, Some(&vec![7; 3 << 20]), &[]);
    let large = builder.build();
    let mut writer = fixture.open().writer;
    writer
        .append(vec![plain(&[1]), large, plain(&[2])], 0, now())
        .into_iter()
        .for_each(|r| _ = r.expect("appended"));
    let opened = fixture.open();
    assert_eq!(opened.report.first_bad, None);
    assert_eq!(read_offsets(&opened.reader), [(0, 0), (1, 1), (2, 2)]);
}

#[test]
fn after_a_checkpoint_a_kill_reads_only_what_came_later() {
    let fixture = Fixture::new(LogConfig {
        segment_bytes: 1 << 20,
        ..small_segments()
    });
    let OpenedLog { mut writer, reader, .. } = fixture.open();
    for n in 0..60 {
        let batch = produced_at(now().wall_ms + n, n % 4, 0, (n / 4) as i32 * 2, 2);
        writer.append(vec![batch], 0, now())[0].as_ref().expect("appended");
        if n % 20 == 19 {
            writer.write_checkpoint().expect("written");
        }
    }
    writer.append(vec![produced(9, 0, 0, 2)], 0, now())[0]
        .as_ref()
        .expect("appended");
    let written = read_all(&reader);
    let producers = writer.producers().clone();
    assert_eq!(
        fixture
            .names()
            .iter()
            .filter(|name| name.ends_with(".snapshot"))
            .count(),
        1,
        "one replaces the other"
    );
    // a broken header in the middle would stop whoever reads headers from the begin on
    let position: usize = written[..25].iter().map(Bytes::len).sum();
    fixture
        .fs
        .flip_bit(
            &Path::new(DIR).join("00000000000000000000.log"),
            position as u64 + 16,
            0,
        )
        .expect("flipped");
    let opened = fixture.try_open(false, 122).expect("opens");
    assert_eq!(opened.reader.watermarks().log_end_offset, 122);
    assert_eq!(opened.writer.producers().entries().count(), producers.entries().count());
    assert_eq!(opened.writer.producers().entry(9), producers.entry(9));
    let plan = opened.reader.plan_read(118, 122, 1000, true).expect("in range");
    assert_eq!(plan.slice.expect("there").read().expect("read"), written[59..].concat());
    // entries of unsynced batches are not believed
    assert!(matches!(
        fixture.try_open(false, 40),
        Err(StorageError::Corrupt { .. }) | Ok(_)
    ));
}

#[test]
fn index_files_do_not_outlive_a_truncation() {
    let fixture = Fixture::new(LogConfig {
        segment_bytes: 1 << 20,
        index_interval_bytes: 1,
        ..small_segments()
    });
    let mut writer = fixture.open().writer;
    let (short, long) = (|| plain(&[1]), || plain(&[1, 2]));
    writer.append(vec![short(), short(), long(), short(), short()], 0, now());
    let end = writer.close().expect("closed");
    let mut writer = fixture.try_open(true, end).expect("opens").writer;
    // the same offsets and the same total size, but other boundaries inside
    writer.truncate_to(1).expect("cut");
    writer.append(vec![long(), short(), short(), short()], 0, now());
    writer.flush().expect("synced");
    let opened = fixture.try_open(false, end).expect("opens");
    for offset in 0..end {
        let plan = opened.reader.plan_read(offset, end, 1, true).expect("in range");
        let header = protocol::record::BatchHeader::parse(&plan.slice.expect("there").read().expect("read"));
        let header = header.expect("a batch");
        assert!(header.base_offset <= offset && offset <= header.last_offset());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever happens to the files behind the recovery point: no panic, a prefix stays, nothing before the first
    /// touched byte is lost, and the next start finds nothing more to do.
    #[test]
    fn damaged_logs_are_cut_at_the_first_bad_batch(
        recovery_point in 0..40i64,
        file_choice in 0..100usize,
        position in 0..1000u64,
        bit in 0..8u8,
        damage in 0..3u8,
    ) {
        let fixture = Fixture::new(small_segments());
        let written = write_log(&fixture);
        let recovery_point = recovery_point * 2;
        let files = segment_files(&fixture);
        let name = &files[file_choice % files.len()];
        let len = fixture.contents(name).len() as u64;
        let position = position % len;
        let path = Path::new(DIR).join(name);
        let file = fixture.fs.shared().open(&path, OpenMode::ReadWrite).expect("opened");
        match damage {
            0 => fixture.fs.flip_bit(&path, position, bit).expect("flipped"),
            1 => file.truncate(position).expect("cut"),
            _ => file.write_at(&[IoSlice::new(&[bit; 50])], position).expect("written"),
        }
        let base: i64 = name[..20].parse().expect("digits");
        let mut touched_offset = base;
        let mut at = 0;
        let mut place = position;
        for bytes in written.iter().filter(|bytes| i64::from_be_bytes(*bytes.first_chunk().expect("a header")) >= base) {
            place = position - at;
            at += bytes.len() as u64;
            if at > position {
                break;
            }
            touched_offset += 2;
        }
        // Base offset and leader epoch are outside of the CRC; a flip there may go unseen, here as in Kafka.
        let is_detectable = damage != 0 || !(place < 8 || (12..16).contains(&place));
        match fixture.try_open(false, recovery_point) {
            Ok(_) if !is_detectable => {}
            Ok(opened) => {
                let read = read_all_unchecked(&opened.reader);
                prop_assert!(read.len() as i64 * 2 >= touched_offset.min(80));
                let untouched = |offset: i64| offset < touched_offset || offset >= touched_offset.max(recovery_point);
                let mut expected_offset = 0;
                for read in &read {
                    let offset = i64::from_be_bytes(*read.first_chunk().expect("a header"));
                    if untouched(offset) {
                        prop_assert_eq!(read, &written[(offset / 2) as usize], "batch at {}", offset);
                    }
                    // a file cut at a batch boundary before the recovery point looks as if compaction had done it
                    prop_assert!(offset == expected_offset || touched_offset < recovery_point, "hole before {}", offset);
                    expected_offset = offset + 2;
                }
                let end = opened.reader.watermarks().log_end_offset;
                drop(opened);
                let again = fixture.try_open(false, recovery_point.min(end)).expect("opens again");
                prop_assert_eq!(again.report.truncated_bytes, 0);
                prop_assert_eq!(again.reader.watermarks().log_end_offset, end);
            }
            Err(error) => {
                prop_assert!(matches!(error, StorageError::Corrupt { .. }), "{}", error);
                prop_assert!(touched_offset < recovery_point, "only damage before the recovery point refuses");
            }
        }
    }
}

/// Batches as long as the chain holds, their CRC not looked at.
fn read_all_unchecked(reader: &LogReader) -> Vec<Bytes> {
    let end = reader.watermarks().log_end_offset;
    let mut offset = 0;
    let mut read = Vec::new();
    while offset < end {
        let Ok(plan) = reader.plan_read(offset, end, 1, true) else {
            break;
        };
        let Some(slice) = plan.slice else { break };
        let bytes = slice.read().expect("readable");
        let Ok(header) = protocol::record::BatchHeader::parse(&bytes) else {
            break;
        };
        offset = header.next_offset();
        read.push(bytes);
    }
    read
}
