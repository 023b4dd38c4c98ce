//! What a wrong password costs: time, per address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// The delay after the first wrong password; it doubles with each further one.
pub const DELAY_FIRST: Duration = Duration::from_millis(50);
/// The longest delay.
pub const DELAY_MAX: Duration = Duration::from_secs(3);
/// An address that has been quiet this long starts anew.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// Addresses that one core remembers. When there are more, the one that has been quiet longest is forgotten.
pub const ADDRESSES_MAX: usize = 1_024;

/// One core's memory of who gave wrong passwords.
///
/// Addresses of IPv6 count by their first 64 bits, for that is what one subscriber has.
#[derive(Debug, Default)]
pub struct Throttle {
    failures: HashMap<IpAddr, Failures>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Throttle {
    /// Counts a wrong password from `peer` and says how late it should be answered.
    pub fn failed(&mut self, peer: IpAddr, now: Instant) -> Duration {
        let network = network(peer);
        if self.failures.len() >= ADDRESSES_MAX && !self.failures.contains_key(&network) {
            self.make_room(now);
        }
        let entry = self.failures.entry(network).or_insert(Failures { count: 0, last: now });
        if now.saturating_duration_since(entry.last) >= FORGOTTEN_AFTER {
            entry.count = 0;
        }
        entry.last = now;
        let delay = DELAY_FIRST.saturating_mul(1 << entry.count.min(16)).min(DELAY_MAX);
        entry.count = entry.count.saturating_add(1);
        delay
    }

    /// Forgets the failures of `peer`, which has given the right password.
    pub fn succeeded(&mut self, peer: IpAddr) {
        self.failures.remove(&network(peer));
    }

    fn make_room(&mut self, now: Instant) {
        self.failures.retain(|_, entry| now.saturating_duration_since(entry.last) < FORGOTTEN_AFTER);
        if self.failures.len() >= ADDRESSES_MAX {
            let oldest = self.failures.iter().min_by_key(|(_, entry)| entry.last).map(|(&network, _)| network);
            if let Some(network) = oldest {
                self.failures.remove(&network);
            }
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn delays_double_up_to_a_bound_and_are_forgiven() {
        let mut throttle = Throttle::default();
        let start = Instant::now();
        let peer = address("192.0.2.1");
        assert_eq!(throttle.failed(peer, start), DELAY_FIRST);
        assert_eq!(throttle.failed(peer, start), DELAY_FIRST * 2);
        assert_eq!(throttle.failed(address("192.0.2.2"), start), DELAY_FIRST, "others start at the bottom");
        for _ in 0..100 {
            throttle.failed(peer, start);
        }
        assert_eq!(throttle.failed(peer, start), DELAY_MAX);
        assert_eq!(throttle.failed(peer, start + FORGOTTEN_AFTER), DELAY_FIRST);
        throttle.failed(peer, start);
        throttle.succeeded(peer);
        assert_eq!(throttle.failed(peer, start), DELAY_FIRST);
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one() {
        let mut throttle = Throttle::default();
        let now = Instant::now();
        throttle.failed(address("2001:db8::1"), now);
        assert_eq!(throttle.failed(address("2001:db8::2"), now), DELAY_FIRST * 2);
        assert_eq!(throttle.failed(address("2001:db8:0:1::2"), now), DELAY_FIRST);
    }

    #[test]
    fn memory_is_bounded() {
        let mut throttle = Throttle::default();
        let start = Instant::now();
        for (number, millis) in (0..5_000_u32).zip(0..) {
            throttle.failed(IpAddr::V4(number.into()), start + Duration::from_millis(millis));
        }
        assert_eq!(throttle.failures.len(), ADDRESSES_MAX);
        assert!(throttle.failures.contains_key(&IpAddr::V4(4_999.into())), "the latest is remembered");
    }
}
