//! The built-in state machines: what each command does, that a conflict changes
//! nothing, and that each agrees with a plain model over any run of commands.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use proptest::prelude::*;
use vivace_core::Blob;
use vivace_core::codec::{self, MESSAGE_BYTES_MAX};
use vivace_core::machine::builtin::{
    Counter, ENTRIES_MAX, List, Map, Register, STATE_BYTES_MAX, Set, counter, list, map, register,
    set,
};
use vivace_core::machine::{ApplyError, Conflict, Machines, StateMachine};

fn blob(bytes: impl Into<Vec<u8>>) -> Blob {
    Blob::from(bytes.into())
}

fn after<M: StateMachine>(commands: impl IntoIterator<Item = M::Command>) -> M
where
    M::Output: Debug,
{
    let mut machine = M::default();
    for command in commands {
        machine.apply(command).expect("no conflict is expected");
    }
    machine
}

/// Applies a command that must conflict, and returns its reason.
fn conflict<M>(machine: &mut M, command: M::Command) -> String
where
    M: StateMachine + Clone + PartialEq + Debug,
    M::Output: Debug,
{
    let before = machine.clone();
    let Conflict(reason) = machine.apply(command).expect_err("a conflict is expected");
    assert_eq!(*machine, before, "a conflict leaves the state unchanged");
    reason
}

fn put(field: impl Into<String>, value: impl Into<Vec<u8>>) -> map::Command {
    map::Command::Put {
        field: field.into(),
        value: blob(value),
    }
}

#[test]
fn every_builtin_machine_is_registered_under_its_name() {
    let names: Vec<_> = Machines::builtin().names().collect();
    assert_eq!(names, ["counter", "list", "map", "register", "set"]);
}

#[test]
fn an_erased_conflict_reaches_the_caller_as_a_conflict() {
    let full = codec::encode(&after::<Counter>([counter::Command::Set(i64::MAX)]));
    let add = codec::encode(&counter::Command::Add(1));
    let applied = Machines::builtin().apply("counter", Some(&full.into()), &add.into());
    assert!(matches!(applied, Some(Err(ApplyError::Conflict(_)))));
}

#[test]
fn register_swaps_only_from_the_expected_value() {
    let mut lock = Register::default();
    let take = |owner: &str| register::Command::CompareAndSwap {
        expected: None,
        new: Some(blob(owner)),
    };
    assert_eq!(lock.apply(take("alice")), Ok(()));
    assert_eq!(
        conflict(&mut lock, take("bob")),
        r#"expected nothing, found "alice""#
    );
    let release = register::Command::CompareAndSwap {
        expected: Some(blob("alice")),
        new: None,
    };
    assert_eq!(lock.apply(release.clone()), Ok(()));
    assert_eq!(lock.value(), None);
    assert_eq!(
        conflict(&mut lock, release),
        r#"expected "alice", found nothing"#
    );
}

#[test]
fn a_conflict_over_a_long_value_stays_short() {
    let mut register = after::<Register>([register::Command::Set(blob(vec![b'x'; 10_000]))]);
    let reason = conflict(
        &mut register,
        register::Command::CompareAndSwap {
            expected: None,
            new: None,
        },
    );
    assert!(reason.ends_with("(10000 bytes)"), "{reason}");
    assert!(reason.len() < 200, "{reason}");
}

#[test]
fn register_holds_the_largest_state_and_no_more() {
    let set = |bytes| register::Command::Set(blob(vec![0; bytes]));
    let mut register = after::<Register>([set(STATE_BYTES_MAX)]);
    conflict(&mut register, set(STATE_BYTES_MAX + 1));
    assert_eq!(register.apply(register::Command::Delete), Ok(()));
    assert_eq!(register, Register::default());
}

#[test]
fn counter_never_wraps_around() {
    let mut counter = after::<Counter>([counter::Command::Set(i64::MAX - 1)]);
    assert_eq!(counter.apply(counter::Command::Add(1)), Ok(i64::MAX));
    conflict(&mut counter, counter::Command::Add(1));
    let mut counter = after::<Counter>([counter::Command::Set(i64::MIN)]);
    conflict(&mut counter, counter::Command::Add(-1));
}

