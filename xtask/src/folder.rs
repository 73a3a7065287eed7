//! Private folders for servers, gone when their owner is.
//!
//! They are in the system's temporary folder, because an unprivileged user can reach it while the
//! checkout may be in root's home. Each holds a file named `lock`, locked by its owner for as long as
//! the owner lives. So a folder whose lock is free was left behind by a process that was killed, and
//! the next `cargo xtask` removes it.

use std::env;
use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::user::{self, User};

/// Names the folder that holds everything of one `cargo xtask test`. Being in the environment of all
/// that it starts, it also tells at the end whether anything of it still runs.
pub const RUN_DIR: &str = "BILL_RUN_DIR";

const PREFIX: &str = "bill-service-";
const LOCK: &str = "lock";

/// A folder that only its owner can read, removed when dropped.
#[derive(Debug)]
pub struct PrivateFolder {
    path: PathBuf,
    /// Locked until it is closed, by whatever end this process comes to.
    _lock: File,
}

impl PrivateFolder {
    /// Makes a new folder for what is named here, inside the run's folder if there is one.
    pub fn create(what: &str, owner: Option<&User>) -> Result<Self> {
        let base = env::var_os(RUN_DIR).map_or_else(env::temp_dir, PathBuf::from);
        Self::create_in(&base, what, owner)
    }

    /// Makes a new folder inside another.
    pub fn create_in(base: &Path, what: &str, owner: Option<&User>) -> Result<Self> {
        let path =
            create_unique(base, what).with_context(|| format!("making a private folder in {}", base.display()))?;
        let lock = lock_new(&path).with_context(|| format!("locking {}", path.display()))?;
        let folder = Self { path, _lock: lock };
        give_to(&folder.path, owner)?;
        Ok(folder)
    }

    /// Makes a folder for a whole run, in which servers of other users can have theirs.
    pub fn create_for_run() -> Result<Self> {
        let folder = Self::create("run", None)?;
        // Passing through is enough; what is inside has its own owners.
        fs::set_permissions(&folder.path, fs::Permissions::from_mode(0o711))?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        // Failing to tidy up must not hide why we are here; the next `cargo xtask` tries again.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A folder of that name for this checkout that stays from run to run, such as the demo's databases.
/// It need not exist yet.
pub fn lasting(name: &str) -> PathBuf {
    // FNV-1a: two checkouts on one machine don't share their folders.
    let root = paths::root();
    let bytes = root.as_os_str().as_encoded_bytes();
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    // Another prefix than the private ones, which are swept away.
    env::temp_dir().join(format!("bill-{hash:016x}-{name}"))
}

/// Makes the folder, if there is none, readable by nobody but its owner.
pub fn ensure(path: &Path, owner: Option<&User>) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => give_to(path, owner),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => check_owner(path, owner),
        Err(error) => Err(error).with_context(|| format!("making {}", path.display())),
    }
}

/// The temporary folder is everybody's: somebody else may have been there first.
fn check_owner(path: &Path, owner: Option<&User>) -> Result<()> {
    let found = fs::symlink_metadata(path)?;
    let expected = owner.map_or_else(user::own_id, |user| Ok(user.uid))?;
    if !found.is_dir() || found.uid() != expected {
        bail!("{} is not ours: remove it and try again", path.display());
    }
    Ok(())
}

/// Hands the file or folder over to the user.
pub fn give_to(path: &Path, owner: Option<&User>) -> Result<()> {
    let Some(user) = owner else { return Ok(()) };
    chown(path, Some(user.uid), Some(user.gid)).with_context(|| format!("giving {} to {}", path.display(), user.name))
}

/// Removes the folders whose owners were killed. Returns how many there were.
pub fn sweep() -> usize {
    let Ok(entries) = fs::read_dir(env::temp_dir()) else {
        return 0;
    };
    let ours = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    ours.filter(|entry| is_abandoned(&entry.path()) && fs::remove_dir_all(entry.path()).is_ok()).count()
}

/// A folder without a lock file is just being made.
fn is_abandoned(path: &Path) -> bool {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    is_folder && File::open(path.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
}

fn create_unique(base: &Path, what: &str) -> std::io::Result<PathBuf> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("{PREFIX}{what}-{}-{number}", process::id()));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// The file gets its name when it is locked already, so nobody finds it free.
fn lock_new(folder: &Path) -> std::io::Result<File> {
    let unnamed = folder.join("lock.new");
    let lock = File::create(&unnamed)?;
    lock.lock()?;
    fs::rename(unnamed, folder.join(LOCK))?;
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_abandoned_when_its_owner_is_gone() {
        let folder = PrivateFolder::create("folder-test", None).unwrap();
        assert!(!is_abandoned(folder.path()));

        let left_behind = PrivateFolder::create("folder-test", None).unwrap();
        let path = left_behind.path().to_path_buf();
        let copy = path.with_extension("copy");
        fs::create_dir(&copy).unwrap();
        assert!(!is_abandoned(&copy), "one that is just being made");
        fs::write(copy.join(LOCK), "").unwrap();
        assert!(is_abandoned(&copy));

        drop(left_behind);
        assert!(!path.exists());
        fs::remove_dir_all(copy).unwrap();
    }

    #[test]
    fn lasting_folders_are_not_swept() {
        let name = lasting("demo");
        assert!(!name.file_name().unwrap().to_string_lossy().starts_with(PREFIX));
        assert_eq!(name, lasting("demo"));
        assert_ne!(name, lasting("other"));
    }
}
