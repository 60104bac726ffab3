//! The properties, with pseudo-random inputs, which are the same in each run, and with the inputs
//! of the fuzzing corpus.

use std::collections::HashMap;
use std::fs;
use std::panic;
use std::path::Path;

use crate::property::{self, Property, Reached};
use crate::support::dice::Dice;

const INPUTS: usize = 5_000;

/// An example with a few random changes.
fn input(examples: &[&str], seed: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let mut input = examples[dice.roll(examples.len())].as_bytes().to_vec();
    for _ in 0..dice.roll(4) {
        mutate(&mut input, examples, &mut dice);
    }
    input
}

fn mutate(input: &mut Vec<u8>, examples: &[&str], dice: &mut Dice) {
    let place = slice(input, dice);
    let other = examples[dice.roll(examples.len())].as_bytes();
    match dice.roll(8) {
        0 if !place.is_empty() => input[place.start] = u8::try_from(dice.roll(256)).unwrap(),
        1 if !place.is_empty() => input[place.start] ^= 1 << dice.roll(8),
        2 => drop(input.drain(place)),
        3 => {
            // One in twenty is repeated until it exceeds limits.
            let times = if dice.roll(20) == 0 {
                9000 / (place.len() + 1)
            } else {
                2
            };
            let again = input[place.clone()].repeat(times);
            drop(input.splice(place, again));
        }
        4 => input.insert(place.start, b"\"*,/ %\t\r\n\0W?$"[dice.roll(13)]),
        _ => drop(input.splice(place.start..place.start, other[slice(other, dice)].to_vec())),
    }
}

/// A random range of `data`, more often short than long.
fn slice(data: &[u8], dice: &mut Dice) -> std::ops::Range<usize> {
    let start = dice.roll(data.len() + 1);
    let most = dice.roll(data.len() - start + 1);
    start..start + dice.roll(most + 1)
}

/// Checks the property with `data`, and prints `data` if the check fails.
#[track_caller]
fn hold(property: &Property, name: &str, data: &[u8]) -> Reached {
    panic::catch_unwind(|| (property.check)(data)).unwrap_or_else(|_| {
        panic!(
            "{} does not hold for {name}: {}",
            property.name,
            data.escape_ascii()
        )
    })
}

/// Checks a property with all seeds, and that at least this percentage of the inputs reaches each
/// of `places`.
fn seeds(name: &str, places: &[(&str, usize)]) {
    let property = property::ALL.iter().find(|property| property.name == name);
    let property = property.expect(name);
    let mut reached = HashMap::new();
    for seed in 0..INPUTS as u64 {
        let mut places = hold(
            property,
            &format!("seed {seed}"),
            &input(property.examples, seed),
        );
        places.sort_unstable();
        places.dedup();
        for place in places {
            *reached.entry(place).or_insert(0) += 100;
        }
    }
    for (place, percent) in places {
        let inputs = reached.get(place).copied().unwrap_or_default();
        assert!(
            inputs >= percent * INPUTS,
            "too few inputs reach {place}: {reached:?}"
        );
    }
}

#[test]
fn entity_tags() {
    let places = [
        ("well-formed", 20),
        ("partly malformed", 5),
        ("malformed", 10),
        ("any", 1),
    ];
    seeds("entity_tag", &places);
}

#[test]
fn http_dates() {
    seeds("http_date", &[("accepted", 20), ("rejected", 20)]);
}

#[test]
fn preconditions() {
    seeds(
        "precondition",
        &[("perform", 20), ("not modified", 5), ("failed", 20)],
    );
}

#[test]
fn targets() {
    let ids = [("an id", 20), ("no id", 5)];
    let targets = [
        ("a person", 5),
        ("malformed", 5),
        ("nothing", 20),
        ("persons", 1),
    ];
    seeds("target", &[&ids[..], &targets].concat());
}

#[test]
fn exchanges() {
    let performed = [("200", 20), ("201", 5), ("204", 5), ("304", 5)];
    let refused = [
        ("400", 5),
        ("404", 5),
        ("412", 5),
        ("415", 1),
        ("422", 1),
        ("428", 1),
        ("501", 1),
    ];
    seeds("exchange", &[&performed[..], &refused].concat());
}

#[test]
fn documents() {
    seeds("document", &[("accepted", 20), ("refused", 20)]);
}

#[test]
fn merges() {
    let performed = [("200", 20), ("nested", 10)];
    let refused = [("400", 5), ("413", 1), ("422", 1), ("no document", 5)];
    seeds("merge", &[&performed[..], &refused].concat());
}

#[test]
fn the_properties_hold_for_the_corpus() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    // The package does not contain the corpus.
    if !fuzz.exists() {
        return;
    }
    for property in &property::ALL {
        let directory = fuzz.join("corpus").join(property.name);
        let mut inputs = 0;
        for entry in fs::read_dir(directory).expect(property.name) {
            let path = entry.unwrap().path();
            hold(property, path.to_str().unwrap(), &fs::read(&path).unwrap());
            inputs += 1;
        }
        assert!(inputs >= 10, "{} has a corpus", property.name);
    }
}
