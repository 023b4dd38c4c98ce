use super::*;

const CLUSTER: ClusterId = ClusterId([1; 16]);

fn own(replica: u64, peer: u64) -> Own {
    Own {
        replica: ReplicaId::new(replica),
        cluster: CLUSTER,
        mode: Mode::SharedNothing,
        layout: Layout { partitions: 4, cores: 1 },
        secret: Secret::new(b"0123456789abcdef"),
        peers: vec![ReplicaId::new(peer)],
    }
}

/// Passes frames to and fro until both ends have come to something; returns what.
fn meet(one: &Own, two: &Own) -> (Progress, Progress) {
    let (mut connecting, opening) = Handshaking::connecting(one, ReplicaId::new(2), [3; NONCE_LEN]);
    let mut accepting = Handshaking::accepting([4; NONCE_LEN]);
    let (mut of_one, mut to_two) = (None, Some(opening));
    loop {
        let Some(frame) = to_two.take() else { panic!("one has nothing to say: {of_one:?}") };
        let of_two = accepting.handle(two, &frame, &body_of(&frame));
        let to_one = match &of_two {
            Progress::Reply(reply) | Progress::Known(_, Some(reply)) | Progress::Failed(_, Some(reply)) => *reply,
            Progress::Known(_, None) | Progress::Failed(_, None) => return (of_one.expect("it was first"), of_two),
        };
        let progress = connecting.handle(one, &to_one, &body_of(&to_one));
        match progress {
            Progress::Reply(reply) => to_two = Some(reply),
            Progress::Failed(_, Some(reply)) if !matches!(of_two, Progress::Failed(..)) => {
                of_one = Some(progress);
                to_two = Some(reply);
            }
            done => return (done, of_two),
        }
    }
}

#[test]
fn two_that_share_everything_know_each_other() {
    let (one, two) = meet(&own(1, 2), &own(2, 1));
    assert_eq!(one, Progress::Known(ReplicaId::new(2), None));
    assert!(matches!(two, Progress::Known(peer, Some(Handshake::Welcome(_))) if peer == ReplicaId::new(1)));
}

#[test]
fn whatever_differs_both_know_it() {
    type Change = fn(&mut Own);
    let cases: [(Change, Rejection); 5] = [
        (|two| two.secret = Secret::new(b"0123456789abcdeX"), Rejection::Proof),
        (|two| two.cluster = ClusterId([2; 16]), Rejection::Cluster),
        (|two| two.mode = Mode::SharedMemory, Rejection::Mode),
        (|two| two.peers.clear(), Rejection::Stranger),
        // Only the lower one connects.
        (|two| two.replica = ReplicaId::new(0), Rejection::Stranger),
    ];
    for (change, why) in cases {
        let mut two = own(2, 1);
        change(&mut two);
        let (of_one, of_two) = meet(&own(1, 2), &two);
        assert_eq!(of_one, Progress::Failed(HandshakeError::RejectedByPeer(why), None));
        assert_eq!(of_two, reject(why));
    }
}

#[test]
fn the_one_that_connects_checks_the_other_one_too() {
    let mut two = own(3, 1);
    let (of_one, of_two) = meet(&own(1, 2), &two);
    let error = HandshakeError::OtherReplica { expected: ReplicaId::new(2), found: ReplicaId::new(3) };
    assert_eq!(of_one, Progress::Failed(error, Some(Handshake::Rejected(Rejection::Stranger))));
    assert_eq!(of_two, Progress::Failed(HandshakeError::RejectedByPeer(Rejection::Stranger), None));

    // An impostor that knows no secret, and says welcome all the same.
    two = own(2, 1);
    let one = own(1, 2);
    let (mut connecting, opening) = Handshaking::connecting(&one, ReplicaId::new(2), [3; NONCE_LEN]);
    let mut accepting = Handshaking::accepting([4; NONCE_LEN]);
    let Progress::Reply(challenge) = accepting.handle(&two, &opening, &body_of(&opening)) else { panic!() };
    let Progress::Reply(Handshake::Proof { proof }) = connecting.handle(&one, &challenge, &body_of(&challenge)) else {
        panic!()
    };
    let played_back = Handshake::Welcome(Welcome { layout: Layout { partitions: 4, cores: 1 }, proof });
    assert_eq!(connecting.handle(&one, &played_back, &body_of(&played_back)), reject(Rejection::Proof));
}

