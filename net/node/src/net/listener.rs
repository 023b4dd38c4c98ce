//! Listening sockets, and what is set on every connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use thiserror::Error;

/// Connections that the kernel keeps waiting until they are accepted.
const BACKLOG: i32 = 1_024;

/// Why the node can't listen.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Somebody else listens there.
    #[error(
        "{address} is taken by another process. Remedy: stop it (`ss -ltnp 'sport = :{}'` says who it is) or choose \
         another --port",
        address.port()
    )]
    Taken {
        /// The address.
        address: SocketAddr,
    },
    /// The address is not one of this machine's.
    #[error("{address} is not an address of this machine. Remedy: choose another --bind (`ip addr` lists them)")]
    NotHere {
        /// The address.
        address: SocketAddr,
    },
    /// Low ports are reserved.
    #[error(
        "not allowed to listen on {address}. Remedy: choose a --port of 1024 or more, or grant CAP_NET_BIND_SERVICE"
    )]
    NotAllowed {
        /// The address.
        address: SocketAddr,
    },
    /// Something else.
    #[error("cannot listen on {address}: {source}")]
    Failed {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    address: SocketAddr,
}

impl Listener {
    /// Listens on `ip` and `port` alone. Port 0 picks a free one.
    ///
    /// # Errors
    /// The address can't be had.
    pub fn bind(ip: IpAddr, port: u16) -> Result<Self, ListenError> {
        Self::open(SocketAddr::new(ip, port), false)
    }

    /// One socket for each of `count` cores, all on one address, among which the kernel deals new connections.
    ///
    /// # Errors
    /// The address can't be had.
    pub fn bind_shared(ip: IpAddr, port: u16, count: usize) -> Result<Vec<Self>, ListenError> {
        if count <= 1 {
            return Ok(vec![Self::bind(ip, port)?]);
        }
        // Sockets that share a port are also shared with another process of the same user. So first make sure that
        // nobody has it.
        let address = Self::open(SocketAddr::new(ip, port), false)?.address;
        (0..count).map(|_| Self::open(address, true)).collect()
    }

    fn open(address: SocketAddr, shared: bool) -> Result<Self, ListenError> {
        Self::try_open(address, shared).map_err(|error| match error {
            rustix::io::Errno::ADDRINUSE => ListenError::Taken { address },
            rustix::io::Errno::ADDRNOTAVAIL => ListenError::NotHere { address },
            rustix::io::Errno::ACCESS | rustix::io::Errno::PERM => ListenError::NotAllowed { address },
            error => ListenError::Failed { address, source: error.into() },
        })
    }

    fn try_open(address: SocketAddr, shared: bool) -> rustix::io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        if shared {
            sockopt::set_socket_reuseport(&socket, true)?;
        }
        net::bind(&socket, &address)?;
        net::listen(&socket, BACKLOG)?;
        let address = net::getsockname(&socket)?.try_into()?;
        Ok(Self { socket, address })
    }

    /// Where it listens, the port that the kernel picked included.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The two ends of a connection, and the options that every connection gets.
pub(crate) fn prepare(socket: &OwnedFd, keepalive: Option<Duration>) -> io::Result<(SocketAddr, SocketAddr)> {
    sockopt::set_tcp_nodelay(socket, true)?;
    if let Some(idle) = keepalive {
        sockopt::set_socket_keepalive(socket, true)?;
        sockopt::set_tcp_keepidle(socket, idle.max(Duration::from_secs(1)))?;
        // Three probes, as Redis does: a third of the idle time apart.
        sockopt::set_tcp_keepintvl(socket, (idle / 3).max(Duration::from_secs(1)))?;
        sockopt::set_tcp_keepcnt(socket, 3)?;
    }
    let peer = net::getpeername(socket)?.map(SocketAddr::try_from).transpose()?;
    let local = SocketAddr::try_from(net::getsockname(socket)?)?;
    Ok((peer.ok_or(io::ErrorKind::NotConnected)?, local))
}
