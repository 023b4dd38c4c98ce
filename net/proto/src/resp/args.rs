//! The arguments of one command: ranges of bytes that somebody else holds.

use alloc::vec::Vec;

/// A range of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Where it starts.
    pub start: u32,
    /// How many bytes it has.
    pub len: u32,
}

/// The arguments of one command, its name first.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    /// The arguments that lie at `spans` in `bytes`. A span that leaves `bytes` reads as an empty argument.
    #[must_use]
    pub const fn new(bytes: &'a [u8], spans: &'a [Span]) -> Self {
        Self { bytes, spans }
    }

    /// How many arguments there are, the command's name included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is nothing at all: an empty line or array, which is no command and gets no reply.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Argument number `index`; the command's name is number 0.
    #[must_use]
    #[inline]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.spans.get(index).map(|&span| self.resolve(span))
    }

    /// Argument number `index`, or nothing (an empty slice) where there is none: for commands whose arity has been
    /// checked.
    #[must_use]
    #[inline]
    pub fn at(&self, index: usize) -> &'a [u8] {
        self.get(index).unwrap_or_default()
    }

    /// All arguments from number `first` on.
    pub fn from(&self, first: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a> {
        let this = *self;
        self.spans.get(first..).unwrap_or_default().iter().map(move |&span| this.resolve(span))
    }

    /// Where the arguments lie in the bytes that they were parsed from.
    #[must_use]
    pub const fn spans(&self) -> &'a [Span] {
        self.spans
    }

    #[inline]
    fn resolve(&self, span: Span) -> &'a [u8] {
        // `u32` fits: the workspace supports 64-bit targets only, which `limits` asserts for `usize`.
        let start = span.start as usize;
        self.bytes.get(start..start + span.len as usize).unwrap_or_default()
    }
}

/// Arguments that own their bytes: a command that has to outlive the buffer that it was received into, because it
/// was queued by MULTI or goes to another core.
///
/// Holds any number of commands' worth of storage; [`ArgsBuf::clear`] keeps it.
#[derive(Clone, Default, Debug)]
pub struct ArgsBuf {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl ArgsBuf {
    /// No arguments.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), spans: Vec::new() }
    }

    /// A copy of `args`.
    #[must_use]
    pub fn copied(args: Args<'_>) -> Self {
        let mut copy = Self::new();
        for arg in args.from(0) {
            copy.push(arg);
        }
        copy
    }

    /// Adds an argument.
    ///
    /// # Panics
    /// If the arguments have 4 GiB together: the parser's limits keep a command far below that.
    pub fn push(&mut self, arg: &[u8]) {
        let start = u32::try_from(self.bytes.len()).expect("a command is shorter than 4 GiB");
        let len = u32::try_from(arg.len()).expect("a command is shorter than 4 GiB");
        self.bytes.extend_from_slice(arg);
        self.spans.push(Span { start, len });
    }

    /// Forgets the arguments and keeps their storage.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
    }

    /// The arguments.
    #[must_use]
    pub fn args(&self) -> Args<'_> {
        Args::new(&self.bytes, &self.spans)
    }

    /// Bytes of the arguments and of their positions: what holding on to them costs.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.bytes.len() + self.spans.len() * size_of::<Span>()
    }
}
