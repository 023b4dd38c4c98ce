//! Random commands, alone and in transactions, against the plainest thing that could answer them.

use alloc::{collections::BTreeMap, format, string::String, vec, vec::Vec};

use proptest::{collection::vec as list, prelude::*};

use super::harness::Bench;

#[derive(Clone, Debug)]
enum Step {
    Line(String),
    /// Lines run as one, with these keys watched, and changed in between if so said.
    Transaction {
        lines: Vec<String>,
        watched: Option<String>,
        touched: Option<String>,
    },
    Pass(u64),
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("c"), Just("d")].prop_map(String::from)
}

fn line() -> impl Strategy<Value = String> {
    let value = || "[0-9x]{1,3}";
    let option = prop_oneof![
        Just(String::new()),
        Just("NX".into()),
        Just("XX".into()),
        Just("GET".into()),
        Just("KEEPTTL".into()),
        (1_u64..40).prop_map(|millis| format!("PX {millis}")),
        (1_u64..40).prop_map(|millis| format!("XX PX {millis} GET")),
    ];
    prop_oneof![
        4 => (key(), value(), option).prop_map(|(key, value, option)| format!("SET {key} {value} {option}")),
        2 => (key(), key()).prop_map(|(first, second)| format!("MGET {first} {second}")),
        1 => key().prop_map(|key| format!("GETDEL {key}")),
        1 => (key(), value()).prop_map(|(key, value)| format!("APPEND {key} {value}")),
        2 => (key(), -5_i64..5).prop_map(|(key, number)| format!("INCRBY {key} {number}")),
        2 => (key(), key(), key()).prop_map(|(a, b, c)| format!("DEL {a} {b} {c}")),
        1 => (key(), key()).prop_map(|(a, b)| format!("EXISTS {a} {b}")),
        2 => (key(), -3_i64..40).prop_map(|(key, millis)| format!("PEXPIRE {key} {millis}")),
        1 => key().prop_map(|key| format!("PERSIST {key}")),
        2 => key().prop_map(|key| format!("PTTL {key}")),
        1 => (key(), key()).prop_map(|(from, to)| format!("RENAME {from} {to}")),
        1 => (key(), key()).prop_map(|(from, to)| format!("RENAMENX {from} {to}")),
        1 => (key(), key()).prop_map(|(from, to)| format!("COPY {from} {to} REPLACE")),
        1 => (key(), key(), value()).prop_map(|(a, b, value)| format!("MSET {a} {value} {b} 7")),
        1 => (key(), key(), value()).prop_map(|(a, b, value)| format!("MSETNX {a} {value} {b} 7")),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => line().prop_map(Step::Line),
        2 => (list(line(), 0..6), proptest::option::of(key()), proptest::option::of(key()))
            .prop_map(|(lines, watched, touched)| Step::Transaction { lines, watched, touched }),
        2 => (1_u64..20).prop_map(Step::Pass),
    ]
}

/// What is there, and until when.
#[derive(Clone, Default)]
struct Model {
    keys: BTreeMap<String, (String, Option<u64>)>,
    now: u64,
}

const NIL: &str = "nil";

impl Model {
    fn pass(&mut self, millis: u64) {
        self.now += millis;
        let now = self.now;
        self.keys.retain(|_, (_, until)| until.is_none_or(|until| until > now));
    }

    fn value(&self, key: &str) -> String {
        self.keys.get(key).map_or(NIL.into(), |(value, _)| format!("\"{value}\""))
    }

    fn put(&mut self, key: &str, value: &str, until: Option<u64>) {
        self.keys.insert(key.into(), (value.into(), until));
    }