#[test]
fn counter_stays_within_the_commands_limits() {
    let seats = |amount| counter::Command::AddWithin {
        amount,
        min: 0,
        max: 2,
    };
    let mut counter = Counter::default();
    assert_eq!(counter.apply(seats(2)), Ok(2));
    assert!(conflict(&mut counter, seats(1)).starts_with("the counter is 2"));
    assert_eq!(counter.apply(seats(-2)), Ok(0));
    conflict(&mut counter, seats(-1));
}

#[test]
fn a_trimmed_list_keeps_its_newest_items() {
    let push = |item: &str| list::Command::PushTrimmed {
        item: blob(item),
        max: 2,
    };
    let mut feed = after::<List>([push("a"), push("b")]);
    assert_eq!(feed.apply(push("c")), Ok(list::Output::Length(2)));
    let items: Vec<_> = feed.items().cloned().collect();
    assert_eq!(items, [blob("b"), blob("c")]);
}

#[test]
fn a_full_list_takes_an_item_only_where_trimming_makes_room() {
    let item = || blob(vec![7; list::ITEM_BYTES_MAX]);
    let full = STATE_BYTES_MAX / list::ITEM_BYTES_MAX;
    let mut list = after::<List>((0..full).map(|_| list::Command::Push(item())));
    conflict(&mut list, list::Command::Push(item()));
    let too_long = blob(vec![7; list::ITEM_BYTES_MAX + 1]);
    conflict(&mut List::default(), list::Command::Push(too_long));
    let trimmed = list::Command::PushTrimmed {
        item: item(),
        max: full as u32,
    };
    assert_eq!(list.apply(trimmed), Ok(list::Output::Length(full as u64)));
}

#[test]
fn a_trimmed_push_that_conflicts_drops_nothing() {
    // One byte goes and a whole item comes: still too much.
    let big = || list::Command::Push(blob(vec![7; list::ITEM_BYTES_MAX]));
    let full = STATE_BYTES_MAX / list::ITEM_BYTES_MAX;
    let byte = || [list::Command::Push(blob("x"))];
    let pushes = byte()
        .into_iter()
        .chain((1..full).map(|_| big()))
        .chain(byte());
    let mut list = after::<List>(pushes);
    let trimmed = list::Command::PushTrimmed {
        item: blob(vec![7; list::ITEM_BYTES_MAX]),
        max: full as u32 + 1,
    };
    conflict(&mut list, trimmed);
}

#[test]
fn collections_hold_no_more_entries_than_the_limit() {
    // Decoded, for filling them one by one takes quadratic time.
    let name = |n: usize| n.to_le_bytes().to_vec();
    let items: Vec<Blob> = (0..ENTRIES_MAX).map(|n| blob(name(n))).collect();
    let mut list: List =
        codec::decode(&codec::encode(&items), MESSAGE_BYTES_MAX).expect("laid out as items");
    conflict(&mut list, list::Command::Push(blob("one more")));

    let members: BTreeSet<Vec<u8>> = (0..ENTRIES_MAX).map(name).collect();
    let mut set: Set =
        codec::decode(&codec::encode(&members), MESSAGE_BYTES_MAX).expect("laid out as members");
    conflict(&mut set, set::Command::Add(b"one more".to_vec()));
    assert_eq!(set.apply(set::Command::Add(name(0))), Ok(false));

    let fields: BTreeMap<String, Blob> = (0..ENTRIES_MAX)
        .map(|n| (n.to_string(), blob("v")))
        .collect();
    let mut map: Map =
        codec::decode(&codec::encode(&fields), MESSAGE_BYTES_MAX).expect("laid out as fields");
    conflict(&mut map, put("one more", "w"));
    assert_eq!(map.apply(put("0", "w")), Ok(true));
}

#[test]
fn set_and_map_refuse_names_beyond_their_limits() {
    let long = vec![b'm'; set::MEMBER_BYTES_MAX + 1];
    conflict(&mut Set::default(), set::Command::Add(long));
    conflict(&mut Map::default(), put("", "v"));
    conflict(
        &mut Map::default(),
        put("f".repeat(map::FIELD_BYTES_MAX + 1), "v"),
    );
}

