//! Histories as JSON lines, one operation each, for other checkers and from real
//! clusters: `{client, kind, key, arg, ret, start_ns, end_ns | null, outcome}`.
//!
//! | kind | arg | ret |
//! |---|---|---|
//! | `read` | null | the value, or null |
//! | `write` | the value, unique within its key | null |
//! | `execute` | a number, which a counter adds; or `{"counter": ..}`, `{"list": ..}`, `{"register": ..}` | what the command puts out; its reason, where `outcome` is `conflict` |
//! | `read_state` | null | the machine's state in hexadecimal digits, or null |
//!
//! `outcome` is one of these; anything else is refused, for a checker that takes a word for
//! "without effect" that it doesn't know forgets an answer.
//!
//! | outcome | the operation |
//! |---|---|
//! | `ok` | has the result `ret` |
//! | `conflict` | is an `execute` whose command was refused by the object, for the reason `ret` |
//! | `busy`, `unavailable`, `invalid`, `refused` | surely took no effect |
//! | `unknown` | may take effect at any later time |
//!
//! `end_ns` is null where an operation may take effect at any later time, whatever its
//! outcome is called.

use std::collections::BTreeMap;

use serde_json::error::Category;
use serde_json::{Map, Value, json};

use super::history::{Answer, Ask, Entry, History};
use super::strict_json::Strict;
use crate::machine::StateMachine;
use crate::machine::builtin::{Counter, List, Register, counter, list, register};
use crate::{Blob, HistoryLine, Timestamp, codec};

/// Outcomes of operations that surely took no effect.
const WITHOUT_EFFECT: [&str; 4] = ["busy", "unavailable", "invalid", "refused"];

/// A line that is no operation. Nothing was kept of the file.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct JsonError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub reason: String,
}

/// One line per operation, by key and then in the order in which they began.
pub fn write_json_lines(history: &History) -> String {
    let mut text = Vec::new();
    for (key, of_key) in &history.keys {
        for (entry, client) in of_key.entries.iter().zip(&of_key.clients) {
            line(key, *client, entry)
                .write(&mut text)
                .expect("memory takes all");
        }
    }
    String::from_utf8(text).expect("JSON is text")
}

/// One operation as it was read, `values` being what stood for each number.
pub(super) fn entry_json(key: &str, client: u32, entry: &Entry, values: &[String]) -> String {
    let mut line = line(key, client, entry);
    let read = |number: &Value| {
        let text = values.get(number.as_u64()? as usize)?;
        serde_json::from_str(text).ok()
    };
    match &entry.ask {
        Ask::Write(_) => line.arg = read(&line.arg).unwrap_or(line.arg),
        Ask::Read => line.ret = read(&line.ret).unwrap_or(line.ret),
        Ask::Execute { .. } | Ask::ReadState => {}
    }
    let mut text = Vec::new();
    line.write(&mut text).expect("memory takes all");
    String::from_utf8_lossy(text.trim_ascii_end()).into_owned()
}

fn line<'a>(key: &'a str, client: u32, entry: &Entry) -> HistoryLine<'a> {
    let (kind, arg) = match &entry.ask {
        Ask::Read => ("read", Value::Null),
        Ask::Write(value) => ("write", json!(value)),
        Ask::Execute { machine, command } => ("execute", command_json(machine, command)),
        Ask::ReadState => ("read_state", Value::Null),
    };
    let (ret, outcome) = match &entry.answer {
        Answer::Unknown => (Value::Null, "unknown"),
        Answer::NotApplied => (Value::Null, "unavailable"),
        Answer::Value(found) => (found.map_or(Value::Null, |(value, _)| json!(value)), "ok"),
        Answer::Written(_) => (Value::Null, "ok"),
        Answer::Executed(Ok(output)) => (output_json(&entry.ask, output), "ok"),
        Answer::Executed(Err(reason)) => (json!(reason), "conflict"),
        Answer::State(state) => (
            state.as_ref().map_or(Value::Null, |s| json!(hex(&s.0))),
            "ok",
        ),
    };
    HistoryLine {
        client,
        kind,
        key,
        arg,
        ret,
        start_ns: entry.invoked,
        end_ns: entry.returned,
        outcome,
    }
}

fn decoded<M: bincode::Decode<()>>(bytes: &Blob) -> M {
    codec::decode(&bytes.0, bytes.0.len()).expect("a history holds what was encoded")
}

fn blob_json(blob: Option<&Blob>) -> Value {
    blob.map_or(Value::Null, |blob| json!(hex(&blob.0)))
}

