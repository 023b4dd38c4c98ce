//! Settings and where each came from.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::{ChangeError, LoadError, Source};
use super::fields::{FIELDS, Field, find, password};
use super::{Settings, file};

/// Settings, where each came from, and the file that they are written back to.
#[derive(Clone, Debug)]
pub struct Configured {
    settings: Settings,
    origins: BTreeMap<&'static str, Source>,
    file: Option<PathBuf>,
}

/// Every variable that starts with this is taken for a setting.
const PREFIX: &str = "WINDROW_";
/// Names the settings file where no flag does.
const FILE_VARIABLE: &str = "WINDROW_CONFIG";

impl Configured {
    /// Nothing but the defaults.
    #[must_use]
    pub fn defaults() -> Self {
        Self { settings: Settings::default(), origins: BTreeMap::new(), file: None }
    }

    /// Reads settings from the file, then the environment, then the flags: each overrules those before.
    ///
    /// `file` is the value of `--config`; where there is none, the variable `WINDROW_CONFIG` names the file.
    /// `flags` are names of settings (without dashes) and their values.
    ///
    /// # Errors
    /// See [`LoadError`]: the first thing that is wrong, with the place where it was set.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, LoadError> {
        Self::load_over(&[], file, environment, flags)
    }

    /// As [`load`](Self::load), where some settings have other defaults: names and values that are allowed.
    ///
    /// # Errors
    /// See [`load`](Self::load).
    ///
    /// # Panics
    /// If a default is not allowed: that is a bug.
    pub fn load_over(
        defaults: &[(&str, &str)],
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, LoadError> {
        let mut variables: Vec<_> = environment.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
        variables.sort();
        let named = variables.iter().position(|(name, _)| name == FILE_VARIABLE).map(|at| variables.remove(at).1);
        let mut configured =
            Self { file: file.map(Path::to_path_buf).or(named.map(PathBuf::from)), ..Self::defaults() };
        for (name, value) in defaults {
            let applied = find(name).and_then(|field| apply(field, &mut configured.settings, value));
            assert!(applied.is_some(), "a default is allowed: {name} = {value}");
        }
        if let Some(path) = configured.file.clone() {
            configured.take_file(&path)?;
        }
        for (variable, value) in variables {
            let name = variable[PREFIX.len()..].to_ascii_lowercase().replace('_', "-");
            configured.take(&name, &value, Source::Environment { variable })?;
        }
        for (name, value) in flags {
            let flag = format!("--{name}");
            configured.take(&name, &value, Source::Flag { flag })?;
        }
        configured.finish()
    }

    fn take_file(&mut self, path: &Path) -> Result<(), LoadError> {
        let text = file::read(path)?;
        for entry in file::parse(path, &text)? {
            let origin = Source::File { path: path.to_path_buf(), line: entry.line };
            match entry.value {
                Ok(value) => self.take(&entry.key, &value, origin)?,
                Err(kind) => {
                    let field = find(&entry.key).ok_or_else(|| unknown(&entry.key, origin.clone()))?;
                    return Err(invalid(field, format!("a value of type {kind}"), origin));
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, name: &str, value: &str, origin: Source) -> Result<(), LoadError> {
        let field = find(name).ok_or_else(|| unknown(name, origin.clone()))?;
        if apply(field, &mut self.settings, value).is_none() {
            let found = if field.is_secret() { "this".to_owned() } else { format!("`{value}`") };
            return Err(invalid(field, found, origin));
        }
        self.origins.insert(field.name, origin);
        Ok(())
    }

    /// Looks at what is wrong only when all is known, and reads the password's file.
    fn finish(mut self) -> Result<Self, LoadError> {
        if let Some(path) = self.settings.requirepass_file.clone() {
            self.refuse_if(
                self.settings.requirepass.is_some(),
                ("requirepass", "requirepass-file"),
                "give the password in one way only",
            )?;
            let text = file::read(&path)?;
            self.settings.requirepass = password(text.lines().next().unwrap_or_default());
            if self.settings.requirepass.is_none() {
                return Err(LoadError::Password { path });
            }
        }
        let settings = &self.settings;
        self.refuse_if(
            settings.output_soft_limit > settings.output_limit,
            ("output-soft-limit", "output-limit"),
            "the soft limit must not be above the limit",
        )?;
        self.refuse_if(
            !settings.peers.is_empty() && settings.peer_secret_file.is_none(),
            ("peers", "peer-secret-file"),
            "nodes of a set show each other that they share a secret: name the file",
        )?;
        self.refuse_if(
            settings.port != 0 && settings.port == settings.admin_port && settings.bind.contains(&settings.admin_bind),
            ("port", "admin-port"),
            "both would listen on the same port of the same address",
        )?;
        Ok(self)
    }

    fn refuse_if(
        &self,
        conflict: bool,
        (first, second): (&'static str, &'static str),
        reason: &'static str,
    ) -> Result<(), LoadError> {
        if !conflict {
            return Ok(());
        }
        let (first_origin, second_origin) = (self.origin(first), self.origin(second));
        Err(LoadError::Conflict { first, first_origin, second, second_origin, reason })
    }

    /// The settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where the setting called `name` came from.
    #[must_use]
    pub fn origin(&self, name: &str) -> Source {
        self.origins.get(name).cloned().unwrap_or(Source::Default)
    }

    /// The file that the settings were read from and that [`rewritten`](Self::rewritten) is for.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Changes settings of a running node, all of them or, on an error, none.
    ///
    /// An empty `requirepass` removes the password.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub fn change(&mut self, changes: &[(&str, &str)]) -> Result<(), ChangeError> {
        let mut settings = self.settings.clone();
        let mut changed = Vec::new();
        for &(name, value) in changes {
            let field = find(name).ok_or_else(|| ChangeError::Unknown { name: name.to_owned() })?;
            if !field.changes_live {
                return Err(ChangeError::AtStartOnly { name: field.name });
            }
            if field.is_secret() && value.is_empty() {
                settings.requirepass = None;
            } else if apply(field, &mut settings, value).is_none() {
                return Err(ChangeError::Invalid { name: field.name, allowed: field.kind.allowed() });
            }
            changed.push(field.name);
        }
        if settings.output_soft_limit > settings.output_limit {
            let allowed = "at most output-limit".to_owned();
            return Err(ChangeError::Invalid { name: "output-soft-limit", allowed });
        }
        self.settings = settings;
        self.origins.extend(changed.into_iter().map(|name| (name, Source::Client)));
        Ok(())
    }

    /// The text of the settings file with what clients have changed since it was read; comments and order stay.
    ///
    /// # Errors
    /// Where the file can no longer be read or parsed.
    pub fn rewritten(&self) -> Result<Option<String>, LoadError> {
        let Some(path) = &self.file else { return Ok(None) };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(LoadError::Unreadable { path: path.clone(), error }),
        };
        let entries = file::parse(path, &text)?;
        let by_client = FIELDS.iter().filter(|field| self.origin(field.name) == Source::Client);
        let changes: Vec<_> = by_client.map(|field| (field.name, (field.get)(&self.settings))).collect();
        Ok(Some(file::with(&text, &entries, &changes)))
    }
}

fn apply(field: &Field, settings: &mut Settings, text: &str) -> Option<()> {
    (field.set)(settings, &field.kind.read(text)?)
}

fn invalid(field: &'static Field, found: String, origin: Source) -> LoadError {
    LoadError::Invalid { name: field.name, found, allowed: field.kind.allowed(), origin }
}

fn unknown(name: &str, origin: Source) -> LoadError {
    LoadError::Unknown { name: name.to_owned(), nearest: nearest(name), origin }
}

/// The setting whose name is most like `name`, if one is.
fn nearest(name: &str) -> Option<&'static str> {
    let normal = name.to_ascii_lowercase().replace('_', "-");
    let distances = FIELDS.iter().map(|field| (distance(&normal, field.name), field.name));
    let (least, found) = distances.min()?;
    (least <= 1 + name.len() / 4).then_some(found)
}

/// How many characters must be inserted, removed or replaced to turn `a` into `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (at, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[b.len()]
}
