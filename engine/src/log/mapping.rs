//! Read-only memory maps of segments: the one place of the log with `unsafe` code.

#![allow(unsafe_code)]

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

use arrow_buffer::Buffer;
use memmap2::{Mmap, MmapOptions, UncheckedAdvice};

use crate::error::{Error, Result};

/// A segment's file, mapped for reading over its whole length.
///
/// Arrow buffers cut from it keep the map alive, also after the segment's file was unlinked.
#[derive(Debug, Clone)]
pub(crate) struct Mapping {
    map: Arc<Mmap>,
}

impl Mapping {
    /// Maps the whole file.
    pub(crate) fn new(file: &File, path: &Path, length: u64) -> Result<Self> {
        let length = usize::try_from(length)
            .map_err(|_| Error::invalid("segment size", "larger than the address space"))?;
        // SAFETY: a map is sound while nobody changes the bytes that a reference looks at and the file
        // keeps its length. Segments are written by their one owner with pwritev, only beyond the
        // committed end, which no reader looks at before it is published; a file is reused for another
        // segment only once nobody has the map, here or in another process (flock). Files are never
        // truncated, and `length` is at most the file's, as the callers checked or allocated it.
        let map =
            unsafe { MmapOptions::new().len(length).map(file) }.map_err(Error::io("map", path))?;
        Ok(Self { map: Arc::new(map) })
    }

    /// Whether nobody else has the map, nor a buffer cut from it.
    pub(crate) fn is_unshared(&self) -> bool {
        Arc::strong_count(&self.map) == 1
    }

    /// The mapped bytes in a range of positions, if the file has them.
    pub(crate) fn bytes(&self, range: Range<u64>) -> Option<&[u8]> {
        let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
        self.map.get(range)
    }

    /// Takes the pages of a range of positions out of this process's resident memory. They stay in the kernel's page cache,
    /// and whoever looks at them again has them again.
    pub(crate) fn give_back(&self, range: Range<u64>) {
        let range = usize::try_from(range.start).unwrap_or(usize::MAX)
            ..usize::try_from(range.end)
                .unwrap_or(usize::MAX)
                .min(self.map.len());
        if range.is_empty() {
            return;
        }
        // SAFETY: the map is of a file, read-only and shared: MADV_DONTNEED only forgets translations, and a later access
        // finds the same bytes in the file. The range is within the map.
        let advised = unsafe {
            let advice = UncheckedAdvice::DontNeed;
            self.map
                .unchecked_advise_range(advice, range.start, range.len())
        };
        if let Err(error) = advised {
            tracing::debug!(%error, "pages of a segment stay resident");
        }
    }

    /// An Arrow buffer over a range of positions, which shares the map's memory.
    pub(crate) fn buffer(&self, range: Range<u64>) -> Option<Buffer> {
        let bytes = self.bytes(range)?;
        let start = NonNull::from(bytes).cast::<u8>();
        // SAFETY: `start` is valid for `bytes.len()` bytes for as long as the map lives, and the
        // buffer holds the map.
        Some(unsafe {
            Buffer::from_custom_allocation(start, bytes.len(), Arc::clone(&self.map) as _)
        })
    }
}
