//! What the running kernel can do.

use io_uring::{IoUring, Probe, opcode};

use super::buffers::Buffers;
use super::error::{SetupError, release};
use super::setup;

/// Operations without which a core cannot work, and since when Linux has them.
const REQUIRED: [(u8, &str); 7] = [
    (opcode::AcceptMulti::CODE, "IORING_OP_ACCEPT"),
    (opcode::RecvMulti::CODE, "IORING_OP_RECV"),
    (opcode::Send::CODE, "IORING_OP_SEND"),
    (opcode::SendMsg::CODE, "IORING_OP_SENDMSG"),
    (opcode::AsyncCancel::CODE, "IORING_OP_ASYNC_CANCEL"),
    (opcode::Timeout::CODE, "IORING_OP_TIMEOUT"),
    (opcode::PollAdd::CODE, "IORING_OP_POLL_ADD"),
];
/// What is used where it is there.
const OPTIONAL: [(u8, &str); 2] = [(opcode::SendZc::CODE, "IORING_OP_SEND_ZC"), (opcode::FutexWait::CODE, FUTEX_WAIT)];
/// What a standby sleeps in; Linux has it since 6.7.
pub(crate) const FUTEX_WAIT: &str = "IORING_OP_FUTEX_WAIT";

/// One thing that the kernel can do, or cannot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capability {
    /// The kernel's name of it.
    pub name: &'static str,
    /// The node does not start without it.
    pub required: bool,
    /// The kernel has it.
    pub present: bool,
}

/// Makes a ring as the node would, and lists what it can do. For `windrow doctor`.
///
/// # Errors
/// No ring can be made at all; the error says why and what to do.
pub fn probe() -> Result<Vec<Capability>, SetupError> {
    let io = setup::build(8)?;
    let kernel = ask(&io)?;
    let mut found: Vec<Capability> = REQUIRED
        .iter()
        .map(|&(code, name)| Capability { name, required: true, present: kernel.is_supported(code) })
        .chain(OPTIONAL.iter().map(|&(code, name)| Capability {
            name,
            required: false,
            present: kernel.is_supported(code),
        }))
        .collect();
    let buffers = Buffers::new().map_err(|source| SetupError::NoMemory { what: "receive buffers", source })?;
    // SAFETY: the group is unregistered, or was never registered, before the buffers are dropped.
    let registered = unsafe { buffers.register(&io) };
    let present = registered.is_ok();
    if present {
        io.submitter()
            .unregister_buf_ring(super::buffers::GROUP)
            .map_err(|source| SetupError::from_register("a ring of receive buffers", source))?;
    }
    found.push(Capability { name: "IORING_REGISTER_PBUF_RING", required: true, present });
    Ok(found)
}

/// Refuses a kernel that lacks a required operation.
pub(super) fn require(io: &IoUring) -> Result<(), SetupError> {
    let kernel = ask(io)?;
    match REQUIRED.iter().find(|&&(code, _)| !kernel.is_supported(code)) {
        Some(&(_, what)) => Err(SetupError::KernelTooOld { release: release(), what }),
        None => Ok(()),
    }
}

fn ask(io: &IoUring) -> Result<Probe, SetupError> {
    let mut kernel = Probe::new();
    io.submitter()
        .register_probe(&mut kernel)
        .map_err(|source| SetupError::from_register("a probe of the ring's operations", source))?;
    Ok(kernel)
}
