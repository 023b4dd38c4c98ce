//! The program as people and scripts meet it.

use std::process::{Command, Output};

fn torture(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_windrow-torture")).args(args).output().unwrap()
}

#[test]
fn a_wrong_command_line_is_told_so_with_status_2() {
    let this = env!("CARGO_BIN_EXE_windrow-torture");
    for (args, problem) in [
        (&[][..], "no such command"),
        (&["crush"], "no such command"),
        (&["crash", "--nodes", "3"], "`--nodes` is not a flag of this command"),
        (&["linearize", "--rounds", "3"], "`--rounds` is not a flag of this command"),
        (&["crash", "--rounds"], "--rounds takes a value"),
        (&["crash", "--rounds", "few"], "--rounds few: not a number"),
        (&["crash", "--binary", "/nowhere/windrow"], "there is no /nowhere/windrow"),
        (&["linearize", "--nodes", "4", "--binary", this], "--nodes 4: 1 to 3"),
    ] {
        let output = torture(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.starts_with(&format!("windrow-torture: {problem}")), "{args:?}: {said}");
        assert!(said.contains("usage: windrow-torture crash"), "{args:?}: {said}");
    }
}