fn command_json(machine: &str, command: &Blob) -> Value {
    let command = match machine {
        Counter::NAME => match decoded(command) {
            counter::Command::Add(amount) => json!({ "add": amount }),
            counter::Command::AddWithin { amount, min, max } => {
                json!({ "add": amount, "min": min, "max": max })
            }
            counter::Command::Set(value) => json!({ "set": value }),
        },
        List::NAME => match decoded(command) {
            list::Command::Push(item) => json!({ "push": hex(&item.0) }),
            list::Command::PushTrimmed { item, max } => {
                json!({ "push": hex(&item.0), "max": max })
            }
            list::Command::PopFront => json!("pop"),
            list::Command::TrimTo(max) => json!({ "trim": max }),
        },
        Register::NAME => match decoded(command) {
            register::Command::Set(value) => json!({ "set": hex(&value.0) }),
            register::Command::CompareAndSwap { expected, new } => {
                json!({ "expected": blob_json(expected.as_ref()), "new": blob_json(new.as_ref()) })
            }
            register::Command::Delete => json!("delete"),
        },
        _ => json!(hex(&command.0)),
    };
    json!({ machine: command })
}

fn output_json(ask: &Ask, output: &Blob) -> Value {
    match ask {
        Ask::Execute { machine, .. } if *machine == Counter::NAME => {
            json!(decoded::<i64>(output))
        }
        Ask::Execute { machine, .. } if *machine == List::NAME => match decoded(output) {
            list::Output::Length(length) => json!({ "length": length }),
            list::Output::Popped(item) => json!({ "popped": blob_json(item.as_ref()) }),
        },
        _ => Value::Null,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads what [`write_json_lines`] or `vivace bench --history` wrote.
///
/// # Errors
/// The first line that is no operation.
pub fn read_json_lines(text: &str) -> Result<History, JsonError> {
    let mut reader = HistoryReader::default();
    reader.read(text)?;
    Ok(reader.finish())
}

/// Reads histories of several clients of the same objects into one. Their times must be
/// of one clock.
#[derive(Default)]
pub struct HistoryReader {
    history: History,
    /// Numbers for values of any form.
    values: BTreeMap<String, u64>,
    /// By key.
    sorts: BTreeMap<String, Sort>,
}

/// What a key's operations show it to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Register,
    /// A machine, nobody knows of what kind.
    State,
    Machine(&'static str),
}

impl Sort {
    fn of(ask: &Ask) -> Self {
        match ask {
            Ask::Read | Ask::Write(_) => Self::Register,
            Ask::ReadState => Self::State,
            Ask::Execute { machine, .. } => Self::Machine(machine),
        }
    }

    fn and(self, other: Self) -> Result<Self, String> {
        match (self, other) {
            (one, another) if one == another => Ok(one),
            (Self::State, Self::Machine(name)) | (Self::Machine(name), Self::State) => {
                Ok(Self::Machine(name))
            }
            (Self::Machine(one), Self::Machine(another)) => {
                Err(format!("has commands of two machines, {one} and {another}"))
            }
            _ => Err(
                "has reads or writes of a register beside commands or states of a machine, \
                 whose state is read by read_state"
                    .into(),
            ),
        }
    }
}

impl HistoryReader {
    /// Adds all lines of `text`.
    ///
    /// # Errors
    /// The first line that is no operation; those before it stay.
    pub fn read(&mut self, text: &str) -> Result<(), JsonError> {
        for (i, text) in text.lines().enumerate() {
            if text.trim().is_empty() {
                continue;
            }
            self.read_line(text).map_err(|reason| JsonError {
                line: i + 1,
                reason,
            })?;
        }
        Ok(())
    }

    /// All that was read.
    pub fn finish(mut self) -> History {
        let mut values = vec![String::new(); self.values.len()];
        for (text, number) in self.values {
            values[number as usize] = text;
        }
        self.history.values = Some(values);
        self.history
    }
}

type Fields = Map<String, Value>;

fn field<'a>(fields: &'a Fields, name: &str) -> Result<&'a Value, String> {
    fields
        .get(name)
        .ok_or_else(|| format!("there is no field {name:?}"))
}

fn text<'a>(fields: &'a Fields, name: &str) -> Result<&'a str, String> {
    let value = field(fields, name)?;
    value
        .as_str()
        .ok_or_else(|| format!("{name} must be a string, not {value}"))
}

fn nanoseconds(fields: &Fields, name: &str) -> Result<u64, String> {
    let value = field(fields, name)?;
    value
        .as_u64()
        .ok_or_else(|| format!("{name} must be a number of nanoseconds, not {value}"))
}