    fn run(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, args) = words.split_first().unwrap();
        let key = args[0];
        let until = self.keys.get(key).and_then(|(_, until)| *until);
        match *name {
            "SET" => self.set(key, args[1], &args[2..]),
            "MGET" => {
                let values: Vec<String> = args.iter().map(|key| self.value(key)).collect();
                format!("[{}]", values.join(", "))
            }
            "GETDEL" => {
                let value = self.value(key);
                self.keys.remove(key);
                value
            }
            "APPEND" => {
                let value = format!("{}{}", self.keys.get(key).map_or("", |(value, _)| value), args[1]);
                self.put(key, &value, until);
                format!(":{}", value.len())
            }
            "INCRBY" => {
                let old = self.keys.get(key).map_or("0", |(value, _)| value);
                // What Redis takes for a number reads back as it was.
                match old.parse::<i64>().ok().filter(|number| format!("{number}") == old) {
                    Some(old) => {
                        let sum = old + args[1].parse::<i64>().unwrap();
                        self.put(key, &format!("{sum}"), until);
                        format!(":{sum}")
                    }
                    None => "-ERR value is not an integer or out of range".into(),
                }
            }
            "DEL" => format!(":{}", args.iter().filter(|key| self.keys.remove(**key).is_some()).count()),
            "EXISTS" => format!(":{}", args.iter().filter(|key| self.keys.contains_key(**key)).count()),
            "PTTL" => match self.keys.get(key) {
                None => ":-2".into(),
                Some((_, None)) => ":-1".into(),
                Some((_, Some(until))) => format!(":{}", until - self.now),
            },
            _ => self.change(name, args, until),
        }
    }

    fn set(&mut self, key: &str, value: &str, options: &[&str]) -> String {
        let old = self.keys.get(key).cloned();
        let shown = self.value(key);
        let gets = options.contains(&"GET");
        let refused = options.contains(&"NX") && old.is_some() || options.contains(&"XX") && old.is_none();
        if !refused {
            let after_px = options.iter().position(|option| *option == "PX").map(|index| options[index + 1]);
            let kept = if options.contains(&"KEEPTTL") { old.and_then(|(_, until)| until) } else { None };
            let until = after_px.map(|millis| self.now + millis.parse::<u64>().unwrap()).or(kept);
            self.put(key, value, until);
        }
        match (gets, refused) {
            (true, _) => shown,
            (false, true) => NIL.into(),
            (false, false) => "OK".into(),
        }
    }

    fn change(&mut self, name: &str, args: &[&str], until: Option<u64>) -> String {
        let key = args[0];
        let old = self.keys.get(key).cloned();
        let done = match (name, old) {
            ("MSETNX", _) if [0, 2].iter().any(|&index| self.keys.contains_key(args[index])) => false,
            ("MSET" | "MSETNX", _) => {
                self.put(args[0], args[1], None);
                self.put(args[2], args[3], None);
                if name == "MSET" {
                    return "OK".into();
                }
                true
            }
            ("RENAME" | "RENAMENX", None) => return "-ERR no such key".into(),
            ("COPY", _) if args[0] == args[1] => return "-ERR source and destination objects are the same".into(),
            (_, None) => false,
            ("RENAMENX", Some(_)) if self.keys.contains_key(args[1]) => false,
            ("RENAME" | "RENAMENX" | "COPY", Some(old)) => {
                if name != "COPY" {
                    self.keys.remove(key);
                }
                self.keys.insert(args[1].into(), old);
                if name == "RENAME" {
                    return "OK".into();
                }
                true
            }
            ("PEXPIRE", Some((value, _))) => {
                let until = self.now.checked_add_signed(args[1].parse().unwrap()).unwrap();
                self.put(key, &value, Some(until));
                self.pass(0);
                true
            }
            ("PERSIST", Some((value, _))) => {
                self.put(key, &value, None);
                until.is_some()
            }
            (other, _) => panic!("{other} is not generated"),
        };
        format!(":{}", i32::from(done))
    }
}

fn run_all(steps: &[Step]) {
    let mut bench = Bench::of(0, 1, 4 << 10);
    let mut model = Model { now: bench.ctx.now.get(), ..Model::default() };
    for step in steps {
        match step {
            Step::Line(line) => assert_eq!(bench.reply(line), model.run(line), "{line}"),
            Step::Pass(millis) => {
                bench.advance(*millis);
                model.pass(*millis);
                bench.partition.sweep_expired(bench.ctx.now, 2).ok();
            }
            Step::Transaction { lines, watched, touched } => {
                let watches: Vec<_> = watched.iter().map(|key| bench.watch(key)).collect();
                if let Some(key) = touched {
                    let line = format!("SET {key} 1");
                    assert_eq!(bench.reply(&line), model.run(&line));
                }
                let texts: Vec<&str> = lines.iter().map(String::as_str).collect();
                let reply = bench.transaction(&watches, &texts);
                if watched.is_some() && watched == touched {
                    assert_eq!(reply, NIL);
                } else {
                    let replies: Vec<String> = lines.iter().map(|line| model.run(line)).collect();
                    assert_eq!(reply, format!("[{}]", replies.join(", ")), "{lines:?}");
                }
            }
        }
        for key in ["a", "b", "c", "d"] {
            assert_eq!(bench.reply(&format!("GET {key}")), model.value(key), "{key} after {step:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn commands_answer_and_do_what_the_model_does(steps in list(step(), 1..60)) {
        run_all(&steps);
    }
}
