//! An append-only file of checked frames that can tell a torn end from a damaged middle.
//!
//! `magic, frame, frame, …`; the first frame says how long the file was made, and all of that was durable before the
//! file had its name. A frame is `length u32, CRC-32C u32, durable u64, kind u8, body`, big endian. The checksum
//! also covers the frame's position. `durable` is how far the file was known to be on the disk when the frame was
//! written. So when a frame is bad, whatever a later good frame calls durable had been acknowledged: that is damage,
//! and the file is refused. Without such a frame the bad one was never acknowledged: that is a crash in the middle of
//! a write, and the end is cut off.
//!
//! Invariants: the file is made whole (written aside, synced, renamed); after a failed write or sync nothing more is
//! written, because nobody knows what the disk holds.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage::checkpoint::{read_whole, write_atomic};
use storage::error::{IoContext, StorageError};
use storage::io::file_system::{File, FileSystem, OpenMode};

use crate::controller::log::MAX_ENTRY_BYTES;

const MAGIC: &[u8; 8] = b"MNDLRAFT";
/// Length and checksum.
const PREFIX_BYTES: usize = 8;
/// `durable` and `kind`.
const FIXED_BYTES: usize = 9;
/// An entry and its log id.
const MAX_BODY_BYTES: usize = MAX_ENTRY_BYTES + 1024;

/// One frame: its kind and its body.
pub type Frame = (u8, Vec<u8>);

/// See the module.
#[derive(Debug)]
pub struct FrameFile {
    path: PathBuf,
    file: Arc<dyn File>,
    /// Where the next frame goes.
    end: u64,
    /// How far the file is known to be on the disk.
    durable: u64,
    failed: bool,
}

/// What was found when a file was opened.
#[derive(Debug)]
pub struct Opened {
    /// The file, ready to append.
    pub file: FrameFile,
    /// All good frames.
    pub frames: Vec<Frame>,
    /// Bytes that a crash had left unfinished and that were cut off.
    pub cut_bytes: u64,
}

impl FrameFile {
    /// Makes the file with these frames, in place of one that may be there; durable when it returns.
    pub fn create(fs: &dyn FileSystem, path: &Path, frames: &[Frame]) -> Result<Self, StorageError> {
        let sizes = frames.iter().map(|(_, body)| frame_len(body));
        let end = MAGIC.len() + frame_len(&[0; 8]) + sizes.sum::<usize>();
        let mut bytes = MAGIC.to_vec();
        encode(
            &(SEAL, (end as u64).to_be_bytes().to_vec()),
            MAGIC.len() as u64,
            0,
            &mut bytes,
        );
        for frame in frames {
            encode(frame, bytes.len() as u64, 0, &mut bytes);
        }
        assert_eq!(bytes.len(), end, "the file says how long it was made");
        write_atomic(fs, path, &bytes)?;
        let file = fs.open(path, OpenMode::ReadWrite).context("open", path)?;
        let end = end as u64;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            end,
            durable: end,
            failed: false,
        })
    }

    /// Opens and checks the file; `None` when there is none.
    pub fn open(fs: &dyn FileSystem, path: &Path) -> Result<Option<Opened>, StorageError> {
        let Some(bytes) = read_whole(fs, path)? else {
            return Ok(None);
        };
        if !bytes.starts_with(MAGIC) {
            return Err(StorageError::corrupt(
                path,
                0,
                "does not begin with the magic number of a metadata log",
            ));
        }
        let (mut end, mut durable) = (MAGIC.len(), 0);
        let mut frames = Vec::new();
        while let Some(frame) = parse(&bytes, end) {
            if end == MAGIC.len() {
                durable = length_when_made(&frame).unwrap_or(u64::MAX);
            } else if frame.kind != SEAL {
                frames.push((frame.kind, frame.body.to_vec()));
            }
            end = frame.end;
            durable = frame.durable.max(durable);
        }
        if end == MAGIC.len() || durable > end as u64 {
            return Err(StorageError::corrupt(
                path,
                end as u64,
                "what the file was made with is damaged or cut off",
            ));
        }
        if let Some(witness) = witness_of_damage(&bytes, end) {
            let why = format!("a frame is damaged, and the frame at byte {witness} shows that it had been durable");
            return Err(StorageError::corrupt(path, end as u64, why));
        }
        let file = fs.open(path, OpenMode::ReadWrite).context("open", path)?;
        let cut_bytes = (bytes.len() - end) as u64;
        let end = end as u64;
        if cut_bytes > 0 {
            // Durably, or a frame behind the cut could come back behind a new one.
            file.truncate(end).context("truncate", path)?;
            file.sync_data().context("sync", path)?;
            durable = end;
        }
        // Of the rest nothing is synced here: the next append does it before anybody is told about the content.
        let file = Self {
            path: path.to_path_buf(),
            file,
            end,
            durable,
            failed: false,
        };
        Ok(Some(Opened {
            file,
            frames,
            cut_bytes,
        }))
    }

    /// Appends frames with one write; durable only after [`Self::sync`].
    pub fn append(&mut self, frames: &[Frame]) -> Result<(), StorageError> {
        self.check_usable()?;
        let mut bytes = Vec::with_capacity(frames.iter().map(|(_, body)| frame_len(body)).sum());
        for frame in frames {
            encode(frame, self.end + bytes.len() as u64, self.durable, &mut bytes);
        }
        let written = self
            .file
            .write_at(&[IoSlice::new(&bytes)], self.end)
            .context("write", &self.path);
        self.failed = written.is_err();
        self.end += bytes.len() as u64;
        written
    }

    /// Makes everything appended durable.
    pub fn sync(&mut self) -> Result<(), StorageError> {
        self.check_usable()?;
        let synced = self.file.sync_data().context("sync", &self.path);
        self.failed = synced.is_err();
        synced?;
        self.durable = self.end;
        Ok(())
    }

    /// Makes everything durable and writes down that it is, so that even damage to the last frame is noticed.
    pub fn seal(&mut self) -> Result<(), StorageError> {
        self.sync()?;
        self.append(&[(SEAL, Vec::new())])?;
        self.sync()
    }

    /// Length of the file in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.end
    }

    fn check_usable(&self) -> Result<(), StorageError> {
        let dir = || self.path.parent().unwrap_or(&self.path).to_path_buf();
        if self.failed {
            Err(StorageError::Offline { dir: dir() })
        } else {
            Ok(())
        }
    }
}

