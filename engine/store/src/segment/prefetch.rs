//! Bringing memory towards the processor before it is needed.

/// Bytes that the processor fetches at once.
const CACHE_LINE: usize = 64;

/// Has the cache lines of `bytes` fetched. Where the processor takes such hints, nothing waits for them.
#[inline]
pub(super) fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(CACHE_LINE) {
        // SAFETY: every processor of this architecture has the instruction; it is a hint that neither reads nor faults, and
        // the address is that of `line`, which the caller lends.
        unsafe {
            core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(line.as_ptr().cast());
        }
    }
    // Elsewhere there is no such instruction to be had. The loads do not depend on each other, so all are waited for at
    // the same time.
    #[cfg(not(target_arch = "x86_64"))]
    core::hint::black_box(bytes.iter().step_by(CACHE_LINE).fold(0, |seen, byte| seen ^ byte));
}
