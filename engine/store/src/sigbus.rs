//! What happens when a mapped segment can no longer be read or written: say which file, and die.
//!
//! The kernel answers a load or store on a mapping that it cannot serve (a truncated file, a disk that fails) with
//! SIGBUS. Going on is not possible, but dying without a word is not helpful either.
//!
//! Owns the registry of mapped segments. The handler runs inside the signal, so it only reads atomics, fills a
//! buffer on its stack, writes to standard error and exits. Registry entries live in blocks that are never freed;
//! an entry whose range is set belongs to a mapping that is still alive, and a fault inside that range therefore
//! finds its path alive too.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::exit::EXIT_IO_ERROR;

const BLOCK_ENTRIES: usize = 128;

#[derive(Default)]
struct Entry {
    /// First byte of the mapping; 0 while the entry is free.
    start: AtomicUsize,
    end: AtomicUsize,
    /// A `CString` owned by the entry while `start` is not 0.
    path: AtomicPtr<libc::c_char>,
}

struct Block {
    entries: [Entry; BLOCK_ENTRIES],
    next: AtomicPtr<Block>,
}

/// The newest block; each points to an older one.
static BLOCKS: AtomicPtr<Block> = AtomicPtr::new(ptr::null_mut());
/// Held while entries are taken or given back; the handler never takes it.
static REGISTRY_LOCK: Mutex<()> = Mutex::new(());

/// A mapping's place in the registry, given back when dropped. Drop it before the mapping goes away.
pub(crate) struct Registration(&'static Entry);

impl Registration {
    /// Notes that `len` bytes from `start` are a mapping of `path`.
    pub(crate) fn new(start: *const u8, len: usize, path: &Path) -> Self {
        // A path with a NUL cannot have been opened.
        let path = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
        let _held = REGISTRY_LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = free_entry();
        entry.path.store(path.into_raw(), Ordering::Relaxed);
        entry.end.store(start.addr() + len, Ordering::Relaxed);
        entry.start.store(start.addr(), Ordering::Release);
        Self(entry)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let _held = REGISTRY_LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.start.store(0, Ordering::Release);
        let path = self.0.path.swap(ptr::null_mut(), Ordering::Relaxed);
        // SAFETY: `new` made this pointer with `CString::into_raw`, and the swap above took it from the entry, so
        // nobody else frees it. The handler reads it only for a fault inside this mapping, which nobody touches any
        // more while its registration is dropped.
        drop(unsafe { CString::from_raw(path) });
    }
}

fn blocks() -> impl Iterator<Item = &'static Block> {
    // SAFETY: the list holds null or pointers made by `Box::leak` in `free_entry`, so they stay valid for ever.
    let first = unsafe { BLOCKS.load(Ordering::Acquire).as_ref::<'static>() };
    // SAFETY: the same.
    std::iter::successors(first, |block| unsafe { block.next.load(Ordering::Acquire).as_ref::<'static>() })
}

/// An entry that nobody has, from a new block if need be. The caller holds the registry lock.
fn free_entry() -> &'static Entry {
    let mut entries = blocks().flat_map(|block| &block.entries);
    if let Some(entry) = entries.find(|entry| entry.start.load(Ordering::Relaxed) == 0) {
        return entry;
    }
    let block: &'static mut Block = Box::leak(Box::new(Block {
        entries: std::array::from_fn(|_| Entry::default()),
        next: AtomicPtr::new(BLOCKS.load(Ordering::Relaxed)),
    }));
    BLOCKS.store(block, Ordering::Release);
    &block.entries[0]
}

/// What handled the signal before us.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Installs the handler for the whole process.
///
/// Faults outside every mapped segment go to the handler that was there before. Returns whether ours is installed.
pub fn install_sigbus_handler() -> bool {
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_sigbus;
    let _held = REGISTRY_LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: `sigaction` is a plain C structure for which all zeros is a valid value; the calls get valid pointers
    // to such structures; the handler is async-signal-safe as the module's documentation argues.
    unsafe {
        let mut current: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut current) != 0 {
            return false;
        }
        if current.sa_sigaction == handler as usize {
            return true;
        }
        PREVIOUS.get_or_init(|| current);
        let mut ours: libc::sigaction = std::mem::zeroed();
        ours.sa_sigaction = handler as usize;
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGBUS, &raw const ours, ptr::null_mut()) == 0
    }
}

/// Installs what a process that uses segments should have: the handler of [`install_sigbus_handler`], and no death by
/// SIGXFSZ, so that a file size limit is an error like a full disk.
pub fn install_signal_handlers() -> bool {
    // SAFETY: ignoring a signal has no preconditions.
    let ignored = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) } != libc::SIG_ERR;
    install_sigbus_handler() && ignored
}

extern "C" fn on_sigbus(_signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo to a SA_SIGINFO handler.
    let address = unsafe { (*info).si_addr() }.addr();
    let mut message = Message::new();
    let found = blocks().flat_map(|block| &block.entries).find(|entry| {
        let start = entry.start.load(Ordering::Acquire);
        start != 0 && start <= address && address < entry.end.load(Ordering::Relaxed)
    });
    let Some(entry) = found else {
        // Not ours: whoever was there before gets it, when the faulting instruction runs again.
        hand_back();
        return;
    };
    message.push(b"windrow: fatal: ");
    let path = entry.path.load(Ordering::Relaxed);
    // SAFETY: the fault lies inside this entry's mapping, so the entry and its path are alive (see `Registration`).
    message.push(unsafe { std::ffi::CStr::from_ptr(path) }.to_bytes());
    message.push(b": cannot be read or written at byte ");
    message.push_decimal(address - entry.start.load(Ordering::Relaxed));
    message.push(
        b" (SIGBUS).\nThe file was truncated by another program, or its disk failed. Everything confirmed before is \
          as safe as that disk.\nLook at the kernel's log (dmesg) and check the disk; then start again, which verifies \
          the log.\n",
    );
    message.write();
    // SAFETY: `_exit` is async-signal-safe and does not return.
    unsafe { libc::_exit(EXIT_IO_ERROR) }
}

/// Puts the earlier handler back. Only atomics are read and one system call is made, so a signal handler may do it.
fn hand_back() {
    let Some(previous) = PREVIOUS.get() else { return };
    // SAFETY: the pointer is to a structure that the kernel once filled in; `sigaction` is async-signal-safe.
    unsafe { libc::sigaction(libc::SIGBUS, previous, ptr::null_mut()) };
}

/// A text built without an allocation.
struct Message {
    bytes: [u8; 1024],
    len: usize,
}

impl Message {
    const fn new() -> Self {
        Self { bytes: [0; 1024], len: 0 }
    }

    /// Adds what there is room for.
    fn push(&mut self, text: &[u8]) {
        let count = text.len().min(self.bytes.len() - self.len);
        self.bytes[self.len..self.len + count].copy_from_slice(&text[..count]);
        self.len += count;
    }

    fn push_decimal(&mut self, mut number: usize) {
        let mut digits = [0; 20];
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = b"0123456789"[number % 10];
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.push(&digits[first..]);
    }

    fn write(&self) {
        // SAFETY: the pointer and length describe initialised bytes of this structure; `write` is async-signal-safe.
        unsafe { libc::write(libc::STDERR_FILENO, self.bytes.as_ptr().cast(), self.len) };
    }
}
