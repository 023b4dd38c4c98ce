//! Who has to go where too many wait to prove who they are.
//!
//! A node of the set proves itself within a few milliseconds, so whoever has waited longest is the least likely to be
//! one. Nobody crowds out others from one address: each has a share of its own, and where all places are taken, the
//! address with the most connections gives one back.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use super::limits::{STRANGERS_MAX, STRANGERS_PER_ADDRESS_MAX};
use crate::ring::ConnId;

/// A connection whose other end has not proved who it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Waiting {
    pub(super) id: ConnId,
    pub(super) address: IpAddr,
    pub(super) since: Instant,
}

/// The one of those that wait that has to go so that another one from `newcomer` can wait.
pub(super) fn to_evict(waiting: &[Waiting], newcomer: IpAddr) -> Option<ConnId> {
    let count = |from: IpAddr| waiting.iter().filter(|one| source(one.address) == source(from)).count();
    let oldest = |most: usize| {
        let of_them = waiting.iter().filter(|one| count(one.address) >= most);
        of_them.min_by_key(|one| one.since)
    };
    if count(newcomer) >= STRANGERS_PER_ADDRESS_MAX {
        let own = waiting.iter().filter(|one| source(one.address) == source(newcomer));
        return own.min_by_key(|one| one.since).map(|one| one.id);
    }
    if waiting.len() < STRANGERS_MAX {
        return None;
    }
    let most = waiting.iter().map(|one| count(one.address)).max()?;
    oldest(most).map(|one| one.id)
}

/// What one machine has at its disposal: an IPv4 address, or a network of 64 bits.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = u128::from(address);
            IpAddr::V6(Ipv6Addr::from(bits >> 64 << 64))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn waiting(addresses: &[&str]) -> Vec<Waiting> {
        let start = Instant::now();
        let one = |(number, address): (u32, &&str)| Waiting {
            id: ConnId::new(number, 0),
            address: address.parse().unwrap(),
            since: start + Duration::from_millis(number.into()),
        };
        (0..).zip(addresses).map(one).collect()
    }

    fn evicted(waiting: &[Waiting], newcomer: &str) -> Option<u32> {
        to_evict(waiting, newcomer.parse().unwrap()).map(ConnId::index)
    }

    #[test]
    fn an_address_crowds_out_only_itself() {
        let mut addresses = vec!["10.0.0.1"];
        addresses.extend(["10.0.0.2"; STRANGERS_PER_ADDRESS_MAX]);
        let waiting = waiting(&addresses);
        assert_eq!(evicted(&waiting, "10.0.0.2"), Some(1), "its own oldest one");
        assert_eq!(evicted(&waiting, "::ffff:10.0.0.2"), Some(1), "the same address in other clothes");
        assert_eq!(evicted(&waiting, "10.0.0.1"), None);
        assert_eq!(evicted(&waiting, "10.0.0.3"), None);
    }

    #[test]
    fn where_all_places_are_taken_the_address_with_the_most_gives_one_back() {
        let many: Vec<String> = (0..STRANGERS_MAX / 2).map(|number| format!("10.0.{number}.1")).collect();
        let mut addresses: Vec<&str> = many.iter().map(String::as_str).collect();
        addresses.extend(many.iter().map(String::as_str));
        let mut twice = waiting(&addresses);
        assert_eq!(evicted(&twice, "10.1.1.1"), Some(0));
        // Whoever has one only is left alone.
        twice[0].address = "10.9.9.9".parse().unwrap();
        assert_eq!(evicted(&twice, "10.1.1.1"), Some(1));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let all: Vec<String> = (0..STRANGERS_PER_ADDRESS_MAX).map(|number| format!("2001:db8::{number}")).collect();
        let waiting = waiting(&all.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(evicted(&waiting, "2001:db8::ffff:1"), Some(0));
        assert_eq!(evicted(&waiting, "2001:db8:0:1::1"), None);
    }
}
