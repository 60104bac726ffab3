//! Directories for the files of a test.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A directory of one test, which is removed at the end of the test.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new(test: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ifmatch-{test}-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
