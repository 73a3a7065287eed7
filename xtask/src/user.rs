//! The unprivileged user as whom servers run when we are root: PostgreSQL refuses to run as root, and
//! nothing that a test starts needs to.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use anyhow::{Context, Result};

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name in /etc/passwd.
    pub name: String,
    /// Its user id.
    pub uid: u32,
    /// The id of its group.
    pub gid: u32,
}

/// The id of the user that this process runs as.
pub fn own_id() -> Result<u32> {
    if let Ok(this) = fs::metadata("/proc/self") {
        return Ok(this.uid());
    }
    // Not Linux.
    let id = Command::new("id").arg("-u").output().context("running `id -u`")?;
    String::from_utf8_lossy(&id.stdout).trim().parse().context("reading what `id -u` says")
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    own_id().is_ok_and(|id| id == 0)
}

/// Whom to run servers as: `None` (this very user) unless we are root; then `postgres`, or `nobody`
/// where PostgreSQL's package has made no user.
pub fn unprivileged() -> Result<Option<User>> {
    if !is_root() {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
    let user = find(&passwd, "postgres").or_else(|| find(&passwd, "nobody"));
    user.map(Some)
        .context("servers don't run as root, and /etc/passwd has neither `postgres` nor `nobody` to run them as")
}

fn find(passwd: &str, name: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next()?;
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        (found == name).then(|| User { name: found.to_owned(), uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_user_by_its_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\npostgres-old:x:7:8::/:/bin/sh\npostgres:x:101:104:PostgreSQL,,,:/var/lib:/bin/bash\n";
        let expected = User { name: "postgres".to_owned(), uid: 101, gid: 104 };
        assert_eq!(find(passwd, "postgres"), Some(expected));
        assert_eq!(find(passwd, "nobody"), None);
        assert_eq!(find("broken line", "broken line"), None);
    }
}
