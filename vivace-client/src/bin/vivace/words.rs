//! The built-in state machines' commands and outputs in words.

use serde_json::{Value, json};
use vivace_client::Blob;
use vivace_client::machine::StateMachine;
use vivace_client::machine::builtin::{
    Counter, List, Map, Register, Set, counter, list, map, register, set,
};

use crate::output::{json_bytes, line_text};

/// The commands by example, for `exec --help`.
pub const WORDS: &str = "\
Examples:
  vivace exec counters/visits counter add 5             # prints the new value
  vivace exec counters/seats counter add-within 1 0 50  # conflict beyond 0..50
  vivace exec counters/visits counter get
  vivace exec locks/printer register create alice       # conflict if it is taken
  vivace exec locks/printer register cas alice bob
  vivace exec locks/printer register remove bob         # conflict if it is another's
  vivace exec feeds/bob list push-trimmed 100 'hello'   # keeps the newest 100
  vivace exec follows/bob set add alice                 # prints true if it is new
  vivace exec users/bob map put city Lisbon
  vivace exec users/bob map get city

Machines and their commands; \"get\" prints the state:
  register  set VALUE | cas OLD NEW | create NEW | remove OLD | delete
  counter   add N | add-within N MIN MAX | set N
  list      push ITEM | push-trimmed MAX ITEM | pop | trim MAX
  set       add MEMBER | add-within MAX MEMBER | remove MEMBER | clear
  map       put FIELD VALUE | put-if-absent FIELD VALUE | cas FIELD OLD NEW
            | remove FIELD | remove-if FIELD OLD | get [FIELD]";

/// What was asked of an object.
pub enum Asked<C> {
    /// To carry out a command.
    Command(C),
    /// To show the state, or the part of it that has this name.
    State {
        /// A map's field.
        part: Option<String>,
    },
}

/// A result in both forms.
pub struct Shown {
    /// For people and pipes; ends its line unless it is nothing, or raw bytes.
    pub text: Vec<u8>,
    /// For programs.
    pub json: Value,
}

impl Shown {
    fn line(text: impl ToString, json: Value) -> Self {
        let text = format!("{}\n", text.to_string()).into_bytes();
        Self { text, json }
    }

    fn raw(bytes: &[u8]) -> Self {
        Self {
            text: bytes.to_vec(),
            json: json_bytes(bytes),
        }
    }

    fn lines<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let (mut text, mut json) = (Vec::new(), Vec::new());
        for line in lines {
            text.extend_from_slice(line_text(line).as_bytes());
            text.push(b'\n');
            json.push(json_bytes(line));
        }
        Self {
            text,
            json: Value::Array(json),
        }
    }
}

/// A state machine that can be talked to in words.
pub trait Spoken: StateMachine {
    /// Its commands, for an error.
    const COMMANDS: &'static str;

    /// The command, where the words are one.
    fn parse(words: &[&str]) -> Option<Asked<Self::Command>>;

    /// A command's output.
    fn show_output(output: Self::Output) -> Shown;

    /// The state, or a part of it; none where there is nothing to show.
    fn show_state(&self, part: Option<&str>) -> Option<Shown>;
}

fn blob(text: &str) -> Blob {
    Blob::from(text.as_bytes().to_vec())
}

fn state<C>() -> Asked<C> {
    Asked::State { part: None }
}

impl Spoken for Register {
    const COMMANDS: &'static str = "get, set VALUE, cas OLD NEW, create NEW, remove OLD, delete";

    fn parse(words: &[&str]) -> Option<Asked<register::Command>> {
        let swap = |expected: Option<&str>, new: Option<&str>| register::Command::CompareAndSwap {
            expected: expected.map(blob),
            new: new.map(blob),
        };
        Some(Asked::Command(match *words {
            ["get"] => return Some(state()),
            ["set", value] => register::Command::Set(blob(value)),
            ["cas", old, new] => swap(Some(old), Some(new)),
            ["create", new] => swap(None, Some(new)),
            ["remove", old] => swap(Some(old), None),
            ["delete"] => register::Command::Delete,
            _ => return None,
        }))
    }

    fn show_output((): ()) -> Shown {
        Shown {
            text: Vec::new(),
            json: Value::Null,
        }
    }

    fn show_state(&self, _: Option<&str>) -> Option<Shown> {
        self.value().map(|value| Shown::raw(&value.0))
    }
}

impl Spoken for Counter {
    const COMMANDS: &'static str = "get, add N, add-within N MIN MAX, set N (whole numbers)";

