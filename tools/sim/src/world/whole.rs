//! Commands on several partitions: taken apart, executed one by one, put together.

use std::collections::VecDeque;

use windrow_core::types::PartitionId;
use windrow_proto::command::resolve;
use windrow_proto::data::{Gather, Part, Route, Unit, route, split};

use super::World;
use super::connection::{Parts, Reply, buffered};
use crate::client::Request;

impl World {
    /// Begins a command that several partitions take part in.
    pub(super) fn begin_parts(&mut self, id: u64, request: Request) -> bool {
        let args = buffered(&request);
        let command = resolve(args.args()).expect("resolved before");
        let parts: VecDeque<Part> = match route(command, args.args(), self.map(), Unit::Partition) {
            Route::Split => split(args.args(), self.map()).into(),
            _ => (0..self.swarm.partitions)
                .map(|number| Part { partition: PartitionId::new(number), args: args.clone(), positions: Vec::new() })
                .collect(),
        };
        let draw = self.rng.next();
        let gather = Gather::new(command, args.args(), self.ctx.protocol, draw, self.ctx.reply_len_max)
            .expect("such a command is gathered");
        let connection = self.connections.get_mut(&id).expect("it asked");
        connection.parts = Some(Parts { args: request, gather, parts, waits: Vec::new(), depends_on: Vec::new() });
        self.perform_part(id)
    }

    /// Executes the next part. `false`: the log is not ready, try again later.
    pub(super) fn perform_part(&mut self, id: u64) -> bool {
        let mut parts = self.connections.get_mut(&id).and_then(|one| one.parts.take()).expect("checked by the caller");
        if let Some(part) = parts.parts.pop_front() {
            let at = usize::from(part.partition.get());
            let request: Request = part.args.args().from(0).map(<[u8]>::to_vec).collect();
            let done = self.execute_on(at, &request);
            let is_done = done.is_some();
            match done {
                Some(done) => {
                    parts.gather.add(&part.positions, &done.bytes);
                    parts.waits.push((at, done.wait));
                    parts.depends_on.push((at, done.depends_on));
                }
                None => parts.parts.push_front(part),
            }
            self.connections.get_mut(&id).expect("it asked").parts = Some(parts);
            self.pump(at);
            return is_done;
        }
        let mut bytes = Vec::new();
        parts.gather.finish(&mut bytes);
        self.check_gathered(&parts.args, &bytes);
        let reply = Reply { bytes, waits: parts.waits, depends_on: parts.depends_on };
        self.answer(id, &parts.args, reply);
        true
    }

    /// Each part has been held to the model; the whole must have the form that the command has.
    fn check_gathered(&self, request: &Request, bytes: &[u8]) {
        let (item, rest) = crate::model::parse_reply(bytes).expect("a whole reply");
        assert!(rest.is_empty(), "one reply is one reply");
        if request[0].eq_ignore_ascii_case(b"mget") && !bytes.starts_with(b"-") {
            let crate::model::Item::Array(items) = item else { panic!("MGET answers with an array") };
            assert_eq!(items.len(), request.len() - 1, "MGET answers for each key");
        }
    }
}