impl HistoryReader {
    fn read_line(&mut self, line: &str) -> Result<(), String> {
        let Strict(line) = serde_json::from_str(line).map_err(|error| match error.classify() {
            Category::Data => error.to_string(),
            Category::Io | Category::Syntax | Category::Eof => format!("is no JSON: {error}"),
        })?;
        let Value::Object(fields) = line else {
            return Err(format!("must be a JSON object, not {line}"));
        };
        let client = field(&fields, "client")?
            .as_u64()
            .and_then(|client| u32::try_from(client).ok())
            .ok_or("client must be a number below 2^32")?;
        let key = text(&fields, "key")?;
        let invoked = nanoseconds(&fields, "start_ns")?;
        let mut returned = match field(&fields, "end_ns")? {
            Value::Null => None,
            _ => Some(nanoseconds(&fields, "end_ns")?),
        };
        if returned.is_some_and(|returned| returned < invoked) {
            return Err("end_ns is before start_ns".into());
        }
        let outcome = text(&fields, "outcome")?;
        if returned.is_none() && matches!(outcome, "ok" | "conflict") {
            return Err(format!("outcome is {outcome:?}, but end_ns is null"));
        }
        let (arg, ret) = (field(&fields, "arg")?, field(&fields, "ret")?);
        let ask = self.ask(text(&fields, "kind")?, arg)?;
        let is_unheard = outcome == "unknown" || WITHOUT_EFFECT.contains(&outcome);
        if is_unheard && !ret.is_null() {
            return Err(format!(
                "outcome is {outcome:?}, but ret is {ret}: nobody heard it"
            ));
        }
        let answer = match (outcome, returned) {
            ("ok", _) => self.answer(&ask, ret)?,
            ("conflict", _) => Answer::Executed(Err(ret
                .as_str()
                .ok_or("ret must tell the conflict's reason")?
                .into())),
            ("unknown", _) => {
                returned = None;
                Answer::Unknown
            }
            (outcome, _) if !WITHOUT_EFFECT.contains(&outcome) => {
                return Err(format!(
                    "outcome must be ok, conflict, unknown, {}, not {outcome:?}",
                    WITHOUT_EFFECT.join(", ")
                ));
            }
            (_, None) => Answer::Unknown,
            (_, Some(_)) => Answer::NotApplied,
        };
        if matches!(answer, Answer::Executed(_)) && !matches!(ask, Ask::Execute { .. }) {
            return Err("only an execute can conflict".into());
        }
        let sort = Sort::of(&ask);
        let before = self.sorts.get(key).copied().unwrap_or(sort);
        let sort = before
            .and(sort)
            .map_err(|why| format!("key {key:?} {why}"))?;
        self.sorts.insert(key.to_owned(), sort);
        let of_key = self.history.keys.entry(key.to_owned()).or_default();
        of_key.entries.push(Entry {
            invoked,
            returned,
            ask,
            answer,
        });
        of_key.clients.push(client);
        Ok(())
    }

    fn value(&mut self, value: &Value) -> Result<u64, String> {
        if value.is_f64() {
            return Err(format!(
                "{value} can't be told from its neighbours: give whole numbers below 2^64, or \
                 strings"
            ));
        }
        let next = self.values.len() as u64;
        Ok(*self.values.entry(value.to_string()).or_insert(next))
    }

    fn ask(&mut self, kind: &str, arg: &Value) -> Result<Ask, String> {
        Ok(match kind {
            "read" | "read_state" if !arg.is_null() => {
                return Err(format!("arg of a {kind} must be null, not {arg}"));
            }
            "read" => Ask::Read,
            "write" if arg.is_null() => return Err("arg must be the value written".into()),
            "write" => Ask::Write(self.value(arg)?),
            "read_state" => Ask::ReadState,
            "execute" => {
                let (machine, command) = command(arg)?;
                let command = command.into();
                Ask::Execute { machine, command }
            }
            other => {
                return Err(format!(
                    "kind must be read, write, execute or read_state, not {other:?}"
                ));
            }
        })
    }

    fn answer(&mut self, ask: &Ask, ret: &Value) -> Result<Answer, String> {
        Ok(match ask {
            Ask::Read if ret.is_null() => Answer::Value(None),
            Ask::Read => Answer::Value(Some((self.value(ret)?, Timestamp::ZERO))),
            Ask::Write(_) if !ret.is_null() => {
                return Err(format!("ret of a write must be null, not {ret}"));
            }
            Ask::Write(_) => Answer::Written(Timestamp::ZERO),
            Ask::ReadState if ret.is_null() => Answer::State(None),
            Ask::ReadState => Answer::State(Some(unhex(ret)?)),
            Ask::Execute { machine, .. } => Answer::Executed(Ok(output(machine, ret)?.into())),
        })
    }
}

