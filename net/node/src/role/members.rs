//! Who belongs to a replicated set, and where each is reached.

use std::fmt;
use std::str::FromStr;

use windrow_core::replication::ReplicaId;

use super::Address;

/// One node of a replicated set, as the setting `peers` names it: `ID@HOST:PEER-PORT/CLIENT-PORT`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Which replica it is.
    pub replica: ReplicaId,
    /// Its name or address, for peers and clients.
    pub host: String,
    /// Where its first core listens for peers; core number n is at the port that is n above it.
    pub peer_port: u16,
    /// Where its first core listens for clients; core number n is at the port that is n above it.
    pub client_port: u16,
}

impl Member {
    /// Where clients reach a core of it.
    #[must_use]
    pub fn client_address(&self, core: usize) -> Address {
        let core = u16::try_from(core).unwrap_or(u16::MAX);
        Address { host: self.host.clone(), port: self.client_port.saturating_add(core) }
    }
}

/// Reads a replica's number: 16 hexadecimal digits.
#[must_use]
pub fn replica_from_hex(text: &str) -> Option<ReplicaId> {
    let is_plain = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_plain.then(|| u64::from_str_radix(text, 16).ok()).flatten().map(ReplicaId::new)
}

/// It is not `ID@HOST:PEER-PORT/CLIENT-PORT`.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
#[error("not of the form ID@HOST:PEER-PORT/CLIENT-PORT")]
pub struct MemberError;

impl FromStr for Member {
    type Err = MemberError;

    fn from_str(text: &str) -> Result<Self, MemberError> {
        let (id, rest) = text.split_once('@').ok_or(MemberError)?;
        let (address, client_port) = rest.rsplit_once('/').ok_or(MemberError)?;
        let (host, peer_port) = address.rsplit_once(':').ok_or(MemberError)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = |text: &str| text.parse().ok().filter(|&port| port > 0).ok_or(MemberError);
        let is_name = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
        Ok(Self {
            replica: replica_from_hex(id).ok_or(MemberError)?,
            host: is_name.then(|| host.to_owned()).ok_or(MemberError)?,
            peer_port: port(peer_port)?,
            client_port: port(client_port)?,
        })
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { replica, host, peer_port, client_port } = self;
        if host.contains(':') {
            write!(f, "{replica}@[{host}]:{peer_port}/{client_port}")
        } else {
            write!(f, "{replica}@{host}:{peer_port}/{client_port}")
        }
    }
}

/// All nodes of a replicated set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Members {
    /// This one.
    pub own: ReplicaId,
    /// All of them, this one included, as configured.
    pub all: Vec<Member>,
    /// Those whose flushes do not count.
    pub learners: Vec<ReplicaId>,
}

impl Members {
    /// The node that is this replica.
    #[must_use]
    pub fn find(&self, replica: ReplicaId) -> Option<&Member> {
        self.all.iter().find(|member| member.replica == replica)
    }

    /// The node one of whose cores clients reach there.
    #[must_use]
    pub fn at_client_address(&self, host: &str, port: u16, cores: usize) -> Option<&Member> {
        let ports =
            |member: &Member| port.checked_sub(member.client_port).is_some_and(|above| usize::from(above) < cores);
        self.all.iter().find(|member| member.host.eq_ignore_ascii_case(host) && ports(member))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_read_and_written() {
        let text = "00000000000000ab@10.0.0.1:7400/7000";
        let member: Member = text.parse().unwrap();
        assert_eq!(member.replica, ReplicaId::new(0xab));
        assert_eq!((member.host.as_str(), member.peer_port, member.client_port), ("10.0.0.1", 7_400, 7_000));
        assert_eq!(member.to_string(), text);
        let six = "00000000000000ab@[::1]:7400/7000";
        assert_eq!(six.parse::<Member>().unwrap().to_string(), six);
        assert_eq!(member.client_address(2), Address { host: "10.0.0.1".to_owned(), port: 7_002 });
        for bad in [
            "",
            "ab@10.0.0.1:7400/7000",
            "00000000000000ab@10.0.0.1:7400",
            "00000000000000ab@10.0.0.1/7000",
            "00000000000000ab@:7400/7000",
            "00000000000000ab@h:0/7000",
            "00000000000000ab@h:7400/70000",
            "00000000000000ag@h:7400/7000",
            "00000000000000ab@h h:7400/7000",
        ] {
            assert_eq!(bad.parse::<Member>(), Err(MemberError), "{bad}");
        }
    }

    #[test]
    fn a_member_is_found_by_where_clients_reach_any_of_its_cores() {
        let all: Vec<Member> = ["00000000000000ab@a:7400/7000", "00000000000000cd@b:7400/7000"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let members = Members { own: ReplicaId::new(0xab), all, learners: Vec::new() };
        let at = |host, port| members.at_client_address(host, port, 2).map(|member| member.replica.get());
        assert_eq!(
            (at("a", 7_000), at("B", 7_001), at("b", 7_002), at("c", 7_000)),
            (Some(0xab), Some(0xcd), None, None)
        );
        assert_eq!(members.find(ReplicaId::new(0xcd)).unwrap().host, "b");
    }
}
