//! Tests of the settings.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::*;

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

fn from_flags(flags: &[(&str, &str)]) -> Result<Configured, LoadError> {
    Configured::load(None, [], pairs(flags))
}

fn refused(flags: &[(&str, &str)]) -> String {
    from_flags(flags).unwrap_err().to_string()
}

#[test]
fn flags_overrule_the_environment_which_overrules_the_file() {
    let files = Files::new();
    let file = files.write("w.toml", "# ours\nport = 1\nmax-clients = 1\ntimeout = 1\n");
    let environment = pairs(&[("WINDROW_MAX_CLIENTS", "2"), ("WINDROW_TIMEOUT", "2"), ("PATH", "/bin")]);
    let configured = Configured::load(Some(&file), environment, pairs(&[("timeout", "3")])).unwrap();
    let settings = configured.settings();
    assert_eq!((settings.port, settings.max_clients, settings.timeout), (1, 2, Some(Duration::from_secs(3))));
    assert_eq!(configured.origin("port"), Source::File { path: file, line: 2 });
    assert_eq!(configured.origin("max-clients"), Source::Environment { variable: "WINDROW_MAX_CLIENTS".to_owned() });
    assert_eq!(configured.origin("timeout"), Source::Flag { flag: "--timeout".to_owned() });
    assert_eq!(configured.origin("dir"), Source::Default);
}

#[test]
fn the_environment_can_name_the_file_and_the_flag_overrules_it() {
    let files = Files::new();
    let (one, two) = (files.write("1.toml", "port = 1"), files.write("2.toml", "port = 2"));
    let environment = pairs(&[("WINDROW_CONFIG", one.to_str().unwrap())]);
    assert_eq!(Configured::load(None, environment.clone(), []).unwrap().settings().port, 1);
    assert_eq!(Configured::load(Some(&two), environment, []).unwrap().settings().port, 2);
}

#[test]
fn the_file_takes_lists_switches_and_numbers() {
    let files = Files::new();
    let text = "bind = [\"127.0.0.1\", \"::1\"]\nprotected-mode = false\ncores = [0, 2]\nsegment-size = \"8MiB\"\n";
    let configured = Configured::load(Some(&files.write("w.toml", text)), [], []).unwrap();
    let settings = configured.settings();
    assert_eq!(settings.bind, [IpAddr::from([127, 0, 0, 1]), "::1".parse::<IpAddr>().unwrap()]);
    assert_eq!(settings.cores, Some(CoreChoice::List(vec![0, 2])));
    assert_eq!((settings.protected_mode, settings.segment_size), (false, 8 << 20));
}

#[test]
fn errors_name_the_place_and_what_is_allowed() {
    let files = Files::new();
    let in_file = |text: &str| {
        let path = files.write("w.toml", text);
        let error = Configured::load(Some(&path), [], []).unwrap_err().to_string();
        error.replace(path.to_str().unwrap(), "w.toml")
    };
    assert_eq!(
        in_file("\nport = 70000\n"),
        "w.toml:2: `port` cannot be `70000`; allowed: 0 to 65535 (0: the system chooses one)"
    );
    assert_eq!(in_file("prot = 1\n"), "w.toml:1: there is no setting `prot`; did you mean `port`?");
    assert_eq!(
        in_file("max_clients = 1\n"),
        "w.toml:1: there is no setting `max_clients`; did you mean `max-clients`?"
    );
    assert_eq!(in_file("a = 1\n[table]\nx = 1\n"), "w.toml:1: there is no setting `a`");
    assert_eq!(
        in_file("[port]\n"),
        "w.toml:1: `port` cannot be a value of type table; allowed: 0 to 65535 (0: the system chooses one)"
    );
    assert!(in_file("port = 1\nport 2\n").starts_with("w.toml:2: "));

    let environment = pairs(&[("WINDROW_DURABILITY", "always")]);
    assert_eq!(
        Configured::load(None, environment, []).unwrap_err().to_string(),
        "environment variable WINDROW_DURABILITY: `durability` cannot be `always`; allowed: commit, memory"
    );
    assert_eq!(
        Configured::load(None, pairs(&[("WINDROW_DURABLE", "1")]), []).unwrap_err().to_string(),
        "environment variable WINDROW_DURABLE: there is no setting `durable`"
    );
    assert_eq!(
        refused(&[("segment-size", "5000")]),
        "flag --segment-size: `segment-size` cannot be `5000`; allowed: 4KiB to 1GiB, a multiple of 4KiB"
    );
    assert_eq!(
        refused(&[("memory-flush-interval", "0s")]),
        "flag --memory-flush-interval: `memory-flush-interval` cannot be `0s`; allowed: 1ms to 1h, with the unit ms, s, m or h"
    );
    assert!(
        Configured::load(Some(&files.0.path().join("none")), [], [])
            .unwrap_err()
            .to_string()
            .starts_with("cannot read")
    );
}

