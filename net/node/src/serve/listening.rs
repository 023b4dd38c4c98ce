//! Having the addresses that clients and peers come to.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use super::ServeError;
use crate::net::{self, ListenError, Listener};
use crate::settings::Settings;

/// How long a start waits for an address that is taken.
///
/// A process that was killed has let go of its directory before it lets go of its sockets: the kernel ends what was
/// under way on its rings, the waiting for connections too, on a thread of its own. Whoever starts a node again at once
/// would be refused the address that it has just had.
const LET_GO: Duration = Duration::from_secs(2);

/// Calls `bind` until the address is to be had, for a while.
pub(super) fn patiently<T>(bind: impl Fn() -> Result<T, ServeError>) -> Result<T, ServeError> {
    let is_taken = |error: &ServeError| matches!(error, ServeError::Listen(ListenError::Taken { .. }));
    let mut is_said = false;
    let say = |error: &ServeError| {
        if !std::mem::replace(&mut is_said, true) {
            tracing::info!(%error, "waiting a moment: whoever was killed may be about to let go of the address");
        }
        true
    };
    net::patiently(LET_GO, is_taken, say, bind)
}

/// The listeners of each core.
pub(super) fn listen(settings: &Settings, cores: usize) -> Result<Vec<Vec<Listener>>, ServeError> {
    patiently(|| listen_once(settings, cores))
}

#[cfg(feature = "shared-memory")]
fn listen_once(settings: &Settings, cores: usize) -> Result<Vec<Vec<Listener>>, ServeError> {
    let mut by_core: Vec<Vec<Listener>> = (0..cores).map(|_| Vec::new()).collect();
    let mut port = settings.port;
    for &ip in &settings.bind {
        for (listeners, listener) in by_core.iter_mut().zip(Listener::bind_shared(ip, port, cores)?) {
            port = listener.address().port();
            listeners.push(listener);
        }
    }
    Ok(by_core)
}

/// Core number n is at the port that is n above the first. Where the system chooses the first, and one of those above
/// it is taken, the next try has another first one.
#[cfg(feature = "shared-nothing")]
fn listen_once(settings: &Settings, cores: usize) -> Result<Vec<Vec<Listener>>, ServeError> {
    let mut by_core: Vec<Vec<Listener>> = Vec::new();
    let mut port = Some(settings.port);
    for core in 0..cores {
        let mut listeners = Vec::new();
        for &ip in &settings.bind {
            let wanted = port.ok_or(ServeError::Ports { first: settings.port, cores })?;
            let listener = Listener::bind(ip, wanted)?;
            // The system may have chosen it.
            port = Some(listener.address().port());
            listeners.push(listener);
        }
        tracing::debug!(core, ?port, "listening");
        port = port.and_then(|port| port.checked_add(1));
        by_core.push(listeners);
    }
    Ok(by_core)
}

pub(super) fn addresses(listeners: &[Vec<Listener>]) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> = listeners.iter().flatten().map(Listener::address).collect();
    all.sort_unstable();
    all.dedup();
    all
}

pub(super) fn listen_admin(settings: &Settings) -> Result<Option<TcpListener>, ServeError> {
    if settings.admin_port == 0 {
        return Ok(None);
    }
    let address = SocketAddr::new(settings.admin_bind, settings.admin_port);
    TcpListener::bind(address).map(Some).map_err(|source| ServeError::Admin { address, source })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    #[test]
    fn an_address_is_had_as_soon_as_it_is_let_go_of() {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let holder = Listener::bind(ip, 0).unwrap();
        let address = holder.address();
        let other = Cell::new(Some(holder));
        let tries = Cell::new(0);
        let own = patiently(|| {
            tries.set(tries.get() + 1);
            if tries.get() == 4 {
                drop(other.take());
            }
            Ok(Listener::bind(ip, address.port())?)
        });
        assert_eq!((own.unwrap().address(), tries.get()), (address, 4));
    }

    #[test]
    fn what_time_does_not_mend_is_said_at_once() {
        let tries = Cell::new(0);
        let nowhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let refused = patiently(|| {
            tries.set(tries.get() + 1);
            Ok(Listener::bind(nowhere, 0)?)
        });
        assert!(matches!(refused, Err(ServeError::Listen(ListenError::NotHere { .. }))), "{refused:?}");
        assert_eq!(tries.get(), 1);
    }
}
