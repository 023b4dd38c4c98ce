//! MULTI, EXEC, DISCARD, WATCH and UNWATCH, as a node does them.

use windrow_core::types::Lsn;
use windrow_proto::command::{Command, resolve};
use windrow_proto::data::{
    CROSS_SLOT, Outcome, Route, Unit, execute_transaction, is_allowed_in_transaction, route, version,
};

use super::World;
use super::connection::{Connection, Reply, Watched, buffered};
use super::execute::{Executed, Written, pong, refusal, reply_now, shown};
use crate::client::Request;
use crate::model::{Expected, View};
use crate::mutation::Mutation;

impl World {
    /// Executes a command about transactions, or queues one. `None`: it is neither. `Some(false)`: try again later.
    pub(super) fn perform_transaction(&mut self, id: u64, name: &[u8], request: &Request) -> Option<bool> {
        let connection = self.connection(id);
        match name {
            b"multi" => {
                connection.queued = Some(Vec::new());
                connection.broken = false;
                self.answer(id, request, reply_now(b"+OK\r\n"));
            }
            b"discard" => {
                connection.queued = None;
                connection.watched.clear();
                self.answer(id, request, reply_now(b"+OK\r\n"));
            }
            b"unwatch" => {
                connection.watched.clear();
                self.answer(id, request, reply_now(b"+OK\r\n"));
            }
            b"watch" => self.watch(id, request),
            b"exec" => return Some(self.exec(id, request)),
            _ => {
                let queued = connection.queued.as_mut()?;
                let args = buffered(request);
                let Ok(command) = resolve(args.args()) else {
                    connection.broken = true;
                    let reply = refusal(request);
                    self.answer(id, request, reply);
                    return Some(true);
                };
                assert!(is_allowed_in_transaction(command), "clients queue what may be queued");
                queued.push(request.clone());
                self.answer(id, request, reply_now(b"+QUEUED\r\n"));
            }
        }
        Some(true)
    }

    fn connection(&mut self, id: u64) -> &mut Connection {
        self.connections.get_mut(&id).expect("it asked")
    }

    fn route_of(&self, request: &Request) -> Route {
        let args = buffered(request);
        let command = resolve(args.args()).expect("clients queue what there is");
        route(command, args.args(), self.map(), Unit::Partition)
    }

    fn watch(&mut self, id: u64, request: &Request) {
        let Route::One { partition, .. } = self.route_of(request) else {
            self.answer(id, request, reply_now(format!("-{CROSS_SLOT}\r\n").as_bytes()));
            return;
        };
        let at = usize::from(partition.get());
        self.begin_command(at);
        let mut reply = reply_now(b"+OK\r\n");
        for key in &request[1..] {
            let now = self.ctx.now;
            let replica = &mut self.replicas[at];
            let (version, wait) = version(replica.engine(), key, now);
            let known = replica.state.version(key);
            reply.waits.push((at, wait));
            self.connection(id).watched.push(Watched { key: key.clone(), version, known });
        }
        self.answer(id, request, reply);
    }

    fn exec(&mut self, id: u64, request: &Request) -> bool {
        let connection = self.connection(id);
        let queued = connection.queued.clone().expect("clients begin what they end");
        if connection.broken {
            self.end_transaction(id);
            self.answer(id, request, reply_now(b"-EXECABORT Transaction discarded because of previous errors.\r\n"));
            return true;
        }
        let watched: Vec<Vec<u8>> = connection.watched.iter().map(|watched| watched.key.clone()).collect();
        let watch = |key: &Vec<u8>| vec![b"WATCH".to_vec(), key.clone()];
        let all = queued.iter().cloned().chain(watched.iter().map(watch));
        // A command that would be split alone is still one record here.
        let together =
            all.map(|one| self.route_of(&one)).fold(Route::AnyNode, |all, one| all.and(one, Unit::Partition));
        let at = match together {
            Route::One { partition, .. } => usize::from(partition.get()),
            Route::AnyNode => 0,
            _ => {
                self.end_transaction(id);
                self.answer(id, request, reply_now(format!("-{CROSS_SLOT}\r\n").as_bytes()));
                return true;
            }
        };
        let Some(done) = self.execute_queued(id, at, &queued) else { return false };
        self.end_transaction(id);
        let reply = Reply { bytes: done.bytes, waits: vec![(at, done.wait)], depends_on: vec![(at, done.depends_on)] };
        self.answer(id, request, reply);
        self.pump(at);
        true
    }