#[test]
fn every_bound_is_met_and_not_passed() {
    for field in FIELDS {
        let (inside, outside): (Vec<String>, Vec<String>) = match &field.kind {
            Kind::Integer(range, _) => (
                vec![range.start().to_string(), range.end().to_string()],
                vec![(range.start() - 1).to_string(), (range.end() + 1).to_string(), "x".to_owned(), String::new()],
            ),
            Kind::Size(range, multiple) => (
                vec![range.start().to_string(), range.end().to_string()],
                [(range.end() + multiple).to_string(), "1 TiB".to_owned(), "-1".to_owned()]
                    .into_iter()
                    .chain(range.start().checked_sub(*multiple).map(|below| below.to_string()))
                    .collect(),
            ),
            Kind::Time(range) => (
                vec![format!("{}ms", range.start().as_millis()), format!("{}ms", range.end().as_millis())],
                [format!("{}ms", range.end().as_millis() + 1), "10".to_owned(), "1d".to_owned(), "-1ms".to_owned()]
                    .into_iter()
                    .chain(range.start().as_millis().checked_sub(1).map(|below| format!("{below}ms")))
                    .collect(),
            ),
            Kind::Choice(words) => {
                (words.iter().map(|word| (*word).to_owned()).collect(), vec!["other".to_owned(), String::new()])
            }
            Kind::Switch => (["yes", "no", "true", "off"].map(str::to_owned).to_vec(), vec!["maybe".to_owned()]),
            Kind::Address | Kind::Addresses => {
                (vec!["::1".to_owned()], vec!["localhost".to_owned(), "1.2.3.4:5".to_owned(), String::new()])
            }
            Kind::Cores => (["all", "3", "0,2-3"].map(str::to_owned).to_vec(), vec!["0".to_owned(), String::new()]),
            Kind::Members => (
                vec!["00000000000000ab@10.0.0.1:7400/7000,00000000000000cd@b:7400/7000".to_owned()],
                vec![
                    "00000000000000ab@10.0.0.1:7400/7000".to_owned(),
                    "00000000000000ab@a:1/2,00000000000000ab@b:1/2".to_owned(),
                    String::new(),
                ],
            ),
            Kind::Replicas(_) => (
                vec!["00000000000000ab".to_owned()],
                vec!["ab".to_owned(), "00000000000000ab,00000000000000ab".to_owned()],
            ),
            Kind::Path | Kind::Secret => (vec!["x".to_owned()], vec![String::new()]),
        };
        for text in inside {
            let read = field.kind.read(&text).unwrap_or_else(|| panic!("{} = {text}", field.name));
            let mut settings = Settings::default();
            assert_eq!((field.set)(&mut settings, &read), Some(()), "{} = {text}", field.name);
            let shown = (field.get)(&settings);
            let again = field.kind.read(&shown);
            assert_eq!(again, Some(read), "{} = {text} is shown as {shown}", field.name);
        }
        for text in outside {
            assert_eq!(field.kind.read(&text), None, "{} = {text}", field.name);
        }
    }
}

