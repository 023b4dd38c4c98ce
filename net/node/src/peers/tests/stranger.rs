//! Whoever connects to a node with a plain socket.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use windrow_core::replication::ReplicaId;
use windrow_proto::replication::{
    FRAME_HEADER_LEN, Frame, Handshake, Mode, Opening, Phase, Rejection, VERSION, decode, encode_handshake,
};

use super::super::{Secret, Side};
use super::nodes::{CLUSTER, GUARD, Node, SECRET};

/// A plain socket to a node.
pub(super) struct Stranger {
    pub(super) socket: TcpStream,
    received: Vec<u8>,
}

/// The opening of replica 1 as it should be.
pub(super) fn opening(nonce: u8) -> Opening {
    Opening {
        version_min: VERSION,
        version_max: VERSION,
        mode: Mode::SharedNothing,
        features: 0,
        features_required: 0,
        cluster: CLUSTER,
        replica: ReplicaId::new(1),
        nonce: [nonce; 32],
    }
}

pub(super) fn framed(handshake: &Handshake) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_handshake(handshake, &mut frame);
    frame
}

impl Stranger {
    pub(super) fn connect(node: &mut Node) -> Self {
        let socket = TcpStream::connect(node.transport.address().unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.set_nodelay(true).unwrap();
        node.turn();
        Self { socket, received: Vec::new() }
    }

    pub(super) fn say(&mut self, handshake: &Handshake) {
        self.socket.write_all(&framed(handshake)).unwrap();
    }

    /// The next frame of the handshake and its body; `None` if the node has closed the connection.
    pub(super) fn hear(&mut self, node: &mut Node) -> Option<(Handshake, Vec<u8>)> {
        let since = Instant::now();
        loop {
            if let Some((frame, len)) = decode(&self.received, Phase::Handshake).unwrap() {
                let body = self.received[FRAME_HEADER_LEN..len].to_vec();
                self.received.drain(..len);
                let Frame::Handshake(handshake) = frame else { panic!("{frame:?} in a handshake") };
                return Some((handshake, body));
            }
            node.turn();
            let mut bytes = [0; 4096];
            match self.socket.read(&mut bytes) {
                Ok(0) => return None,
                Ok(len) => self.received.extend_from_slice(&bytes[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
            assert!(since.elapsed() < GUARD, "no answer and no end");
        }
    }

    /// Waits until the node has closed the connection, whatever it says before.
    pub(super) fn is_closed(&mut self, node: &mut Node) {
        let since = Instant::now();
        loop {
            node.turn();
            let mut bytes = [0; 4096];
            match self.socket.read(&mut bytes) {
                Ok(0) => return,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
                Err(error) if error.kind() != ErrorKind::WouldBlock => panic!("{error}"),
                Ok(_) | Err(_) => assert!(since.elapsed() < GUARD, "it is never closed"),
            }
        }
    }

    pub(super) fn is_rejected(&mut self, node: &mut Node, why: Rejection) {
        let heard = self.hear(node).map(|(handshake, _)| handshake);
        assert_eq!(heard, Some(Handshake::Rejected(why)));
        assert_eq!(self.hear(node), None, "and closed");
    }

    /// Says the opening and returns the proof that the node wants to see.
    pub(super) fn prove(&mut self, node: &mut Node, opening: Opening) -> [u8; 32] {
        self.say(&Handshake::Opening(opening));
        let Some((Handshake::Challenge(_), challenge)) = self.hear(node) else { panic!("no challenge") };
        let opening = framed(&Handshake::Opening(opening)).split_off(FRAME_HEADER_LEN);
        Secret::new(SECRET).prove(Side::Connecting, &opening, &challenge)
    }

    /// Connects as replica 1, which knows the secret.
    pub(super) fn welcome(node: &mut Node) -> Self {
        let mut peer = Self::connect(node);
        let proof = peer.prove(node, opening(1));
        peer.say(&Handshake::Proof { proof });
        let Some((Handshake::Welcome(_), _)) = peer.hear(node) else { panic!("not welcome") };
        peer
    }
}