    fn end_transaction(&mut self, id: u64) {
        let connection = self.connection(id);
        connection.queued = None;
        connection.watched.clear();
    }

    fn execute_queued(&mut self, id: u64, at: usize, queued: &[Request]) -> Option<Executed> {
        self.begin_command(at);
        let buffers: Vec<_> = queued.iter().map(buffered).collect();
        let commands: Vec<(&'static Command, _)> =
            buffers.iter().map(|args| (resolve(args.args()).expect("queued"), args.args())).collect();
        let watched = &self.connections[&id].watched;
        let mut out = Vec::new();
        let (ctx, replica) = (&mut self.ctx, &mut self.replicas[at]);
        let engine = replica.engine();
        let watches = watched.iter().map(|watched| (&watched.key[..], watched.version));
        let mut other = |command: &'static Command,
                         _: windrow_proto::resp::Args<'_>,
                         encoder: &mut windrow_proto::resp::Encoder<'_>| {
            assert_eq!(command.name, "ping", "data is executed by the partition");
            pong(encoder);
        };
        let outcome = if self.mutation == Some(Mutation::SplitTransactions) {
            let mut wait = Lsn::ZERO;
            out.extend_from_slice(format!("*{}\r\n", commands.len()).as_bytes());
            for (command, args) in commands {
                if let Outcome::Done { wait: one } = windrow_proto::data::execute(ctx, engine, command, args, &mut out)
                {
                    wait = wait.max(one);
                }
            }
            Outcome::Done { wait }
        } else {
            execute_transaction(ctx, engine, watches, commands.into_iter(), &mut other, &mut out)
        };
        let written = self.end_command(at);
        let Outcome::Done { wait } = outcome else {
            assert!(outcome == Outcome::Retry && out.is_empty() && written.is_none(), "a transaction is tried again");
            return None;
        };
        let depends_on = self.check_transaction(id, at, queued, (&out, wait), &written);
        let depends_on = self.apply(at, written, depends_on);
        self.check_wait(at, wait, depends_on, &vec![b"EXEC".to_vec()]);
        Some(Executed { bytes: out, wait, depends_on })
    }

    /// Holds a transaction to the model. Returns what its reply depends on.
    fn check_transaction(
        &self,
        id: u64,
        at: usize,
        queued: &[Request],
        (reply, wait): (&[u8], Lsn),
        written: &Option<Written>,
    ) -> Lsn {
        let state = &self.replicas[at].state;
        let watched = &self.connections[&id].watched;
        let resp3 = self.swarm.resp3;
        if let Some(changed) = watched.iter().find(|watched| state.version(&watched.key) != watched.known) {
            assert!(reply == View::null_array(resp3), "{} was watched and has changed", changed.key.escape_ascii());
            assert!(written.is_none(), "a transaction that is off writes nothing");
            return state.depends_on(&changed.key);
        }
        let mut view = View::new(state, self.ctx.now.get(), resp3);
        let mut expected = Some(Vec::new());
        for request in queued {
            match view.run(request) {
                Expected::Bytes(bytes) => expected.iter_mut().for_each(|all| all.push(bytes.clone())),
                // Which one it is depends on the engine.
                Expected::Subsequence { .. } => expected = None,
                other => panic!("{request:?} is {other:?} in a transaction"),
            }
        }
        if self.refused(at, reply, written, &view) {
            return Lsn::ZERO;
        }
        if let Some(expected) = expected.map(|all| View::array(&all)) {
            assert!(
                reply == expected,
                "{:?}: {} instead of {}",
                queued.iter().map(shown).collect::<Vec<_>>(),
                reply.escape_ascii(),
                expected.escape_ascii()
            );
        }
        self.check_settled(at, wait, view.expired_at);
        let ops = written.as_ref().map_or(&[][..], |written| &written.ops);
        view.agrees_with(ops).unwrap_or_else(|problem| panic!("a transaction: {problem}"));
        view.depends_on
    }
}
