//! One spooled batch as bytes: a header with checksums, then the rows as they go to Postgres. Whatever a crash or a disk
//! does to the bytes is recognised: every field is covered, and the length must be exact.

use uuid::Uuid;

use crate::{domain::time::Timestamp, store::location_logs::CopyBatch};

/// What a file of the spool begins with.
const MAGIC: &[u8; 8] = b"DSPSPOOL";
/// The form of the header.
const FORMAT: u16 = 1;
/// Bytes of the header.
pub const HEADER: usize = 76;

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The batch's id.
    pub id: Uuid,
    /// Which columns the rows hold.
    pub layout: u16,
    /// How many rows.
    pub rows: u64,
    /// The earliest and the latest `created_at`.
    pub first: Timestamp,
    /// See `first`.
    pub last: Timestamp,
    /// When it came to the spool, the engine's time.
    pub spooled_at: Timestamp,
    /// Bytes of the rows.
    length: u64,
    /// CRC-32 of the rows.
    checksum: u32,
}

/// Why bytes are no batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// They do not begin with a header, or it was changed.
    #[error("the header is damaged")]
    Header,
    /// The header is of a program that is newer than this one.
    #[error("the form is not known here; a newer program wrote it")]
    Form,
    /// There are fewer bytes than the header says, or more.
    #[error("the length is wrong")]
    Length,
    /// The rows were changed.
    #[error("the rows are damaged")]
    Rows,
}

impl Header {
    /// The header of a batch.
    #[must_use]
    pub fn of(id: Uuid, batch: &CopyBatch, spooled_at: Timestamp) -> Self {
        let (first, last) = batch.span();
        let bytes = batch.encoded();
        Self {
            id,
            layout: batch.layout(),
            rows: batch.rows(),
            first,
            last,
            spooled_at,
            length: bytes.len() as u64,
            checksum: crc32fast::hash(bytes),
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(MAGIC);
        put(&FORMAT.to_be_bytes());
        put(&self.layout.to_be_bytes());
        put(self.id.as_bytes());
        put(&self.rows.to_be_bytes());
        for time in [self.first, self.last, self.spooled_at] {
            put(&time.as_millis().to_be_bytes());
        }
        put(&self.length.to_be_bytes());
        put(&self.checksum.to_be_bytes());
        let checksum = crc32fast::hash(&bytes[..HEADER - 4]);
        bytes[HEADER - 4..].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// Reads the header at the beginning of a file.
    ///
    /// # Errors
    /// [`Damage`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let bytes: &[u8; HEADER] = bytes.first_chunk().ok_or(Damage::Header)?;
        if !bytes.starts_with(MAGIC) || crc32fast::hash(&bytes[..HEADER - 4]).to_be_bytes() != bytes[HEADER - 4..] {
            return Err(Damage::Header);
        }
        let mut rest = &bytes[MAGIC.len()..];
        if u16::from_be_bytes(field(&mut rest)) != FORMAT {
            return Err(Damage::Form);
        }
        let time = |rest: &mut &[u8]| Timestamp::from_millis(i64::from_be_bytes(field(rest)));
        Ok(Self {
            layout: u16::from_be_bytes(field(&mut rest)),
            id: Uuid::from_bytes(field(&mut rest)),
            rows: u64::from_be_bytes(field(&mut rest)),
            first: time(&mut rest),
            last: time(&mut rest),
            spooled_at: time(&mut rest),
            length: u64::from_be_bytes(field(&mut rest)),
            checksum: u32::from_be_bytes(field(&mut rest)),
        })
    }

    /// The batch of a whole file whose header this is.
    ///
    /// # Errors
    /// [`Damage`].
    pub fn open(&self, mut file: Vec<u8>) -> Result<CopyBatch, Damage> {
        let rows = file.get(HEADER..).unwrap_or_default();
        if rows.len() as u64 != self.length {
            return Err(Damage::Length);
        }
        if crc32fast::hash(rows) != self.checksum {
            return Err(Damage::Rows);
        }
        file.drain(..HEADER);
        CopyBatch::from_encoded(self.layout, file, self.rows, self.first, self.last).ok_or(Damage::Form)
    }
}

/// The next field of a header, whose length is known to suffice.
fn field<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    bytes.split_off(..N).and_then(|field| field.try_into().ok()).unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use super::{
        super::super::{
            buffer::{Bounds, Buffer},
            test_points::*,
        },
        *,
    };

    fn file() -> (Header, Vec<u8>) {
        let bounds = Bounds { flush_rows: 10, flush_age: std::time::Duration::ZERO, max_points: 10 };
        let mut buffer = Buffer::new(bounds);
        buffer.push(std::time::Duration::ZERO, points(&track(1), [1, 2, 4]).into());
        let batch = buffer.form(|| Uuid::from_u128(9)).unwrap();
        let rows = batch.encode();
        let header = Header::of(batch.id, &rows, Timestamp::from_millis(5_000));
        (header, [&header.encode()[..], rows.encoded()].concat())
    }

    fn read(bytes: &[u8]) -> Result<(Header, CopyBatch), Damage> {
        let header = Header::decode(bytes)?;
        Ok((header, header.open(bytes.to_vec())?))
    }

    #[test]
    fn a_batch_reads_back_as_it_was() {
        let (header, bytes) = file();
        let (again, batch) = read(&bytes).unwrap();
        assert_eq!(again, header);
        assert_eq!((batch.rows(), batch.encoded()), (3, &bytes[HEADER..]));
        assert_eq!(batch.names().map(|name| name.seq).collect::<Vec<_>>(), [1, 2, 4]);
    }

    #[test]
    fn a_file_that_ends_anywhere_else_is_recognised() {
        let (_, bytes) = file();
        for length in 0..bytes.len() {
            let wanted = if length < HEADER { Damage::Header } else { Damage::Length };
            assert_eq!(read(&bytes[..length]).unwrap_err(), wanted, "{length}");
        }
        assert_eq!(read(&[&bytes[..], &[0]].concat()).unwrap_err(), Damage::Length);
    }

    #[test]
    fn every_byte_that_changes_is_recognised() {
        let (_, bytes) = file();
        for at in 0..bytes.len() {
            for bits in [1, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= bits;
                let wanted = if at < HEADER { Damage::Header } else { Damage::Rows };
                assert_eq!(read(&changed).unwrap_err(), wanted, "{at}");
            }
        }
    }

    #[test]
    fn what_a_newer_program_wrote_is_left_alone() {
        let (_, bytes) = file();
        // A later form, and later columns, both with checksums that are right.
        for at in [9, 11] {
            let mut newer = bytes.clone();
            newer[at] += 1;
            let checksum = crc32fast::hash(&newer[..HEADER - 4]).to_be_bytes();
            newer[HEADER - 4..HEADER].copy_from_slice(&checksum);
            assert_eq!(read(&newer).unwrap_err(), Damage::Form);
        }
    }
}
