//! What a shard calls: connection and server commands, and the tick.

use std::sync::Arc;
use std::time::{Duration, Instant};

use windrow_proto::command::{
    Command, Flags, Id, ListFilter, TABLE, lookup, write_docs, write_help, write_info, write_keys,
    write_keys_and_flags, write_list,
};
use windrow_proto::resp::{Args, ArgsBuf, Encoder};

use super::cluster_set::SeenSet;
use super::connection::{Gate, auth, effect_of, hello, ping, reset, select};
use super::latency_events::{self, Event};
use super::node::{Live, Node, Phase};
use super::refresh::{refresh, refresh_sessions};
use super::slowlog::{self, SlowEntry};
use super::{client, cluster, config, debug, failover, info, persistence, replication};
use crate::auth::{DENIED, Throttle, is_denied};
use crate::metrics::{CoreMetrics, thread_cpu_time};
use crate::net::Limits;
use crate::shard::{CoreView, Effect, Now, ServerCommands, Session};

/// How often what takes a visit to every session is brought up to date.
const SESSIONS_EVERY: Duration = Duration::from_secs(1);

/// The connection and server commands of one core.
#[derive(Debug)]
pub struct Server {
    node: Arc<Node>,
    core: usize,
    metrics: CoreMetrics,
    live: Arc<Live>,
    version: u64,
    throttle: Throttle,
    last_tick: Option<Instant>,
    last_visit: Option<Instant>,
}

impl Server {
    /// The commands of core number `core`. There must be one for each core.
    ///
    /// # Panics
    /// If the node has no such core.
    #[must_use]
    pub fn new(node: Arc<Node>, core: usize) -> Self {
        Self {
            metrics: node.core_metrics(core),
            live: node.live(),
            version: node.settings_version(),
            throttle: Throttle::default(),
            last_tick: None,
            last_visit: None,
            node,
            core,
        }
    }

    /// Takes over settings that another core has changed.
    fn renew(&mut self) {
        let version = self.node.settings_version();
        if version != self.version {
            self.version = version;
            self.live = self.node.live();
        }
    }

    fn run(
        &mut self,
        now: Now,
        session: &mut Session,
        command: &'static Command,
        args: Args<'_>,
        reply: &mut Vec<u8>,
    ) -> Effect {
        let encoder = &mut Encoder::new(reply, session.protocol);
        match command.id {
            Id::Ping => ping(args, encoder),
            Id::Echo => encoder.bulk(args.at(1)),
            Id::Select => select(session, args, encoder),
            Id::Quit => {
                encoder.ok();
                return Effect::Close;
            }
            Id::Reset => reset(self.live.password.is_some(), session, reply),
            Id::Auth => {
                let checked = auth(&mut self.gate(now), session, args, encoder);
                return self.checked(checked);
            }
            Id::Hello => {
                let checked = hello(&mut self.gate(now), session, args, reply);
                return self.checked(checked);
            }
            Id::ClientHelp | Id::CommandHelp | Id::ConfigHelp | Id::LatencyHelp | Id::MemoryHelp | Id::SlowlogHelp => {
                help(args, encoder);
            }
            Id::ClusterHelp | Id::AclHelp | Id::ModuleHelp => help(args, encoder),
            Id::Command
            | Id::CommandCount
            | Id::CommandInfo
            | Id::CommandDocs
            | Id::CommandList
            | Id::CommandGetkeys
            | Id::CommandGetkeysandflags => describe_commands(command.id, args, encoder),
            Id::Info => return info::info(&self.node, args),
            Id::Time => return persistence::time(encoder),
            Id::Lastsave => return persistence::lastsave(&self.node, now, encoder),
            Id::Save => {
                encoder.ok();
                return Effect::WhenDurable;
            }
            Id::Bgsave => return persistence::bgsave(args, encoder),
            Id::Wait => return replication::wait(&self.node.replication, args, encoder),
            Id::Waitaof => return replication::waitaof(&self.node.replication, args, encoder),
            Id::Role => replication::role(&self.node, encoder),
            Id::Replicaof | Id::Slaveof => failover::replicaof(&self.node, args, encoder),
            Id::Failover => failover::failover(&self.node, args, encoder),
            Id::Shutdown => {
                let effect = persistence::shutdown(args, encoder);
                if matches!(effect, Effect::Shutdown) {
                    tracing::info!(client = %session.peer, "a client asked for a shutdown");
                    self.node.enter(Phase::Stopping);
                }
                return effect;
            }
            Id::Debug => return debug::debug(self.live.settings.enable_debug_command, args, encoder),
            Id::Readonly => replication::read_mode(true, &mut session.access, encoder),
            Id::Readwrite => replication::read_mode(false, &mut session.access, encoder),
            _ => return self.run_subcommand(now, session, command, args, reply),
        }
        Effect::Reply
    }

