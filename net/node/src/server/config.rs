//! CONFIG: settings under Windrow's names and, where it has the same thing, under those of Redis.

use std::path::Path;

use windrow_proto::glob::matches_ignoring_case;
use windrow_proto::resp::{Args, Encoder};

use super::node::{Node, SetError};
use crate::settings::{ChangeError, Configured, Durability, FIELDS, Settings, find};

/// What is shown in place of a password.
const HIDDEN: &str = "(hidden)";
/// Settings that have another name in Redis: that name, and Windrow's. Both are read and set.
const ALIASES: [(&str, &str); 1] = [("maxclients", "max-clients")];

/// A setting of Redis that is a fixed fact, or follows from others, here.
type Fact = (&'static str, fn(&Settings) -> String);

/// What clients and tools ask a Redis for. None of these can be set to anything else.
const FACTS: [Fact; 18] = [
    ("activerehashing", |_| "no".to_owned()),
    ("appenddirname", |_| String::new()),
    ("appendfilename", |_| String::new()),
    ("appendfsync", |settings| {
        match settings.durability {
            Durability::Commit => "always",
            Durability::Memory => "everysec",
        }
        .to_owned()
    }),
    ("appendonly", |_| "yes".to_owned()),
    ("client-output-buffer-limit", |settings| {
        let (hard, soft) = (settings.output_limit, settings.output_soft_limit);
        format!("normal {hard} {soft} {}", settings.output_soft_duration.as_secs())
    }),
    ("cluster-enabled", |_| if cfg!(feature = "shared-nothing") { "yes" } else { "no" }.to_owned()),
    ("databases", |_| "1".to_owned()),
    ("io-threads", |_| "1".to_owned()),
    ("latency-tracking", |_| "yes".to_owned()),
    ("loglevel", |settings| format!("{:?}", settings.log_level).to_ascii_lowercase()),
    ("maxmemory", |_| "0".to_owned()),
    ("maxmemory-policy", |_| "noeviction".to_owned()),
    ("notify-keyspace-events", |_| String::new()),
    ("proto-max-bulk-len", |_| windrow_proto::limits::BULK_LEN_MAX.to_string()),
    ("replica-read-only", |_| "yes".to_owned()),
    ("save", |_| String::new()),
    ("slave-read-only", |_| "yes".to_owned()),
];

/// `CONFIG GET pattern …`: every setting that one of the patterns matches, once, by name.
pub(super) fn get(node: &Node, args: Args<'_>, encoder: &mut Encoder<'_>) {
    let live = node.live();
    let settings = &live.settings;
    let fields = FIELDS.iter().map(|field| {
        let value = (field.get)(settings);
        (field.name, if field.is_secret() && !value.is_empty() { HIDDEN.to_owned() } else { value })
    });
    let aliases = ALIASES.iter().filter_map(|&(alias, name)| Some((alias, (find(name)?.get)(settings))));
    let facts = FACTS.iter().map(|&(name, read)| (name, read(settings)));
    let wanted = |name: &str| args.from(2).any(|pattern| matches_ignoring_case(pattern, name.as_bytes()));
    let mut found: Vec<(&str, String)> = fields.chain(aliases).chain(facts).filter(|(name, _)| wanted(name)).collect();
    found.sort_unstable();
    encoder.map(found.len());
    for (name, value) in found {
        encoder.bulk(name.as_bytes());
        encoder.bulk(value.as_bytes());
    }
}

/// `CONFIG SET name value …`: all of them or none.
pub(super) fn set(node: &Node, args: Args<'_>, encoder: &mut Encoder<'_>) {
    if args.len() % 2 == 1 {
        return encoder.error("ERR syntax error");
    }
    let mut changes: Vec<(String, &str)> = Vec::new();
    for at in (2..args.len()).step_by(2) {
        match one_change(node, args.at(at), args.at(at + 1), &changes) {
            Ok(Some(change)) => changes.push(change),
            Ok(None) => {}
            Err(error) => return encoder.error(&error),
        }
    }
    let changes: Vec<(&str, &str)> = changes.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    match node.change(&changes) {
        Ok(()) => encoder.ok(),
        Err(error) => encoder.error(&refusal(&error)),
    }
}

/// The name of a setting in Windrow and its new value, or nothing where a fact is set to what it is.
fn one_change<'a>(
    node: &Node,
    name: &[u8],
    value: &'a [u8],
    before: &[(String, &str)],
) -> Result<Option<(String, &'a str)>, String> {
    let written = String::from_utf8_lossy(name.get(..128).unwrap_or(name)).to_ascii_lowercase();
    let name = ALIASES.iter().find(|(alias, _)| *alias == written).map_or(written.as_str(), |&(_, name)| name);
    if let Some((_, fact)) = FACTS.iter().find(|(fact, _)| *fact == name) {
        let same = fact(&node.live().settings).as_bytes() == value;
        return if same { Ok(None) } else { Err(failed(&written, "can't set immutable config")) };
    }
    if find(name).is_none() {
        return Err(format!("ERR Unknown option or number of arguments for CONFIG SET - '{written}'"));
    }
    if before.iter().any(|(other, _)| other == name) {
        return Err(failed(&written, "duplicate parameter"));
    }
    let value = std::str::from_utf8(value).map_err(|_| failed(&written, "argument must be text"))?;
    Ok(Some((name.to_owned(), value)))
}