#[test]
fn frames_out_of_turn_end_it() {
    let one = own(1, 2);
    let proof = Handshake::Proof { proof: [0; 32] };
    let failed = Progress::Failed(HandshakeError::OutOfTurn, None);
    assert_eq!(Handshaking::accepting([0; NONCE_LEN]).handle(&one, &proof, &body_of(&proof)), failed);
    let (mut connecting, opening) = Handshaking::connecting(&one, ReplicaId::new(2), [3; NONCE_LEN]);
    assert_eq!(connecting.handle(&one, &opening, &body_of(&opening)), failed);
    assert_eq!(connecting.handle(&one, &opening, &body_of(&opening)), failed, "it is over");
}

/// Another version is refused at both ends, and both say which versions there are and what to do.
#[test]
fn another_version_is_refused_by_name() {
    let (one, two) = (own(1, 2), own(2, 1));
    let (_, opening) = Handshaking::connecting(&one, ReplicaId::new(2), [3; NONCE_LEN]);
    let Handshake::Opening(newer) = opening else { panic!() };
    let newer = Handshake::Opening(Opening { version_min: 7, version_max: 9, ..newer });
    let answer = Handshake::Rejected(Rejection::Version(Versions::OWN));
    let Progress::Failed(error, said) = Handshaking::accepting([4; NONCE_LEN]).handle(&two, &newer, &body_of(&newer))
    else {
        panic!()
    };
    assert_eq!(said, Some(answer));
    let own = format!("speaks {} of", Versions::OWN);
    let names = |error: &HandshakeError, parts: &[&str]| {
        let text = error.to_string();
        assert!(parts.iter().all(|part| text.contains(part)) && text.contains("the same version of Windrow"), "{text}");
    };
    names(&error, &[&own, "versions 7 to 9"]);

    // The one that is refused, by a node of this version or of the first, which did not say what it spoke.
    for (other, name) in [(Versions { min: 7, max: 7 }, "version 7"), (Versions { min: 0, max: 0 }, "version 1")] {
        let (mut connecting, _) = Handshaking::connecting(&one, ReplicaId::new(2), [3; NONCE_LEN]);
        let no = Handshake::Rejected(Rejection::Version(other));
        let Progress::Failed(error, None) = connecting.handle(&one, &no, &body_of(&no)) else { panic!() };
        names(&error, &[&own, name]);
    }

    // One that answers with a version that was not asked for.
    let (mut connecting, opening) = Handshaking::connecting(&one, ReplicaId::new(2), [3; NONCE_LEN]);
    let Progress::Reply(Handshake::Challenge(challenge)) =
        Handshaking::accepting([4; NONCE_LEN]).handle(&two, &opening, &body_of(&opening))
    else {
        panic!()
    };
    let old = Handshake::Challenge(Challenge { version: 1, ..challenge });
    let Progress::Failed(error, said) = connecting.handle(&one, &old, &body_of(&old)) else { panic!() };
    assert_eq!(said, Some(answer));
    names(&error, &[&own, "version 1"]);
}

/// Nodes of one set have the same number of cores; where they do not, both say what each has and what to do.
#[test]
fn another_number_of_cores_is_refused_with_the_remedy() {
    let mut two = own(2, 1);
    two.layout.cores = 2;
    let (of_one, _) = meet(&own(1, 2), &two);
    let Progress::Failed(error, Some(Handshake::Rejected(said))) = of_one else { panic!("{of_one:?}") };
    for error in [error, HandshakeError::by_peer(&two, said)] {
        let text = error.to_string();
        for part in ["4 partitions on 1 core", "4 partitions on 2 cores", "same number of cores (`cores`)"] {
            assert!(text.contains(part), "{text}");
        }
    }
}

#[test]
fn every_rejection_says_what_to_do() {
    let version = Rejection::Version(Versions::OWN);
    for rejection in [version, Rejection::Mode, Rejection::Features, Rejection::Cluster, Rejection::Proof] {
        let said = HandshakeError::RejectedByPeer(rejection).to_string();
        assert!(said.contains("on both nodes") || said.contains("copy"), "{said}");
    }
}
