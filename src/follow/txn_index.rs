//! The transaction index `txn.idx`: what has been received as a whole and is on disk.
//!
//! `receive` alone writes it: JSON lines are on disk first, then the records, then the server is told.
//! So a valid record proves durable bytes. Readers stop at the first record that is not valid. Records
//! are in the order of the lines, and their end LSNs never fall. Losing the index is harmless: it is
//! made anew from the JSON files. Records of transactions that were applied and whose files are gone are cut
//! off its beginning: the number of the first record tells how many.
//!
//! ```text
//! record, 96 bytes, little endian:
//!   u64 seq (from 1)   u32 xid      u32 flags (1 complete, 8 empty: a boundary without a transaction)
//!   u32 begin tli      u32 end tli  u64 begin segment   u64 begin offset
//!   u64 end segment    u64 end offset (behind the C or K line)
//!   u64 commit LSN (start of the commit record, 0 unknown)   u64 end LSN
//!   i64 commit time (microseconds since 2000-01-01 UTC, 0 unknown)
//!   u32 changes        u64 bytes of JSON     u32 CRC-32 of the 92 bytes before
//! segment: high << 32 | low of its name
//! ```

use super::files::{CdcDir, SegmentName, trouble};
use crate::error::Result;
use crate::units::Lsn;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};

/// Bytes of a record.
pub const RECORD_BYTES: usize = 96;
const COMPLETE: u32 = 1;
const EMPTY: u32 = 8;

/// A place in the JSON files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file.
    pub segment: SegmentName,
    /// The byte in it.
    pub offset: u64,
}

/// One record: a complete transaction, or a boundary that a keepalive told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Number of the record, from 1.
    pub seq: u64,
    /// The transaction; 0 of a boundary.
    pub xid: u32,
    /// A boundary without a transaction: the K line stands from `begin` to `end`.
    pub is_boundary: bool,
    /// Where its B line begins.
    pub begin: Place,
    /// Behind its C line.
    pub end: Place,
    /// Start of its commit record, unset where the plugin does not tell.
    pub commit_lsn: Lsn,
    /// First byte after its commit record: the transaction's identity.
    pub end_lsn: Lsn,
    /// Time of the commit, microseconds since 2000-01-01 UTC; 0 unknown.
    pub commit_time: i64,
    /// I, U, D and T lines.
    pub changes: u32,
    /// Bytes of its lines.
    pub bytes: u64,
}

const CRC_TABLE: [u32; 256] = crc_table();

const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "below 256; no TryFrom in const"
        )]
        let mut value = at as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 {
                0xEDB8_8320 ^ (value >> 1)
            } else {
                value >> 1
            };
            bit += 1;
        }
        table[at] = value;
        at += 1;
    }
    table
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |value, byte| {
        let [low, ..] = value.to_le_bytes();
        CRC_TABLE[usize::from(low ^ byte)] ^ (value >> 8)
    })
}

impl Record {
    /// Its bytes.
    pub fn encode(&self) -> [u8; RECORD_BYTES] {
        let flags = if self.is_boundary {
            COMPLETE | EMPTY
        } else {
            COMPLETE
        };
        let mut out = [0; RECORD_BYTES];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            if let Some(room) = out.get_mut(at..at + bytes.len()) {
                room.copy_from_slice(bytes);
            }
            at += bytes.len();
        };
        put(&self.seq.to_le_bytes());
        put(&self.xid.to_le_bytes());
        put(&flags.to_le_bytes());
        put(&self.begin.segment.tli.to_le_bytes());
        put(&self.end.segment.tli.to_le_bytes());
        put(&self.begin.segment.number().to_le_bytes());
        put(&self.begin.offset.to_le_bytes());
        put(&self.end.segment.number().to_le_bytes());
        put(&self.end.offset.to_le_bytes());
        put(&self.commit_lsn.0.to_le_bytes());
        put(&self.end_lsn.0.to_le_bytes());
        put(&self.commit_time.to_le_bytes());
        put(&self.changes.to_le_bytes());
        put(&self.bytes.to_le_bytes());
        let sum = crc(out.get(..RECORD_BYTES - 4).unwrap_or_default());
        if let Some(room) = out.get_mut(RECORD_BYTES - 4..) {
            room.copy_from_slice(&sum.to_le_bytes());
        }
        out
    }

    /// Reads a record; none when it is not valid.
    pub fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let (body, sum) = bytes.split_last_chunk::<4>()?;
        if crc(body) != u32::from_le_bytes(*sum) {
            return None;
        }
        let mut rest = body;
        let seq = u64::from_le_bytes(take(&mut rest)?);
        let xid = u32::from_le_bytes(take(&mut rest)?);
        let flags = u32::from_le_bytes(take(&mut rest)?);
        let begin_tli = u32::from_le_bytes(take(&mut rest)?);
        let end_tli = u32::from_le_bytes(take(&mut rest)?);
        let mut place = |tli| -> Option<Place> {
            let segment = SegmentName::of_number(tli, u64::from_le_bytes(take(&mut rest)?));
            let offset = u64::from_le_bytes(take(&mut rest)?);
            Some(Place { segment, offset })
        };
        let (begin, end) = (place(begin_tli)?, place(end_tli)?);
        Some(Self {
            seq,
            xid,
            is_boundary: flags & EMPTY != 0,
            begin,
            end,
            commit_lsn: Lsn(u64::from_le_bytes(take(&mut rest)?)),
            end_lsn: Lsn(u64::from_le_bytes(take(&mut rest)?)),
            commit_time: i64::from_le_bytes(take(&mut rest)?),
            changes: u32::from_le_bytes(take(&mut rest)?),
            bytes: u64::from_le_bytes(take(&mut rest)?),
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*taken)
}

