//! The file with the bearer token.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::access::Token;

/// Reads the token from a file that only its owner can read.
pub(super) fn read(file: PathBuf) -> Result<Token, TokenFileError> {
    read_token(&file).map_err(|reason| TokenFileError { file, reason })
}

fn read_token(file: &Path) -> Result<Token, String> {
    let mut text = String::new();
    let mut opened = File::open(file).map_err(|error| error.to_string())?;
    let mode = mode(&opened).map_err(|error| error.to_string())?;
    if mode & 0o044 != 0 {
        return Err("others than its owner can read it; chmod 600 mends that".into());
    }
    let read = opened.by_ref().take(64 * 1024).read_to_string(&mut text);
    read.map_err(|error| error.to_string())?;
    Token::new(text.trim()).map_err(|error| error.to_string())
}

#[cfg(unix)]
fn mode(file: &File) -> io::Result<u32> {
    use std::os::unix::fs::PermissionsExt;
    Ok(file.metadata()?.permissions().mode())
}

/// Other systems have no such modes: no file is refused.
#[cfg(not(unix))]
fn mode(_: &File) -> io::Result<u32> {
    Ok(0)
}

/// The file with the token cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFileError {
    file: PathBuf,
    reason: String,
}

impl fmt::Display for TokenFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot use the token file {}: {}",
            self.file.display(),
            self.reason
        )
    }
}

impl Error for TokenFileError {}