#[test]
fn every_default_is_allowed_and_every_name_is_unique() {
    let defaults = Settings::default();
    let mut names = BTreeSet::new();
    for field in FIELDS {
        assert!(names.insert(field.name), "{}", field.name);
        let text = (field.get)(&defaults);
        if !text.is_empty() {
            let mut settings = defaults.clone();
            let value = field.kind.read(&text).unwrap_or_else(|| panic!("{} = {text}", field.name));
            assert_eq!((field.set)(&mut settings, &value), Some(()), "{}", field.name);
            assert_eq!(settings, defaults, "{}", field.name);
        }
    }
}

#[test]
fn the_password_comes_from_one_place_and_is_never_shown() {
    let files = Files::new();
    let secret = files.write("secret", "pa ss\nmore\n");
    let flag = ("requirepass-file", secret.to_str().unwrap());
    let configured = from_flags(&[flag]).unwrap();
    assert_eq!(configured.settings().requirepass.as_ref().map(Secret::expose), Some("pa ss"));
    assert!(!format!("{configured:?}").contains("pa ss"));
    assert_eq!(
        refused(&[flag, ("requirepass", "other")]),
        "`requirepass` (flag --requirepass) and `requirepass-file` (flag --requirepass-file): give the password in one \
         way only"
    );
    let empty = files.write("empty", "\n");
    assert!(refused(&[("requirepass-file", empty.to_str().unwrap())]).contains("the first line is no password"));
    assert!(refused(&[("requirepass", "")]).contains("cannot be this; allowed: text that is not empty"));
    assert!(refused(&[("requirepass", "sha256:0123")]).contains("what `windrow hash-password` prints"));
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    assert!(refused(&[("output-soft-limit", "128MiB")]).contains("must not be above"));
    assert!(refused(&[("port", "9121")]).contains("same port"));
    assert!(from_flags(&[("port", "9121"), ("admin-bind", "127.0.0.2")]).is_ok());
}

#[test]
fn clients_change_all_or_nothing() {
    let mut configured = from_flags(&[("max-clients", "5")]).unwrap();
    let before = configured.settings().clone();
    for (changes, error) in [
        (vec![("max-clients", "7"), ("port", "1")], ChangeError::AtStartOnly { name: "port" }),
        (vec![("max-clients", "7"), ("none", "1")], ChangeError::Unknown { name: "none".to_owned() }),
        (
            vec![("max-clients", "7"), ("timeout", "x")],
            ChangeError::Invalid { name: "timeout", allowed: "0 to 31536000 (0: never)".to_owned() },
        ),
        (
            vec![("output-soft-limit", "128MiB")],
            ChangeError::Invalid { name: "output-soft-limit", allowed: "at most output-limit".to_owned() },
        ),
    ] {
        assert_eq!(configured.change(&changes), Err(error));
        assert_eq!(configured.settings(), &before);
    }
    configured.change(&[("max-clients", "7"), ("requirepass", "x")]).unwrap();
    assert_eq!(configured.settings().max_clients, 7);
    assert_eq!(configured.origin("max-clients"), Source::Client);
    configured.change(&[("requirepass", "")]).unwrap();
    assert_eq!(configured.settings().requirepass, None);
}

#[test]
fn the_file_is_rewritten_with_its_comments() {
    let files = Files::new();
    let path = files.write("w.toml", "# clients\nmax-clients = 5 # few\ntimeout = 3\nbind = [\n  \"127.0.0.1\",\n]");
    let mut configured = Configured::load(Some(&path), [], []).unwrap();
    configured.change(&[("max-clients", "7"), ("output-limit", "1GiB"), ("requirepass", "a\"b")]).unwrap();
    let text = configured.rewritten().unwrap().unwrap();
    assert_eq!(
        text,
        "# clients\nmax-clients = 7 # few\ntimeout = 3\nbind = [\n  \"127.0.0.1\",\n]\nrequirepass = 'a\"b'\n\
         output-limit = \"1GiB\"\n"
    );
    let again = Configured::load(Some(&files.write("again.toml", &text)), [], []).unwrap();
    assert_eq!(again.settings(), configured.settings());
    assert_eq!(Configured::defaults().rewritten().unwrap(), None);
}