fn unhex(value: &Value) -> Result<Blob, String> {
    let wrong = || format!("{value} must be a string of pairs of hexadecimal digits");
    let text = value.as_str().ok_or_else(wrong)?;
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !text.len().is_multiple_of(2) || !is_hex {
        return Err(wrong());
    }
    let bytes: Result<Vec<u8>, _> = (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16))
        .collect();
    Ok(bytes.map_err(|_| wrong())?.into())
}

fn integer(value: &Value) -> Result<i64, String> {
    value
        .as_i64()
        .ok_or_else(|| format!("{value} must be a whole number"))
}

fn command(arg: &Value) -> Result<(&'static str, Vec<u8>), String> {
    if arg.is_number() {
        let add = counter::Command::Add(integer(arg)?);
        return Ok((Counter::NAME, codec::encode(&add)));
    }
    let wrong = || format!("arg must be a number or name one machine and its command, not {arg}");
    let (machine, command) = arg
        .as_object()
        .filter(|of| of.len() == 1)
        .and_then(|of| of.iter().next())
        .ok_or_else(wrong)?;
    let names: &[&str] = match machine.as_str() {
        Counter::NAME => &["add", "min", "max", "set"],
        List::NAME => &["push", "max", "trim"],
        Register::NAME => &["set", "expected", "new"],
        _ => return Err(wrong()),
    };
    let mut given = command.as_object().into_iter().flat_map(|of| of.keys());
    if let Some(other) = given.find(|name| !names.contains(&name.as_str())) {
        return Err(format!(
            "{other:?} is no part of a {machine}'s command; {} are",
            names.join(", ")
        ));
    }
    let part = |name: &str| command.get(name);
    let maybe = |value: &Value| match value {
        Value::Null => Ok(None),
        _ => unhex(value).map(Some),
    };
    match machine.as_str() {
        Counter::NAME => {
            let command = match (part("add"), part("min"), part("max"), part("set")) {
                (Some(add), None, None, None) => counter::Command::Add(integer(add)?),
                (Some(add), Some(min), Some(max), None) => counter::Command::AddWithin {
                    amount: integer(add)?,
                    min: integer(min)?,
                    max: integer(max)?,
                },
                (None, None, None, Some(set)) => counter::Command::Set(integer(set)?),
                _ => return Err(wrong()),
            };
            Ok((Counter::NAME, codec::encode(&command)))
        }
        List::NAME => {
            let bound = |max: &Value| {
                max.as_u64()
                    .and_then(|max| u32::try_from(max).ok())
                    .ok_or_else(wrong)
            };
            let command = match (part("push"), part("max"), part("trim")) {
                (Some(item), None, None) => list::Command::Push(unhex(item)?),
                (Some(item), Some(max), None) => list::Command::PushTrimmed {
                    item: unhex(item)?,
                    max: bound(max)?,
                },
                (None, None, Some(max)) => list::Command::TrimTo(bound(max)?),
                _ if command == "pop" => list::Command::PopFront,
                _ => return Err(wrong()),
            };
            Ok((List::NAME, codec::encode(&command)))
        }
        Register::NAME => {
            let command = match (part("set"), part("expected"), part("new")) {
                (Some(value), None, None) => register::Command::Set(unhex(value)?),
                (None, Some(expected), Some(new)) => register::Command::CompareAndSwap {
                    expected: maybe(expected)?,
                    new: maybe(new)?,
                },
                _ if command == "delete" => register::Command::Delete,
                _ => return Err(wrong()),
            };
            Ok((Register::NAME, codec::encode(&command)))
        }
        _ => Err(wrong()),
    }
}

fn output(machine: &str, ret: &Value) -> Result<Vec<u8>, String> {
    if machine == Counter::NAME {
        return Ok(codec::encode(&integer(ret)?));
    }
    if machine == Register::NAME && !ret.is_null() {
        return Err(format!(
            "ret of a register's command must be null, not {ret}; one that the register \
             refused has outcome conflict"
        ));
    }
    if machine == Register::NAME {
        return Ok(codec::encode(&()));
    }
    let output = match (ret.get("length"), ret.get("popped")) {
        (Some(length), None) => list::Output::Length(length.as_u64().ok_or("length is no number")?),
        (None, Some(Value::Null)) => list::Output::Popped(None),
        (None, Some(item)) => list::Output::Popped(Some(unhex(item)?)),
        _ => {
            return Err(format!(
                "ret must tell a length or what was popped, not {ret}"
            ));
        }
    };
    Ok(codec::encode(&output))
}
