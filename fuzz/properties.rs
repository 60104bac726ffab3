//! The properties that the tests of `ifmatch` check, for the fuzz targets.
#![allow(unused, reason = "only the tests use some of this code")]

#[path = "../tests/judgement/oracle.rs"]
mod oracle;
#[path = "../tests/it/property/mod.rs"]
mod property;

/// Panics unless the property of this name holds for `data`.
pub fn hold(name: &str, data: &[u8]) {
    let property = property::ALL.iter().find(|property| property.name == name);
    (property.expect(name).check)(data);
}