#[test]
fn a_map_refuses_the_field_that_would_overfill_it() {
    let half = vec![0; STATE_BYTES_MAX / 2];
    let mut map = after::<Map>([put("a", half.clone())]);
    conflict(&mut map, put("b", half.clone()));
    assert_eq!(
        map.apply(put("a", half)),
        Ok(true),
        "replacing needs no room"
    );
}

#[test]
fn equal_sets_and_maps_have_equal_encodings() {
    let set_of = |members: &[&str]| {
        let add = |member: &&str| set::Command::Add(member.as_bytes().to_vec());
        codec::encode(&after::<Set>(members.iter().map(add)))
    };
    assert_eq!(set_of(&["a", "b", "c"]), set_of(&["c", "a", "b"]));
    let map_of =
        |fields: &[&str]| codec::encode(&after::<Map>(fields.iter().map(|&field| put(field, "v"))));
    assert_eq!(map_of(&["a", "b", "c"]), map_of(&["c", "a", "b"]));
}

/// Runs commands on a machine, encoded and decoded after each as in a store, and
/// compares every output and state with a model's. A model puts out none for a conflict.
fn agrees_with<M, Model>(
    commands: Vec<M::Command>,
    mut model: Model,
    step: impl Fn(&mut Model, &M::Command) -> Option<M::Output>,
    state: impl Fn(&M) -> Model,
) -> Result<(), TestCaseError>
where
    M: StateMachine + Clone + PartialEq + Debug,
    M::Output: PartialEq + Debug,
    Model: PartialEq + Debug,
{
    let mut machine = M::default();
    for command in commands {
        let expected = step(&mut model, &command);
        prop_assert_eq!(machine.apply(command).ok(), expected);
        machine = codec::decode(&codec::encode(&machine), MESSAGE_BYTES_MAX)
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&state(&machine), &model);
    }
    Ok(())
}

fn short() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0u8..3, 0..2)
}

fn short_blob() -> impl Strategy<Value = Blob> {
    short().prop_map(Blob::from)
}

fn register_command() -> impl Strategy<Value = register::Command> {
    use register::Command::{CompareAndSwap, Delete, Set};
    let either = || prop::option::of(short_blob());
    prop_oneof![
        short_blob().prop_map(Set),
        (either(), either()).prop_map(|(expected, new)| CompareAndSwap { expected, new }),
        Just(Delete),
    ]
}

fn register_model(model: &mut Option<Blob>, command: &register::Command) -> Option<()> {
    match command {
        register::Command::Set(value) => *model = Some(value.clone()),
        register::Command::CompareAndSwap { expected, new } => {
            (model == expected).then_some(())?;
            model.clone_from(new);
        }
        register::Command::Delete => *model = None,
    }
    Some(())
}

fn counter_command() -> impl Strategy<Value = counter::Command> {
    use counter::Command::{Add, AddWithin, Set};
    prop_oneof![
        any::<i64>().prop_map(Add),
        (-3i64..4, -5i64..1, 0i64..6).prop_map(|(amount, min, max)| AddWithin { amount, min, max }),
        (-4i64..5).prop_map(Set),
    ]
}

fn counter_model(model: &mut i64, command: &counter::Command) -> Option<i64> {
    let wide = match *command {
        counter::Command::Add(amount) => i128::from(*model) + i128::from(amount),
        counter::Command::AddWithin { amount, min, max } => {
            let sum = i128::from(*model) + i128::from(amount);
            (sum >= i128::from(min) && sum <= i128::from(max)).then_some(sum)?
        }
        counter::Command::Set(value) => i128::from(value),
    };
    *model = i64::try_from(wide).ok()?;
    Some(*model)
}

fn list_command() -> impl Strategy<Value = list::Command> {
    use list::Command::{PopFront, Push, PushTrimmed, TrimTo};
    prop_oneof![
        short_blob().prop_map(Push),
        (short_blob(), 0u32..4).prop_map(|(item, max)| PushTrimmed { item, max }),
        Just(PopFront),
        (0u32..4).prop_map(TrimTo),
    ]
}

