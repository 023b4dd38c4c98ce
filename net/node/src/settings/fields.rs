//! The table of all settings.

use std::path::PathBuf;
use std::time::Duration;

use windrow_core::replication::CommitRule;
use windrow_core::types::limits::{PARTITIONS_MAX, SEGMENT_LEN_ALIGN, SEGMENT_LEN_MAX, SEGMENT_LEN_MIN};

use super::kind::{Kind, Value, show_size, show_time};
use super::{Durability, LogFormat, LogLevel, Secret, Settings};
use crate::auth::PasswordHash;
use crate::net::limits::TAIL_MEMORY_MAX;

/// One setting: its name is the key in the settings file, the flag `--name` and the variable `WINDROW_NAME`.
#[derive(Debug)]
pub struct Field {
    /// Its name, words joined by dashes.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub help: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// Whether `CONFIG SET` may change it while the node runs.
    pub changes_live: bool,
    /// Writes the setting's value, in the form that it is read in. Empty where there is none.
    pub get: fn(&Settings) -> String,
    /// Takes a value that `kind` has read; `None` where this setting cannot hold it.
    pub(super) set: fn(&mut Settings, &Value) -> Option<()>,
}

impl Field {
    /// The variable of the environment that sets it.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("WINDROW_{}", self.name.replace('-', "_").to_ascii_uppercase())
    }

    /// Whether its value must not be shown.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.kind == Kind::Secret
    }
}

/// The setting called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.name == name)
}

const FILL_MODES: &[&str] = &["direct", "4k", "16k", "64k", "1m", "allocate"];
const DURABILITIES: &[(&str, Durability)] = &[("commit", Durability::Commit), ("memory", Durability::Memory)];
const COMMIT_RULES: &[(&str, CommitRule)] =
    &[("leader", CommitRule::Leader), ("quorum", CommitRule::Quorum), ("all", CommitRule::All)];