/// A frame of this file itself, not of its users: the first one holds the length of the file as it was made, later
/// ones only carry `durable`.
pub const SEAL: u8 = 0;

fn frame_len(body: &[u8]) -> usize {
    PREFIX_BYTES + FIXED_BYTES + body.len()
}

fn length_when_made(first: &Parsed<'_>) -> Option<u64> {
    let length = first.body.try_into().ok().map(u64::from_be_bytes);
    length.filter(|_| first.kind == SEAL)
}

fn encode((kind, body): &Frame, position: u64, durable: u64, out: &mut Vec<u8>) {
    assert!(
        body.len() <= MAX_BODY_BYTES,
        "the controller limits the size of entries"
    );
    let mut checked = Vec::with_capacity(FIXED_BYTES + body.len());
    checked.extend_from_slice(&durable.to_be_bytes());
    checked.push(*kind);
    checked.extend_from_slice(body);
    let length = u32::try_from(checked.len()).expect("below MAX_BODY_BYTES");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&checksum(position, &checked).to_be_bytes());
    out.append(&mut checked);
}

fn checksum(position: u64, checked: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&position.to_be_bytes()), checked)
}

struct Parsed<'a> {
    durable: u64,
    kind: u8,
    body: &'a [u8],
    end: usize,
}

/// The frame at this position, if it is whole and its checksum holds.
fn parse(bytes: &[u8], position: usize) -> Option<Parsed<'_>> {
    let rest = bytes.get(position..)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length) as usize;
    if !(FIXED_BYTES..=FIXED_BYTES + MAX_BODY_BYTES).contains(&length) {
        return None;
    }
    let checked = rest.get(..length)?;
    if u32::from_be_bytes(*crc) != checksum(position as u64, checked) {
        return None;
    }
    let (durable, rest) = checked.split_first_chunk::<8>()?;
    let (kind, body) = rest.split_first()?;
    let end = position + PREFIX_BYTES + length;
    Some(Parsed {
        durable: u64::from_be_bytes(*durable),
        kind: *kind,
        body,
        end,
    })
}

/// Position of a good frame behind `bad` that says that more than `bad` bytes had been durable.
fn witness_of_damage(bytes: &[u8], bad: usize) -> Option<usize> {
    (bad..bytes.len()).find(|position| parse(bytes, *position).is_some_and(|frame| frame.durable > bad as u64))
}

#[cfg(test)]
mod tests;