fn failed(name: &str, why: &str) -> String {
    format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")
}

fn refusal(error: &SetError) -> String {
    match error {
        SetError::Change(ChangeError::AtStartOnly { name }) => failed(name, "can't set immutable config"),
        SetError::Change(ChangeError::Invalid { name, allowed }) => {
            failed(name, &format!("argument must be {allowed}"))
        }
        SetError::Change(ChangeError::Unknown { name }) => {
            format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'")
        }
        error => failed("requirepass", &error.to_string()),
    }
}

/// `CONFIG REWRITE`. It waits for the disk, as it does in Redis: it is for operators.
pub(super) fn rewrite(node: &Node, encoder: &mut Encoder<'_>) {
    match rewrite_file(&node.configured()) {
        Ok(true) => {
            tracing::info!("the settings file was rewritten by CONFIG REWRITE");
            encoder.ok();
        }
        Ok(false) => encoder.error("ERR The server is running without a config file"),
        Err(error) => {
            tracing::warn!(%error, "CONFIG REWRITE failed");
            encoder.error_fmt(format_args!("ERR Rewriting config file: {error}"));
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum RewriteError {
    #[error(transparent)]
    Settings(#[from] crate::settings::LoadError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Replaces the settings file in one step. Returns whether there is one.
fn rewrite_file(configured: &Configured) -> Result<bool, RewriteError> {
    let (Some(path), Some(text)) = (configured.file(), configured.rewritten()?) else { return Ok(false) };
    replace(path, text.as_bytes())?;
    Ok(true)
}

fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;

    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut file = std::fs::File::create(&new)?;
    if let Ok(old) = std::fs::metadata(path) {
        // It may hold a password: nobody may read the new one who could not read the old one.
        file.set_permissions(old.permissions())?;
    }
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Request, identity, node};
    use super::*;

    fn get_from(node: &Node, patterns: &[&[u8]]) -> String {
        let args: Vec<&[u8]> = [&b"config"[..], b"get"].into_iter().chain(patterns.iter().copied()).collect();
        Request::new(&args).run(|args, encoder| get(node, args, encoder))
    }

    fn set_in(node: &Node, changes: &[&[u8]]) -> String {
        let args: Vec<&[u8]> = [&b"config"[..], b"set"].into_iter().chain(changes.iter().copied()).collect();
        Request::new(&args).run(|args, encoder| set(node, args, encoder))
    }

    #[test]
    fn settings_are_found_by_patterns_each_once() {
        let node = node(1);
        let both = "*4\r\n$10\r\nmaxclients\r\n$5\r\n10000\r\n$7\r\ntimeout\r\n$1\r\n0\r\n";
        assert_eq!(get_from(&node, &[b"MAXCLIENTS", b"time*t", b"timeout"]), both);
        assert_eq!(get_from(&node, &[b"nothing"]), "*0\r\n");
        assert_eq!(get_from(&node, &[b"save"]), "*2\r\n$4\r\nsave\r\n$0\r\n\r\n");
        assert!(get_from(&node, &[b"*"]).contains("$11\r\nappendfsync\r\n$6\r\nalways\r\n"));
    }

    #[test]
    fn facts_have_names_of_their_own() {
        for (name, _) in FACTS {
            assert!(find(name).is_none(), "{name} is a setting");
        }
    }

    #[test]
    fn the_password_is_never_shown() {
        let node = node(1);
        assert_eq!(get_from(&node, &[b"requirepass"]), "*2\r\n$11\r\nrequirepass\r\n$0\r\n\r\n");
        assert_eq!(set_in(&node, &[b"requirepass", b"hunter2"]), "+OK\r\n");
        assert_eq!(get_from(&node, &[b"requirepass"]), "*2\r\n$11\r\nrequirepass\r\n$8\r\n(hidden)\r\n");
        assert!(!get_from(&node, &[b"*"]).contains("hunter2"));
        assert!(set_in(&node, &[b"requirepass", b"sha256:x"]).starts_with("-ERR CONFIG SET failed"));
    }

    #[test]
    fn several_settings_change_together_or_not_at_all() {
        let node = node(1);
        assert_eq!(set_in(&node, &[b"timeout", b"7", b"MaxClients", b"50"]), "+OK\r\n");
        let settings = node.live().settings.clone();
        assert_eq!((settings.max_clients, settings.timeout.map(|time| time.as_secs())), (50, Some(7)));
        let failed = "-ERR CONFIG SET failed (possibly related to argument";
        for (changes, error) in [
            (&[&b"timeout"[..], b"1", b"port", b"1"][..], format!("{failed} 'port') - can't set immutable config")),
            (&[b"timeout", b"1", b"timeout", b"2"], format!("{failed} 'timeout') - duplicate parameter")),
            (&[b"timeout", b"1", b"appendonly", b"no"], format!("{failed} 'appendonly') - can't set immutable config")),
            (
                &[b"timeout", b"1", b"max-clients", b"0"],
                format!("{failed} 'max-clients') - argument must be 1 to 1000000"),
            ),
            (&[b"timeout", b"\xff"], format!("{failed} 'timeout') - argument must be text")),
            (&[b"oops", b"1"], "-ERR Unknown option or number of arguments for CONFIG SET - 'oops'".to_owned()),
            (&[b"timeout"], "-ERR syntax error".to_owned()),
        ] {
            assert_eq!(set_in(&node, changes), error + "\r\n");
            assert_eq!(node.live().settings, settings);
        }
        assert_eq!(set_in(&node, &[b"appendonly", b"yes", b"save", b""]), "+OK\r\n", "they are that already");
    }

    #[test]
    fn the_file_is_rewritten_with_what_was_set() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("windrow.toml");
        std::fs::write(&path, "# mine\ntimeout = 3\n").unwrap();
        let configured = Configured::load(Some(&path), [], []).unwrap();
        let node = Node::new(configured, identity(1), 1).unwrap();
        assert_eq!(set_in(&node, &[b"timeout", b"9"]), "+OK\r\n");
        assert_eq!(Request::new(&[]).run(|_, encoder| rewrite(&node, encoder)), "+OK\r\n");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("# mine") && text.contains("timeout = 9"), "{text}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left over");
    }

    #[test]
    fn without_a_file_there_is_nothing_to_rewrite() {
        let reply = Request::new(&[]).run(|_, encoder| rewrite(&node(1), encoder));
        assert_eq!(reply, "-ERR The server is running without a config file\r\n");
    }
}