    fn run_subcommand(
        &mut self,
        now: Now,
        session: &mut Session,
        command: &'static Command,
        args: Args<'_>,
        reply: &mut Vec<u8>,
    ) -> Effect {
        let node = &self.node;
        let encoder = &mut Encoder::new(reply, session.protocol);
        match command.id {
            Id::ConfigGet => config::get(node, args, encoder),
            Id::ConfigSet => config::set(node, args, encoder),
            Id::ConfigRewrite => config::rewrite(node, encoder),
            Id::ConfigResetstat => {
                node.metrics.reset_statistics();
                encoder.ok();
            }
            Id::SlowlogGet => slowlog::get(node, args, encoder),
            Id::SlowlogLen => slowlog::len(node, encoder),
            Id::SlowlogReset => slowlog::reset(node, encoder),
            Id::LatencyLatest => latency_events::latest(node, encoder),
            Id::LatencyHistory => latency_events::history(node, args, encoder),
            Id::LatencyReset => latency_events::reset(node, args, encoder),
            Id::LatencyHistogram => latency_events::histogram(node, args, encoder),
            Id::LatencyDoctor => latency_events::doctor(node, encoder),
            Id::MemoryStats => debug::memory_stats(node, encoder),
            Id::MemoryDoctor => debug::memory_doctor(node, encoder),
            Id::ModuleList => encoder.array(0),
            Id::AclWhoami => encoder.bulk(crate::auth::DEFAULT_USER),
            Id::AclUsers => debug::acl_users(encoder),
            Id::AclList => debug::acl_list(self.live.password.is_some(), encoder),
            Id::AclCat => debug::acl_cat(args, encoder),
            Id::ClientGetname
            | Id::ClientId
            | Id::ClientInfo
            | Id::ClientKill
            | Id::ClientList
            | Id::ClientNoEvict
            | Id::ClientNoTouch
            | Id::ClientDurability
            | Id::ClientReply
            | Id::ClientSetinfo
            | Id::ClientStaleness
            | Id::ClientSetname => {
                return client::execute(now, session, self.live.settings.durability, command.id, args, reply);
            }
            Id::ClusterInfo
            | Id::ClusterKeyslot
            | Id::ClusterMyid
            | Id::ClusterNodes
            | Id::ClusterShards
            | Id::ClusterSlots => {
                let board = &node.replication;
                if let (Some(members), true) = (board.members(), command.id != Id::ClusterKeyslot) {
                    let seen = SeenSet { identity: &node.identity, board, members, core: self.core };
                    seen.execute(command.id, encoder);
                    return Effect::Reply;
                }
                let ip = session.local.ip().to_canonical();
                let seen = cluster::Seen { identity: &node.identity, core: self.core, ip };
                cluster::execute(seen, command.id, args, encoder);
            }
            // A container without its subcommand does not have enough arguments, and data commands do not come here.
            _ => encoder.error_fmt(format_args!("ERR '{}' is no server command", command.name)),
        }
        Effect::Reply
    }

    fn gate(&mut self, now: Now) -> Gate<'_> {
        Gate { password: self.live.password.as_ref(), throttle: &mut self.throttle, now: now.instant }
    }

    fn checked(&mut self, checked: Result<(), super::connection::Wrong>) -> Effect {
        if checked.is_err() {
            self.metrics.counters().authentication_failures.increment();
        }
        effect_of(checked)
    }
}

