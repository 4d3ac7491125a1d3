//! Bytes of one simulated file: what programs see (the page cache) and what the disk has.
//!
//! Invariant: applying all of `pending` to `durable` gives `cached`, except for bytes that a failed sync has dropped.

use super::random::Random;

/// What a disk writes in one piece.
const SECTOR_BYTES: u64 = 512;

#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) cached: Vec<u8>,
    pub(super) modified_ms: i64,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

/// A change that is not synced.
#[derive(Debug, Clone)]
enum Change {
    Write { position: u64, bytes: Vec<u8> },
    SetLen(u64),
}

impl Content {
    pub(super) fn write(&mut self, position: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let change = Change::Write {
            position,
            bytes: bytes.to_vec(),
        };
        apply(&mut self.cached, &change);
        self.pending.push(change);
    }

    pub(super) fn set_len(&mut self, len: u64) {
        let change = Change::SetLen(len);
        apply(&mut self.cached, &change);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            apply(&mut self.durable, &change);
        }
    }

    /// What Linux does on a write-back error: some pages arrive, the others are marked clean. They are still read
    /// from memory, and no later sync will write them.
    pub(super) fn fail_sync(&mut self, random: &mut Random) {
        for change in std::mem::take(&mut self.pending) {
            persist_part(&mut self.durable, change, random);
        }
    }

    /// Flips one bit on the disk and in memory.
    pub(super) fn flip_bit(&mut self, position: usize, bit: u8) {
        for bytes in [&mut self.cached, &mut self.durable] {
            if let Some(byte) = bytes.get_mut(position) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// Power is lost: unsynced changes arrive wholly, up to some point, in scattered sectors, or not at all.
    pub(super) fn lose_power(&mut self, random: &mut Random) {
        let pending = std::mem::take(&mut self.pending);
        match random.below(4) {
            0 => {}
            1 => pending.iter().for_each(|change| apply(&mut self.durable, change)),
            2 => {
                let whole = random.below(pending.len() + 1);
                let mut pending = pending.into_iter();
                pending
                    .by_ref()
                    .take(whole)
                    .for_each(|change| apply(&mut self.durable, &change));
                if let Some(torn) = pending.next() {
                    persist_prefix(&mut self.durable, torn, random);
                }
            }
            _ => pending
                .into_iter()
                .for_each(|change| persist_part(&mut self.durable, change, random)),
        }
        self.cached.clone_from(&self.durable);
    }
}

fn apply(data: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { position, bytes } => {
            let start = to_index(*position);
            let end = start + bytes.len();
            if data.len() < end {
                data.resize(end, 0);
            }
            data[start..end].copy_from_slice(bytes);
        }
        Change::SetLen(len) => data.resize(to_index(*len), 0),
    }
}

/// The first sectors of a write; a new length may or may not arrive.
fn persist_prefix(data: &mut Vec<u8>, change: Change, random: &mut Random) {
    match change {
        Change::SetLen(_) => {
            if random.coin() {
                apply(data, &change);
            }
        }
        Change::Write { position, bytes } => {
            let sectors = sectors(position, bytes.len());
            let kept = random.below(sectors.len() + 1);
            let end = sectors[..kept].last().map_or(0, |(_, end)| *end);
            if end > 0 {
                apply(
                    data,
                    &Change::Write {
                        position,
                        bytes: bytes[..end].to_vec(),
                    },
                );
            }
        }
    }
}

/// Any of the sectors of a write, in whatever order the disk liked.
fn persist_part(data: &mut Vec<u8>, change: Change, random: &mut Random) {
    match &change {
        Change::SetLen(_) => {
            if random.coin() {
                apply(data, &change);
            }
        }
        Change::Write { position, bytes } => {
            for (start, end) in sectors(*position, bytes.len()) {
                if random.coin() {
                    let part = bytes[start..end].to_vec();
                    apply(
                        data,
                        &Change::Write {
                            position: position + start as u64,
                            bytes: part,
                        },
                    );
                }
            }
        }
    }
}

/// Ranges of a write of `len` bytes at `position`, cut at the borders of sectors.
fn sectors(position: u64, len: usize) -> Vec<(usize, usize)> {
    let mut ranges = Vec::new();
    let mut start = 0;
    while start < len {
        let room = SECTOR_BYTES - (position + start as u64) % SECTOR_BYTES;
        let end = len.min(start + to_index(room));
        ranges.push((start, end));
        start = end;
    }
    ranges
}

pub(super) fn to_index(position: u64) -> usize {
    usize::try_from(position).expect("simulated files are small")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_are_cut_at_multiples_of_512() {
        assert_eq!(sectors(500, 600), [(0, 12), (12, 524), (524, 600)]);
        assert_eq!(sectors(512, 512), [(0, 512)]);
        assert_eq!(sectors(0, 0), []);
    }

    #[test]
    fn after_power_loss_every_sector_is_old_or_new() {
        let mut torn = 0;
        for seed in 0..200 {
            let mut content = Content::default();
            content.write(0, &[1; 2048]);
            content.sync();
            content.write(0, &[2; 2048]);
            content.lose_power(&mut Random::new(seed));
            assert_eq!(content.cached.len(), 2048);
            for sector in content.cached.chunks(512) {
                assert!(
                    sector.iter().all(|byte| *byte == sector[0]),
                    "a sector is written in one piece"
                );
            }
            torn += usize::from(content.cached.iter().any(|byte| *byte != content.cached[0]));
        }
        assert!(torn > 20, "only {torn} of 200 power losses tore the write");
    }

    #[test]
    fn a_failed_sync_is_not_made_good_by_the_next_one() {
        let mut lost = false;
        for seed in 0..20 {
            let mut random = Random::new(seed);
            let mut content = Content::default();
            content.write(0, &[7; 512]);
            content.fail_sync(&mut random);
            assert_eq!(content.cached, [7; 512], "still read from memory");
            content.sync();
            content.lose_power(&mut random);
            lost |= content.cached.is_empty();
        }
        assert!(lost);
    }
}
