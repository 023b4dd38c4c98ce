//! Every input that is kept, through its target.

use std::fs;
use std::path::{Path, PathBuf};

use windrow_fuzz::TARGETS;

/// An input that is larger than this has not been minimised.
const INPUT_LEN_MAX: u64 = 4 << 10;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

#[test]
fn every_kept_input_passes_its_target() {
    for (name, target) in TARGETS {
        let inputs = entries(&corpus().join(name));
        assert!(!inputs.is_empty(), "{name} has no inputs");
        for input in inputs {
            let bytes = fs::read(&input).unwrap();
            assert!(bytes.len() as u64 <= INPUT_LEN_MAX, "{} is too large to be kept", input.display());
            let shown = format!("{name} on {}", input.file_name().unwrap().display());
            let passed = std::panic::catch_unwind(|| target(&bytes));
            assert!(passed.is_ok(), "{shown}: see above");
        }
    }
}

/// Also cut short anywhere and with single bytes changed: cheap neighbours of what is known to reach far.
#[test]
fn neighbours_of_kept_inputs_pass_too() {
    const NEIGHBOURS: usize = 8;
    for (name, target) in TARGETS {
        for input in entries(&corpus().join(name)).iter().take(64) {
            let bytes = fs::read(input).unwrap();
            for number in 0..NEIGHBOURS.min(bytes.len()) {
                let at = (number * 7_919 + bytes.len() / 2) % bytes.len();
                target(&bytes[..at]);
                let mut changed = bytes.clone();
                changed[at] = changed[at].wrapping_add(u8::try_from(number * 37 % 255 + 1).unwrap());
                target(&changed);
            }
        }
    }
}

#[test]
fn every_target_has_a_binary_and_every_folder_a_target() {
    let binaries = entries(&Path::new(env!("CARGO_MANIFEST_DIR")).join("libfuzzer/fuzz_targets"));
    let stems = |paths: &[PathBuf]| -> Vec<String> {
        paths.iter().map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let mut names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    assert_eq!(stems(&binaries), names);
    assert_eq!(stems(&entries(&corpus())), names);
}