const LOG_FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
const LOG_LEVELS: &[(&str, LogLevel)] = &[
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

fn word_of<T: PartialEq>(table: &[(&str, T)], value: &T) -> String {
    table.iter().find(|(_, other)| other == value).map_or_else(String::new, |(word, _)| (*word).to_owned())
}

fn from_word<T: Copy>(table: &[(&str, T)], value: &Value) -> Option<T> {
    let text = value.text()?;
    table.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
}

fn list_of<T: ToString>(list: &[T]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn yes_no(on: bool) -> String {
    if on { "yes" } else { "no" }.to_owned()
}

fn size_of(len: usize) -> String {
    u64::try_from(len).map_or_else(|_| len.to_string(), show_size)
}

fn seconds(time: Option<Duration>) -> String {
    time.map_or(0, |time| time.as_secs()).to_string()
}

/// A password, unless it looks like the stored form of one and is none.
pub(super) fn password(text: &str) -> Option<Secret> {
    // The salt of a plain password is drawn when the node starts.
    let usable = !text.is_empty() && PasswordHash::from_setting(text, [0; 16]).is_ok();
    usable.then(|| Secret::new(text))
}

const SIZE_OF_OUTPUT: std::ops::RangeInclusive<u64> = (64 << 10)..=(4 << 30);

/// All settings, in the order of the manual.
pub static FIELDS: &[Field] = &[
    Field {
        name: "dir",
        help: "The data directory; made where it does not exist",
        kind: Kind::Path,
        changes_live: false,
        get: |s| s.dir.display().to_string(),
        set: |s, v| v.text().map(|text| s.dir = PathBuf::from(text)),
    },
    Field {
        name: "bind",
        help: "The addresses that clients connect to",
        kind: Kind::Addresses,
        changes_live: false,
        get: |s| s.bind.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        set: |s, v| v.addresses().map(|addresses| s.bind = addresses.to_vec()),
    },
    Field {
        name: "port",
        help: "The port that clients connect to",
        kind: Kind::Integer(0..=65_535, "0: the system chooses one"),
        changes_live: false,
        get: |s| s.port.to_string(),
        set: |s, v| v.number().map(|port| s.port = port),
    },
    Field {
        name: "admin-bind",
        help: "The address of the admin endpoint (metrics, health)",
        kind: Kind::Address,
        changes_live: false,
        get: |s| s.admin_bind.to_string(),
        set: |s, v| v.addresses()?.first().map(|address| s.admin_bind = *address),
    },
    Field {
        name: "admin-port",
        help: "The port of the admin endpoint",
        kind: Kind::Integer(0..=65_535, "0: no admin endpoint"),
        changes_live: false,
        get: |s| s.admin_port.to_string(),
        set: |s, v| v.number().map(|port| s.admin_port = port),
    },
    Field {
        name: "cores",
        help: "The processor cores to run on",
        kind: Kind::Cores,
        changes_live: false,
        get: |s| s.cores.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string),
        set: |s, v| v.cores().map(|cores| s.cores = cores),
    },
    Field {
        name: "partitions",
        help: "How many partitions a new data directory gets; an existing one keeps its own",
        kind: Kind::Integer(0..=PARTITIONS_MAX as i64, "0: one per core"),
        changes_live: false,
        get: |s| s.partitions.unwrap_or(0).to_string(),
        set: |s, v| v.number_or_none().map(|count| s.partitions = count),
    },
    Field {
        name: "segment-size",
        help: "Bytes of one log segment, for segments made from now on",
        kind: Kind::Size(SEGMENT_LEN_MIN..=SEGMENT_LEN_MAX, SEGMENT_LEN_ALIGN),
        changes_live: false,
        get: |s| show_size(s.segment_size),
        set: |s, v| v.number().map(|len| s.segment_size = len),
    },
    Field {
        name: "segment-fill",
        help: "How the space of a new segment is written: zeros past the page cache, which records enter when they are \
               flushed; or zeros in writes of this size, or only allocated, and records are stored in the page cache",
        kind: Kind::Choice(FILL_MODES),
        changes_live: false,
        get: |s| s.segment_fill.to_string(),
        set: |s, v| v.text()?.parse().ok().map(|mode| s.segment_fill = mode),
    },
    Field {
        name: "segments-ahead",
        help: "How many segments are kept prepared ahead of the one in use",
        kind: Kind::Integer(1..=64, ""),
        changes_live: false,
        get: |s| s.segments_ahead.to_string(),
        set: |s, v| v.number().map(|count| s.segments_ahead = count),
    },
    Field {
        name: "hot-memory-percent",
        help: "Percent of the memory available at the start that the newest records are taken to have; older ones are \
               read before they are used",
        kind: Kind::Integer(0..=100, "0: any record may be on disk only"),
        changes_live: false,
        get: |s| s.hot_memory_percent.to_string(),
        set: |s, v| v.number().map(|percent| s.hot_memory_percent = percent),
    },
    Field {
        name: "tail-memory",
        help: "Bytes of memory, beside the page cache, that each partition keeps its newest segments in where \
               keys are overwritten within that much log; at most an eighth of the memory available at the \
               start for all partitions; 0: none",
        kind: Kind::Size(0..=TAIL_MEMORY_MAX, 1),
        changes_live: false,
        get: |s| show_size(s.tail_memory),
        set: |s, v| v.number().map(|len| s.tail_memory = len),
    },
    Field {
        name: "durability",
        help: "When a write is confirmed: after the flush that covers it (commit), or at once (memory)",
        kind: Kind::Choice(&["commit", "memory"]),
        changes_live: false,
        get: |s| word_of(DURABILITIES, &s.durability),
        set: |s, v| from_word(DURABILITIES, v).map(|durability| s.durability = durability),
    },
    Field {
        name: "memory-flush-interval",
        help: "With durability memory: a confirmed write is flushed within this time",
        kind: Kind::Time(Duration::from_millis(1)..=Duration::from_secs(3_600)),
        changes_live: false,
        get: |s| show_time(s.memory_flush_interval),
        set: |s, v| v.time().map(|time| s.memory_flush_interval = time),
    },
    Field {
        name: "idle-poll",
        help: "How long a core looks for something to do before it sleeps, while one client waits for a flush; 0ms: never",
        kind: Kind::Time(Duration::ZERO..=Duration::from_millis(10)),
        changes_live: true,
        get: |s| show_time(s.idle_poll),
        set: |s, v| v.time().map(|time| s.idle_poll = time),
    },
    Field {
        name: "peers",
        help: "All nodes of the replicated set, this one included: its replica, where peers and where clients connect to",
        kind: Kind::Members,
        changes_live: false,
        get: |s| list_of(&s.peers),
        set: |s, v| v.members().map(|members| s.peers = members.to_vec()),
    },
    Field {
        name: "peer-bind",
        help: "The address that peers connect to; the first one of `bind` where there is none",
        kind: Kind::Address,
        changes_live: false,
        get: |s| s.peer_bind.map_or_else(String::new, |address| address.to_string()),
        set: |s, v| v.addresses()?.first().map(|address| s.peer_bind = Some(*address)),
    },
    Field {
        name: "peer-secret-file",
        help: "A file with the secret that all nodes of the set share; needed where there are peers",
        kind: Kind::Path,
        changes_live: false,
        get: |s| s.peer_secret_file.as_ref().map_or_else(String::new, |path| path.display().to_string()),
        set: |s, v| v.text().map(|text| s.peer_secret_file = Some(PathBuf::from(text))),
    },
    Field {
        name: "learners",
        help: "Those of the peers that get the log and neither vote nor count for what is committed",
        kind: Kind::Replicas(15),
        changes_live: false,
        get: |s| list_of(&s.learners),
        set: |s, v| v.replicas().map(|replicas| s.learners = replicas.to_vec()),
    },
    Field {
        name: "leader",
        help: "The replica that leads where nobody else does: when the set begins, and when it starts again",
        kind: Kind::Replicas(1),
        changes_live: false,
        get: |s| s.leader.map_or_else(String::new, |leader| leader.to_string()),
        set: |s, v| v.replicas()?.first().map(|leader| s.leader = Some(*leader)),
    },
    Field {
        name: "commit",
        help: "With peers, where a write is flushed before it is confirmed: on the leader, on a majority, on all",
        kind: Kind::Choice(&["leader", "quorum", "all"]),
        changes_live: false,
        get: |s| word_of(COMMIT_RULES, &s.commit),
        set: |s, v| from_word(COMMIT_RULES, v).map(|rule| s.commit = rule),
    },
    Field {
        name: "lease",
        help: "How long a follower that has heard from its leader helps nobody else to lead; the same on all nodes",
        kind: Kind::Time(Duration::from_millis(500)..=Duration::from_secs(60)),
        changes_live: false,
        get: |s| show_time(s.lease),
        set: |s, v| v.time().map(|time| s.lease = time),
    },
    Field {
        name: "requirepass",
        help: "The password of clients, plain or as `windrow hash-password` prints it",
        kind: Kind::Secret,
        changes_live: true,
        get: |s| s.requirepass.as_ref().map_or_else(String::new, |secret| secret.expose().to_owned()),
        set: |s, v| password(v.text()?).map(|secret| s.requirepass = Some(secret)),
    },
    Field {
        name: "requirepass-file",
        help: "A file whose first line is the password, plain or as `windrow hash-password` prints it",
        kind: Kind::Path,
        changes_live: false,
        get: |s| s.requirepass_file.as_ref().map_or_else(String::new, |path| path.display().to_string()),
        set: |s, v| v.text().map(|text| s.requirepass_file = Some(PathBuf::from(text))),
    },
    Field {
        name: "protected-mode",
        help: "Refuse clients from other machines while there is no password",
        kind: Kind::Switch,
        changes_live: true,
        get: |s| yes_no(s.protected_mode),
        set: |s, v| v.switch().map(|on| s.protected_mode = on),
    },
    Field {
        name: "max-clients",
        help: "The most clients at once",
        kind: Kind::Integer(1..=1_000_000, ""),
        changes_live: true,
        get: |s| s.max_clients.to_string(),
        set: |s, v| v.number().map(|count| s.max_clients = count),
    },
    Field {
        name: "max-clients-per-address",
        help: "The most clients at once from one address",
        kind: Kind::Integer(0..=1_000_000, "0: any number"),
        changes_live: true,
        get: |s| s.max_clients_per_address.unwrap_or(0).to_string(),
        set: |s, v| v.number_or_none().map(|count| s.max_clients_per_address = count),
    },
    Field {
        name: "timeout",
        help: "Seconds of silence after which a client is disconnected",
        kind: Kind::Integer(0..=31_536_000, "0: never"),
        changes_live: true,
        get: |s| seconds(s.timeout),
        set: |s, v| v.number_or_none().map(|secs| s.timeout = secs.map(Duration::from_secs)),
    },
    Field {
        name: "tcp-keepalive",
        help: "Seconds of silence after which TCP asks whether a client is still there",
        kind: Kind::Integer(0..=32_767, "0: never"),
        changes_live: true,
        get: |s| seconds(s.tcp_keepalive),
        set: |s, v| v.number_or_none().map(|secs| s.tcp_keepalive = secs.map(Duration::from_secs)),
    },
    Field {
        name: "output-limit",
        help: "Bytes of one reply; a client for which more than this and output-soft-limit wait in memory is disconnected",
        kind: Kind::Size(SIZE_OF_OUTPUT, 1),
        changes_live: true,
        get: |s| size_of(s.output_limit),
        set: |s, v| v.number().map(|len| s.output_limit = len),
    },
    Field {
        name: "output-soft-limit",
        help: "Bytes of replies that may wait for one client for output-soft-duration",
        kind: Kind::Size(SIZE_OF_OUTPUT, 1),
        changes_live: true,
        get: |s| size_of(s.output_soft_limit),
        set: |s, v| v.number().map(|len| s.output_soft_limit = len),
    },
    Field {
        name: "output-soft-duration",
        help: "How long a client may stay above output-soft-limit",
        kind: Kind::Time(Duration::from_secs(1)..=Duration::from_secs(3_600)),
        changes_live: true,
        get: |s| show_time(s.output_soft_duration),
        set: |s, v| v.time().map(|time| s.output_soft_duration = time),
    },
    Field {
        name: "slowlog-log-slower-than",
        help: "Microseconds; commands that take longer go to the slow log",
        kind: Kind::Integer(-1..=3_600_000_000, "-1: none; 0: all"),
        changes_live: true,
        get: |s| s.slowlog_log_slower_than.map_or_else(|| "-1".to_owned(), |time| time.as_micros().to_string()),
        set: |s, v| {
            let micros: i64 = v.number()?;
            s.slowlog_log_slower_than = u64::try_from(micros).ok().map(Duration::from_micros);
            Some(())
        },
    },
    Field {
        name: "slowlog-max-len",
        help: "Entries that the slow log keeps",
        kind: Kind::Integer(0..=100_000, ""),
        changes_live: true,
        get: |s| s.slowlog_max_len.to_string(),
        set: |s, v| v.number().map(|count| s.slowlog_max_len = count),
    },
    Field {
        name: "latency-monitor-threshold",
        help: "Milliseconds; events that take at least this long are recorded for LATENCY",
        kind: Kind::Integer(0..=3_600_000, "0: none"),
        changes_live: true,
        get: |s| s.latency_monitor_threshold.map_or(0, |time| time.as_millis()).to_string(),
        set: |s, v| v.number_or_none().map(|millis| s.latency_monitor_threshold = millis.map(Duration::from_millis)),
    },
    Field {
        name: "log-format",
        help: "The form of the log that the process writes about itself",
        kind: Kind::Choice(&["text", "json"]),
        changes_live: false,
        get: |s| word_of(LOG_FORMATS, &s.log_format),
        set: |s, v| from_word(LOG_FORMATS, v).map(|format| s.log_format = format),
    },
    Field {
        name: "log-level",
        help: "How much the process writes about itself",
        kind: Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        changes_live: false,
        get: |s| word_of(LOG_LEVELS, &s.log_level),
        set: |s, v| from_word(LOG_LEVELS, v).map(|level| s.log_level = level),
    },
    Field {
        name: "enable-debug-command",
        help: "Whether clients may use DEBUG",
        kind: Kind::Switch,
        changes_live: false,
        get: |s| yes_no(s.enable_debug_command),
        set: |s, v| v.switch().map(|on| s.enable_debug_command = on),
    },
];
