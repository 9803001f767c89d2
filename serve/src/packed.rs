//! Documents as they are kept: compressed one by one, with a dictionary that is trained on the first of
//! them. An event of 1.5 KB takes about a quarter of that, and is read back in some microseconds.

use std::io;
use std::sync::Arc;

use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};

/// So many documents are kept without a dictionary, and then one is trained on them.
pub(crate) const TRAINED_ON: usize = 1_000;

/// Size of the dictionary in bytes.
const DICTIONARY: usize = 64 << 10;

/// Level of compression: higher ones gain little on short documents.
const LEVEL: i32 = 3;

/// A document, compressed. Clones share it.
#[derive(Debug, Clone)]
pub struct Packed(Arc<[u8]>);

impl Packed {
    /// Bytes that it takes.
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

/// The first byte of a compressed document, and the length of the original in the next four.
const PLAIN: u8 = 0;
const BY_DICTIONARY: u8 = 1;
const HEADER: usize = 5;

/// A dictionary, ready for use.
struct Dictionary {
    encoder: EncoderDictionary<'static>,
    decoder: DecoderDictionary<'static>,
}

/// Packs and unpacks documents.
#[derive(Clone, Default)]
pub struct Packing(Option<Arc<Dictionary>>);

impl Packing {
    /// Packing with a dictionary that is trained on `samples`.
    ///
    /// # Errors
    /// When they are too few, or too much alike.
    pub fn trained(samples: &[Vec<u8>]) -> io::Result<Self> {
        let bytes = zstd::dict::from_samples(samples, DICTIONARY)?;
        let encoder = EncoderDictionary::copy(&bytes, LEVEL);
        let decoder = DecoderDictionary::copy(&bytes);
        Ok(Self(Some(Arc::new(Dictionary { encoder, decoder }))))
    }

    /// Trains a dictionary on documents, and packs them by it.
    ///
    /// # Errors
    /// As [`Self::trained`]; or when a document was not packed without a dictionary.
    pub fn repack<K>(documents: Vec<(K, Packed)>) -> io::Result<(Self, Vec<(K, Packed)>)> {
        let plain = Self::default();
        let mut unpacker = plain.unpacker()?;
        let mut unpacked = Vec::with_capacity(documents.len());
        let mut keys = Vec::with_capacity(documents.len());
        for (key, document) in documents {
            unpacked.push(unpacker.unpack(&document)?);
            keys.push(key);
        }
        let packing = Self::trained(&unpacked)?;
        let mut packer = packing.packer()?;
        let packed = unpacked.iter().map(|document| packer.pack(document)).collect::<io::Result<Vec<_>>>()?;
        drop(packer);
        Ok((packing, keys.into_iter().zip(packed).collect()))
    }

    /// Whether it has a dictionary.
    pub fn is_trained(&self) -> bool {
        self.0.is_some()
    }

    /// Something that packs many documents.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn packer(&self) -> io::Result<Packer<'_>> {
        Ok(match &self.0 {
            Some(dictionary) => {
                Packer { kind: BY_DICTIONARY, inner: Compressor::with_prepared_dictionary(&dictionary.encoder)? }
            }
            None => Packer { kind: PLAIN, inner: Compressor::new(LEVEL)? },
        })
    }

    /// Something that unpacks many documents, those too that were packed before the dictionary was trained.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn unpacker(&self) -> io::Result<Unpacker<'_>> {
        let trained = self.0.as_ref().map(|dictionary| Decompressor::with_prepared_dictionary(&dictionary.decoder));
        Ok(Unpacker { plain: Decompressor::new()?, trained: trained.transpose()? })
    }
}

/// Packs documents.
pub struct Packer<'d> {
    kind: u8,
    inner: Compressor<'d>,
}

impl Packer<'_> {
    /// Packs a document.
    ///
    /// # Errors
    /// When it is 4 GiB long or longer, or there is no memory.
    pub fn pack(&mut self, document: &[u8]) -> io::Result<Packed> {
        let length = u32::try_from(document.len()).map_err(io::Error::other)?;
        let compressed = self.inner.compress(document)?;
        let mut bytes = Vec::with_capacity(HEADER + compressed.len());
        bytes.push(self.kind);
        bytes.extend(length.to_le_bytes());
        bytes.extend(compressed);
        Ok(Packed(bytes.into()))
    }
}

/// Unpacks documents.
pub struct Unpacker<'d> {
    plain: Decompressor<'static>,
    trained: Option<Decompressor<'d>>,
}

impl Unpacker<'_> {
    /// The document, as it was packed.
    ///
    /// # Errors
    /// When it was packed by another dictionary, or there is no memory.
    pub fn unpack(&mut self, packed: &Packed) -> io::Result<Vec<u8>> {
        let broken = || io::Error::other("the document was packed by another dictionary");
        let (header, compressed) = packed.0.split_at_checked(HEADER).ok_or_else(broken)?;
        let [kind, length @ ..] = header else { return Err(broken()) };
        let length = length.try_into().map(u32::from_le_bytes).map_err(io::Error::other)?;
        match *kind {
            PLAIN => self.plain.decompress(compressed, length as usize),
            _ => self.trained.as_mut().ok_or_else(broken)?.decompress(compressed, length as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(number: usize) -> Vec<u8> {
        let city = ["Napa", "Paris", "Łódź"][number % 3];
        format!(r#"{{"format":1,"id":"{number:032x}","title":"Concert {number}","venue":{{"city":"{city}"}}}}"#).into()
    }

    #[test]
    fn documents_come_back_as_they_were() {
        let documents: Vec<Vec<u8>> = (0..TRAINED_ON).map(document).collect();
        let trained = Packing::trained(&documents).unwrap();
        let plain = Packing::default();
        let (mut before, mut after) = (plain.packer().unwrap(), trained.packer().unwrap());
        let mut unpacker = trained.unpacker().unwrap();
        for one in documents.iter().chain([&Vec::new()]) {
            let (before, after) = (before.pack(one).unwrap(), after.pack(one).unwrap());
            assert!(one.is_empty() || after.size() < before.size(), "{} {}", after.size(), before.size());
            assert_eq!(unpacker.unpack(&before).unwrap(), *one);
            assert_eq!(unpacker.unpack(&after).unwrap(), *one);
        }
        let trained = after.pack(&document(1)).unwrap();
        assert!(plain.unpacker().unwrap().unpack(&trained).is_err());
    }
}