/// The HELP subcommand of the container that `args` name.
fn help(args: Args<'_>, encoder: &mut Encoder<'_>) {
    if let Some(container) = lookup(args.at(0)) {
        write_help(container, encoder);
    }
}

fn describe_commands(id: Id, args: Args<'_>, encoder: &mut Encoder<'_>) {
    match id {
        Id::Command | Id::CommandInfo => write_info(args.from(2), encoder),
        Id::CommandDocs => write_docs(args.from(2), encoder),
        Id::CommandCount => encoder.count(TABLE.len()),
        Id::CommandList => match ListFilter::parse(args) {
            Some(filter) => write_list(filter, encoder),
            None => encoder.error("ERR syntax error"),
        },
        _ => {
            let mut line = ArgsBuf::new();
            args.from(2).for_each(|arg| line.push(arg));
            if id == Id::CommandGetkeys {
                write_keys(line.args(), encoder);
            } else {
                write_keys_and_flags(line.args(), encoder);
            }
        }
    }
}

impl ServerCommands for Server {
    fn limits(&self) -> Limits {
        self.node.limits(self.core)
    }

    fn metrics(&mut self) -> &mut CoreMetrics {
        &mut self.metrics
    }

    fn connected(&mut self, session: &mut Session) -> Result<(), &'static [u8]> {
        self.renew();
        let password_set = self.live.password.is_some();
        if is_denied(session.peer.ip(), self.live.settings.protected_mode, password_set) {
            return Err(DENIED);
        }
        session.authenticated = !password_set;
        Ok(())
    }

    fn disconnected(&mut self, _session: &Session) {}

    fn execute(
        &mut self,
        now: Now,
        session: &mut Session,
        command: &'static Command,
        args: Args<'_>,
        reply: &mut Vec<u8>,
    ) -> Effect {
        self.renew();
        session.last_command = command.name;
        let effect = self.run(now, session, command, args, reply);
        // What CONFIG SET has changed holds for the next command.
        self.renew();
        effect
    }

    fn slow_threshold(&self) -> Option<Duration> {
        let settings = &self.live.settings;
        [settings.slowlog_log_slower_than, settings.latency_monitor_threshold].into_iter().flatten().min()
    }

    fn slow(&mut self, now: Now, session: &Session, args: Args<'_>, took: Duration) {
        let settings = &self.live.settings;
        if settings.slowlog_log_slower_than.is_some_and(|threshold| took >= threshold)
            && let Some((mut log, id)) = self.node.slow_log(self.core)
        {
            log.push(SlowEntry::new(id, now.unix, took, session, args), settings.slowlog_max_len);
        }
        if settings.latency_monitor_threshold.is_some_and(|threshold| took >= threshold)
            && let Some(mut events) = self.node.latency_events_of(self.core)
        {
            let fast = lookup(args.at(0)).is_some_and(|command| command.flags.has(Flags::FAST));
            events.add(if fast { Event::FastCommand } else { Event::Command }, now.unix, took);
        }
    }

    fn tick(&mut self, now: Now, core: &mut dyn CoreView) {
        self.renew();
        if let Some(last) = self.last_tick.replace(now.instant) {
            self.metrics.sample_rates(now.instant.saturating_duration_since(last));
        }
        self.metrics.publish();
        refresh(&self.node, core);
        let uptime = u64::try_from(self.node.metrics.uptime().as_millis()).unwrap_or(u64::MAX);
        self.metrics.counters().heartbeat_ms.set(uptime);
        let flush = self.metrics.take_flush_max();
        if self.live.settings.latency_monitor_threshold.is_some_and(|threshold| flush >= threshold)
            && let Some(mut events) = self.node.latency_events_of(self.core)
        {
            events.add(Event::Flush, now.unix, flush);
        }
        if self.last_visit.is_none_or(|last| now.instant.saturating_duration_since(last) >= SESSIONS_EVERY) {
            self.last_visit = Some(now.instant);
            refresh_sessions(&self.node, core);
            let (user, system) = thread_cpu_time();
            self.metrics.cpu_time(user, system);
        }
    }
}