/// An index opened for reading. New records are seen as they are written, until its beginning is cut off.
#[derive(Debug)]
pub struct TxnIndex {
    file: File,
    /// Records that were cut off its beginning.
    base: u64,
    path: std::path::PathBuf,
}

impl TxnIndex {
    /// Opens the index; none when there is none yet.
    pub fn open(cdc: &CdcDir) -> Result<Option<Self>> {
        let path = cdc.txn_index();
        match File::open(&path) {
            Ok(file) => {
                let mut index = Self {
                    file,
                    base: 0,
                    path,
                };
                let first = index.read(0)?;
                index.base = first.map_or(0, |record| record.seq.saturating_sub(1));
                Ok(Some(index))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(trouble("open", &path, &error)),
        }
    }

    /// Number of the last record, counted by size; it may be torn.
    fn end(&self) -> Result<u64> {
        let metadata = self.file.metadata();
        let bytes = metadata.map_err(|error| trouble("read", &self.path, &error))?;
        Ok(self.base + bytes.len() / RECORD_BYTES as u64)
    }

    /// Bytes of the file up to the end of a record, by its number from 1.
    pub fn bytes_through(&self, seq: u64) -> u64 {
        seq.saturating_sub(self.base) * RECORD_BYTES as u64
    }

    /// Record number `at`, from 0; none behind the last valid one, and none that was cut off.
    pub fn get(&self, at: u64) -> Result<Option<Record>> {
        let Some(place) = at.checked_sub(self.base) else {
            return Ok(None);
        };
        Ok(self.read(place)?.filter(|record| record.seq == at + 1))
    }

    /// The record at a place in the file, from 0.
    fn read(&self, place: u64) -> Result<Option<Record>> {
        let mut bytes = [0; RECORD_BYTES];
        let offset = place.saturating_mul(RECORD_BYTES as u64);
        match self.file.read_exact_at(&mut bytes, offset) {
            Ok(()) => Ok(Record::decode(&bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(trouble("read", &self.path, &error)),
        }
    }

    /// Number, from 0, of the first record whose end LSN is greater than `lsn`, of those that are there; one
    /// more than the last valid one's when there is none.
    pub fn first_after(&self, lsn: Lsn) -> Result<u64> {
        let (mut low, mut high) = (self.base, self.end()?);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle)? {
                Some(record) if record.end_lsn <= lsn => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// The last valid record.
    pub fn last(&self) -> Result<Option<Record>> {
        let mut count = self.end()?;
        while count > self.base {
            if let Some(record) = self.get(count - 1)? {
                return Ok(Some(record));
            }
            count -= 1;
        }
        Ok(None)
    }
}

/// Cuts off the records of transactions that end before `through`, up to where files were pruned, when
/// there are `at_least` of them and they are half of it. The last record stays. True: it is another file now;
/// whoever writes has to open it again. To be called by the one who writes.
pub fn cut(cdc: &CdcDir, through: Lsn, at_least: u64) -> Result<bool> {
    let Some(mut index) = TxnIndex::open(cdc)? else {
        return Ok(false);
    };
    let Some(last) = index.last()? else {
        return Ok(false);
    };
    let kept = index.first_after(Lsn(through.0.saturating_sub(1)))?;
    let gone = kept.min(last.seq - 1) - index.base;
    if gone < at_least || gone * 2 < last.seq - index.base {
        return Ok(false);
    }
    let skipped = gone * RECORD_BYTES as u64;
    let bytes = index.bytes_through(last.seq) - skipped;
    let new = cdc.top().join("txn.idx.new");
    let copied = index.file.seek(SeekFrom::Start(skipped)).and_then(|_| {
        let mut out = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&new)?;
        std::io::copy(&mut (&index.file).take(bytes), &mut out)?;
        out.sync_all()?;
        std::fs::rename(&new, &index.path)
    });
    if let Err(error) = copied {
        let _best = std::fs::remove_file(&new);
        return Err(trouble("cut", &index.path, &error));
    }
    cdc.sync()?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seq: u64) -> Record {
        let segment = SegmentName::of(1, Lsn(0x5_0000_0000 + seq * 1000), 1 << 24);
        Record {
            seq,
            xid: 700 + u32::try_from(seq).unwrap(),
            is_boundary: seq.is_multiple_of(3),
            begin: Place {
                segment,
                offset: seq,
            },
            end: Place {
                segment,
                offset: seq + 100,
            },
            commit_lsn: Lsn(seq * 1000),
            end_lsn: Lsn(seq * 1000 + 48),
            commit_time: -5,
            changes: 7,
            bytes: 100,
        }
    }

    #[test]
    fn records_are_read_back_and_any_changed_byte_is_noticed() {
        assert_eq!(crc(b"123456789"), 0xCBF4_3926);
        let bytes = record(3).encode();
        assert_eq!(Record::decode(&bytes), Some(record(3)));
        for at in 0..RECORD_BYTES {
            let mut changed = bytes;
            changed[at] ^= 0x10;
            assert_eq!(Record::decode(&changed), None, "{at}");
        }
        assert_eq!(Record::decode(&[0; RECORD_BYTES]), None);
    }

    #[test]
    fn a_torn_tail_is_left_out_and_the_first_after_an_lsn_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let cdc = CdcDir::new(folder.path().to_path_buf());
        assert!(TxnIndex::open(&cdc).unwrap().is_none());
        let mut bytes: Vec<u8> = (1..=10).flat_map(|seq| record(seq).encode()).collect();
        bytes.extend_from_slice(&[0; 150]);
        std::fs::write(cdc.txn_index(), bytes).unwrap();
        let index = TxnIndex::open(&cdc).unwrap().unwrap();
        assert_eq!(index.last().unwrap(), Some(record(10)));
        assert_eq!(index.get(10).unwrap(), None);
        for (lsn, at) in [
            (0, 0),
            (1047, 0),
            (1048, 1),
            (5000, 4),
            (10_048, 10),
            (u64::MAX, 10),
        ] {
            assert_eq!(index.first_after(Lsn(lsn)).unwrap(), at, "{lsn}");
        }
    }

    #[test]
    fn what_was_pruned_is_cut_off_and_the_rest_keeps_its_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let cdc = CdcDir::new(folder.path().to_path_buf());
        assert!(!cut(&cdc, Lsn(1), 1).unwrap());
        let mut bytes: Vec<u8> = (1..=10).flat_map(|seq| record(seq).encode()).collect();
        bytes.extend_from_slice(&[0; 50]);
        std::fs::write(cdc.txn_index(), &bytes).unwrap();
        // Too few, and not half of it.
        assert!(!cut(&cdc, Lsn(8048), 8).unwrap());
        assert!(!cut(&cdc, Lsn(5048), 1).unwrap());
        // What a process that was killed left.
        std::fs::write(folder.path().join("txn.idx.new"), &bytes).unwrap();
        let before = TxnIndex::open(&cdc).unwrap().unwrap();
        assert!(cut(&cdc, Lsn(8048), 7).unwrap());
        // The last one that was applied stays: a cutover names it.
        let index = TxnIndex::open(&cdc).unwrap().unwrap();
        assert_eq!(index.get(6).unwrap(), None);
        assert_eq!(index.get(7).unwrap(), Some(record(8)));
        assert_eq!(index.last().unwrap(), Some(record(10)));
        assert_eq!(index.bytes_through(10), 3 * RECORD_BYTES as u64);
        assert_eq!(std::fs::metadata(cdc.txn_index()).unwrap().len(), 288);
        for (lsn, at) in [(0, 7), (8047, 7), (8048, 8), (9048, 9), (u64::MAX, 10)] {
            assert_eq!(index.first_after(Lsn(lsn)).unwrap(), at, "{lsn}");
        }
        // Who has it open goes on reading what was there.
        assert_eq!(before.get(0).unwrap(), Some(record(1)));
        // All of it: the last record stays.
        assert!(cut(&cdc, Lsn(u64::MAX), 1).unwrap());
        let index = TxnIndex::open(&cdc).unwrap().unwrap();
        assert_eq!(index.first_after(Lsn(0)).unwrap(), 9);
        assert_eq!(index.last().unwrap(), Some(record(10)));
    }
}
