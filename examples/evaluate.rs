//! A program that guards a configuration of its own, without a server: it takes a change only
//! from whoever has seen the latest state.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::SystemTime;

use ifmatch::{EntityTag, Evaluation, Method, Preconditions, TagSyntax, Validators};

struct Config {
    revision: u32,
    text: String,
}

impl Config {
    fn entity_tag(&self) -> EntityTag {
        EntityTag::strong(format!("r{}", self.revision)).expect("a letter and digits are fine")
    }

    /// Replaces the text if the field lines that came with it allow that.
    fn put(&mut self, fields: &[(&str, &str)], text: &str) -> Result<u16, Box<dyn Error>> {
        let now = SystemTime::now();
        let asked = Preconditions::from_fields(fields.iter().copied(), TagSyntax::Quoted, now)?;
        let current = Validators {
            entity_tag: Some(self.entity_tag()),
            last_modified: None,
        };
        match asked.evaluate(Method::Put, Some(&current)) {
            Evaluation::Perform if asked.if_match().is_some() => {
                self.revision += 1;
                text.clone_into(&mut self.text);
                Ok(200)
            }
            Evaluation::Perform => Ok(428),
            Evaluation::NotModified | Evaluation::PreconditionFailed(_) => Ok(412),
        }
    }
}

/// Runs to its end: a change that is taken, and two that are not.
pub fn main() -> Result<(), Box<dyn Error>> {
    let mut config = Config {
        revision: 1,
        text: "colour = red".to_owned(),
    };
    let seen = config.entity_tag().to_string();

    assert_eq!(config.put(&[("If-Match", &seen)], "colour = blue")?, 200);
    assert_eq!(config.put(&[("If-Match", &seen)], "colour = green")?, 412);
    assert_eq!(config.put(&[], "colour = green")?, 428);
    println!("revision {}: {}", config.revision, config.text);
    Ok(())
}
