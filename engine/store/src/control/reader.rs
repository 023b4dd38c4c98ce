//! The side of whoever only looks at the control page.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::Ordering;

use memmap2::MmapOptions;
use windrow_core::types::PartitionId;

use super::{CONTROL_FILE, CONTROL_LEN, ControlError, Mapped, Progress, load};
use crate::files::At;

/// A reader's side. It stores nothing in the page, and so is not woken.
pub struct ControlReader(Mapped);

impl ControlReader {
    /// Maps the control page in `dir`, for reading.
    ///
    /// # Errors
    /// [`ControlError`] where the file is something else; otherwise what the system says.
    pub fn open(dir: &Path, partition: PartitionId) -> Result<Self, ControlError> {
        let path = dir.join(CONTROL_FILE);
        let file = File::open(&path).at("open", &path)?;
        let len = file.metadata().at("look at", &path)?.len();
        if len < CONTROL_LEN as u64 {
            return Err(ControlError::Foreign { path, partition });
        }
        let mapped = Mapped(MmapOptions::new().len(CONTROL_LEN).map_raw_read_only(&file).at("map", &path)?);
        mapped.check(&path, partition)?;
        Ok(Self(mapped))
    }

    /// How far the log has grown.
    #[must_use]
    pub fn progress(&self) -> Progress {
        load(self.0.page())
    }

    /// The process id of the writer that took the page over last.
    #[must_use]
    pub fn writer_pid(&self) -> u32 {
        self.0.page().writer_pid.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for ControlReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ControlReader").field(&self.progress()).finish()
    }
}