fn list_model(model: &mut Vec<Blob>, command: &list::Command) -> Option<list::Output> {
    let keep = match command {
        list::Command::Push(item) => {
            model.push(item.clone());
            usize::MAX
        }
        list::Command::PushTrimmed { item, max } => {
            model.push(item.clone());
            *max as usize
        }
        list::Command::PopFront => {
            let popped = (!model.is_empty()).then(|| model.remove(0));
            return Some(list::Output::Popped(popped));
        }
        list::Command::TrimTo(max) => *max as usize,
    };
    while model.len() > keep {
        model.remove(0);
    }
    Some(list::Output::Length(model.len() as u64))
}

fn set_command() -> impl Strategy<Value = set::Command> {
    use set::Command::{Add, AddWithin, Clear, Remove};
    prop_oneof![
        4 => short().prop_map(Add),
        4 => (short(), 0u32..4).prop_map(|(member, max)| AddWithin { member, max }),
        4 => short().prop_map(Remove),
        1 => Just(Clear),
    ]
}

fn set_model(model: &mut BTreeSet<Vec<u8>>, command: &set::Command) -> Option<bool> {
    Some(match command {
        set::Command::Add(member) => model.insert(member.clone()),
        set::Command::AddWithin { member, max } => {
            let fits = model.contains(member) || model.len() < *max as usize;
            fits.then(|| model.insert(member.clone()))?
        }
        set::Command::Remove(member) => model.remove(member),
        set::Command::Clear => {
            let had_members = !model.is_empty();
            model.clear();
            had_members
        }
    })
}

fn map_command() -> impl Strategy<Value = map::Command> {
    use map::Command::{CompareAndSwap, PutIfAbsent, Remove};
    let either = || prop::option::of(short_blob());
    prop_oneof![
        ("[abc]", short()).prop_map(|(field, value)| put(field, value)),
        ("[abc]", short_blob()).prop_map(|(field, value)| PutIfAbsent { field, value }),
        ("[abc]", either(), either()).prop_map(|(field, expected, new)| CompareAndSwap {
            field,
            expected,
            new
        }),
        "[abc]".prop_map(|field| Remove { field }),
    ]
}

fn map_model(model: &mut BTreeMap<String, Blob>, command: &map::Command) -> Option<bool> {
    Some(match command {
        map::Command::Put { field, value } => model.insert(field.clone(), value.clone()).is_some(),
        map::Command::PutIfAbsent { field, value } => {
            (!model.contains_key(field)).then_some(())?;
            model.insert(field.clone(), value.clone()).is_some()
        }
        map::Command::CompareAndSwap {
            field,
            expected,
            new,
        } => {
            (model.get(field) == expected.as_ref()).then_some(())?;
            match new {
                Some(value) => model.insert(field.clone(), value.clone()).is_some(),
                None => model.remove(field).is_some(),
            }
        }
        map::Command::Remove { field } => model.remove(field).is_some(),
    })
}

proptest! {
    #[test]
    fn register_agrees_with_an_option(
        commands in prop::collection::vec(register_command(), 0..40)
    ) {
        agrees_with(commands, None, register_model, |register: &Register| {
            register.value().cloned()
        })?;
    }

    #[test]
    fn counter_agrees_with_wide_arithmetic(
        commands in prop::collection::vec(counter_command(), 0..40)
    ) {
        agrees_with(commands, 0, counter_model, |counter: &Counter| counter.value())?;
    }

    #[test]
    fn list_agrees_with_a_vector(commands in prop::collection::vec(list_command(), 0..40)) {
        agrees_with(commands, Vec::new(), list_model, |list: &List| {
            list.items().cloned().collect()
        })?;
    }

    #[test]
    fn set_agrees_with_a_tree(commands in prop::collection::vec(set_command(), 0..40)) {
        agrees_with(commands, BTreeSet::new(), set_model, |set: &Set| {
            set.members().map(<[u8]>::to_vec).collect()
        })?;
    }

    #[test]
    fn map_agrees_with_a_tree(commands in prop::collection::vec(map_command(), 0..40)) {
        agrees_with(commands, BTreeMap::new(), map_model, |map: &Map| {
            map.fields().map(|(field, value)| (field.to_owned(), value.clone())).collect()
        })?;
    }
}