    fn parse(words: &[&str]) -> Option<Asked<counter::Command>> {
        Some(Asked::Command(match *words {
            ["get"] => return Some(state()),
            ["add", amount] => counter::Command::Add(amount.parse().ok()?),
            ["add-within", amount, min, max] => counter::Command::AddWithin {
                amount: amount.parse().ok()?,
                min: min.parse().ok()?,
                max: max.parse().ok()?,
            },
            ["set", value] => counter::Command::Set(value.parse().ok()?),
            _ => return None,
        }))
    }

    fn show_output(value: i64) -> Shown {
        Shown::line(value, json!(value))
    }

    fn show_state(&self, _: Option<&str>) -> Option<Shown> {
        Some(Self::show_output(self.value()))
    }
}

impl Spoken for List {
    const COMMANDS: &'static str = "get, push ITEM, push-trimmed MAX ITEM, pop, trim MAX";

    fn parse(words: &[&str]) -> Option<Asked<list::Command>> {
        Some(Asked::Command(match *words {
            ["get"] => return Some(state()),
            ["push", item] => list::Command::Push(blob(item)),
            ["push-trimmed", max, item] => list::Command::PushTrimmed {
                item: blob(item),
                max: max.parse().ok()?,
            },
            ["pop"] => list::Command::PopFront,
            ["trim", max] => list::Command::TrimTo(max.parse().ok()?),
            _ => return None,
        }))
    }

    fn show_output(output: list::Output) -> Shown {
        match output {
            list::Output::Length(length) => Shown::line(length, json!({ "length": length })),
            list::Output::Popped(None) => Shown {
                text: Vec::new(),
                json: json!({ "popped": null }),
            },
            list::Output::Popped(Some(item)) => {
                Shown::line(line_text(&item.0), json!({ "popped": json_bytes(&item.0) }))
            }
        }
    }

    fn show_state(&self, _: Option<&str>) -> Option<Shown> {
        Some(Shown::lines(self.items().map(|item| &item.0[..])))
    }
}

impl Spoken for Set {
    const COMMANDS: &'static str = "get, add MEMBER, add-within MAX MEMBER, remove MEMBER, clear";

    fn parse(words: &[&str]) -> Option<Asked<set::Command>> {
        Some(Asked::Command(match *words {
            ["get"] => return Some(state()),
            ["add", member] => set::Command::Add(member.as_bytes().to_vec()),
            ["add-within", max, member] => set::Command::AddWithin {
                member: member.as_bytes().to_vec(),
                max: max.parse().ok()?,
            },
            ["remove", member] => set::Command::Remove(member.as_bytes().to_vec()),
            ["clear"] => set::Command::Clear,
            _ => return None,
        }))
    }

    fn show_output(changed: bool) -> Shown {
        Shown::line(changed, json!({ "changed": changed }))
    }

    fn show_state(&self, _: Option<&str>) -> Option<Shown> {
        Some(Shown::lines(self.members()))
    }
}

impl Spoken for Map {
    const COMMANDS: &'static str = "get [FIELD], put FIELD VALUE, put-if-absent FIELD VALUE, \
         cas FIELD OLD NEW, remove FIELD, remove-if FIELD OLD";

    fn parse(words: &[&str]) -> Option<Asked<map::Command>> {
        let swap = |field: &str, old: &str, new: Option<&str>| map::Command::CompareAndSwap {
            field: field.to_owned(),
            expected: Some(blob(old)),
            new: new.map(blob),
        };
        Some(Asked::Command(match *words {
            ["get"] => return Some(state()),
            ["get", field] => {
                let part = Some(field.to_owned());
                return Some(Asked::State { part });
            }
            ["put", field, value] => map::Command::Put {
                field: field.to_owned(),
                value: blob(value),
            },
            ["put-if-absent", field, value] => map::Command::PutIfAbsent {
                field: field.to_owned(),
                value: blob(value),
            },
            ["cas", field, old, new] => swap(field, old, Some(new)),
            ["remove-if", field, old] => swap(field, old, None),
            ["remove", field] => map::Command::Remove {
                field: field.to_owned(),
            },
            _ => return None,
        }))
    }

    fn show_output(had_value: bool) -> Shown {
        Shown::line(had_value, json!({ "had_value": had_value }))
    }

    fn show_state(&self, field: Option<&str>) -> Option<Shown> {
        if let Some(field) = field {
            return self.get(field).map(|value| Shown::raw(&value.0));
        }
        let line = |(field, value): (&str, &Blob)| {
            format!("{}\t{}\n", line_text(field.as_bytes()), line_text(&value.0))
        };
        let json = |(field, value): (&str, &Blob)| (field.to_owned(), json_bytes(&value.0));
        Some(Shown {
            text: self.fields().map(line).collect::<String>().into_bytes(),
            json: Value::Object(self.fields().map(json).collect()),
        })
    }
}
