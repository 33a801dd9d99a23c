//! What is left of rows: their number, and the sum of a 128-bit hash of each.
//!
//! Pure. Rows are the lines of COPY in text format, in which a line feed inside a value is escaped and
//! NULL differs from any text. The sum does not depend on the order of rows. It is a sum and no
//! exclusive or, under which two equal rows would be as good as none.

use crate::error::{Error, Result};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;
use std::io::BufRead;

/// Key of the hash; the same in every run, so that checksums of two runs can be compared.
const KEY: [u8; 16] = *b"pgcopydb compare";

/// Number of rows and the sum of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowSum {
    /// Rows.
    pub rows: u64,
    /// Sum of the hashes, modulo 2^128.
    pub hash: u128,
}

impl RowSum {
    /// Adds the rows of another part of the same table.
    pub(super) fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.hash = self.hash.wrapping_add(other.hash);
    }

    /// The sum as 32 hexadecimal digits.
    pub fn checksum(&self) -> String {
        format!("{:032x}", self.hash)
    }
}

/// Sums the rows of one COPY, whose bytes come in pieces that end anywhere.
pub(super) struct Summing {
    sum: RowSum,
    row: SipHasher13,
    in_row: bool,
}

impl Summing {
    pub(super) fn new() -> Self {
        Self {
            sum: RowSum::default(),
            row: SipHasher13::new_with_key(&KEY),
            in_row: false,
        }
    }

    /// Takes the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let before = rest;
            // A slice never fails to be read.
            let length = rest.skip_until(b'\n').unwrap_or(before.len());
            let (line, _) = before.split_at(length.min(before.len()));
            self.row.write(line);
            self.in_row = true;
            if line.ends_with(b"\n") {
                let hash = self.row.finish128();
                self.sum.add(RowSum {
                    rows: 1,
                    hash: u128::from(hash.h1) << 64 | u128::from(hash.h2),
                });
                self.row = SipHasher13::new_with_key(&KEY);
                self.in_row = false;
            }
        }
    }

    /// The sum, once the server has said how many rows it sent.
    pub(super) fn finish(self, sent: u64) -> Result<RowSum> {
        if self.in_row || self.sum.rows != sent {
            return Err(Error::internal(format!(
                "{} rows were read where the server sent {sent}",
                self.sum.rows
            )));
        }
        Ok(self.sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum_of(pieces: &[&[u8]]) -> RowSum {
        let mut summing = Summing::new();
        for piece in pieces {
            summing.feed(piece);
        }
        let rows = summing.sum.rows;
        summing.finish(rows).unwrap()
    }

    #[test]
    fn the_sum_depends_on_rows_and_neither_on_their_order_nor_on_the_pieces() {
        let whole = sum_of(&[b"1\ta\n2\tb\n3\tc\n"]);
        assert_eq!(whole.rows, 3);
        assert_eq!(sum_of(&[b"3\tc\n1\ta\n2\tb\n"]), whole);
        assert_eq!(sum_of(&[b"1\t", b"a\n2", b"\tb", b"\n", b"3\tc\n"]), whole);
        for other in [
            &b"1\ta\n2\tb\n3\td\n"[..],
            b"1\ta\n1\ta\n3\tc\n",
            b"1\ta\n2\tb\n",
            b"1\tc\n2\tb\n3\ta\n",
        ] {
            assert_ne!(sum_of(&[other]), whole);
        }
    }

    #[test]
    fn equal_rows_do_not_cancel_each_other_and_null_is_no_empty_text() {
        assert_ne!(sum_of(&[b"1\n1\n"]).hash, sum_of(&[b"2\n2\n"]).hash);
        assert_ne!(sum_of(&[b"\\N\n"]), sum_of(&[b"\n"]));
        // Rows of no column are counted.
        assert_ne!(sum_of(&[b"\n\n"]), sum_of(&[b"\n"]));
    }

    #[test]
    fn a_row_cut_off_or_a_wrong_count_is_an_error() {
        let mut summing = Summing::new();
        summing.feed(b"1\n2");
        assert!(summing.finish(1).is_err());
        let mut summing = Summing::new();
        summing.feed(b"1\n");
        assert!(summing.finish(2).is_err());
    }

    #[test]
    fn checksums_stay_what_they_are_over_versions() {
        assert_eq!(
            sum_of(&[b"1\ta\n"]).checksum(),
            "ca709aef29c7815bb1adb974b66617ef"
        );
    }
}
