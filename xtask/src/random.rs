//! Random bytes, from the operating system.

use std::fs::File;
use std::io::Read;

use anyhow::{Context, Result};

/// So many of them.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0_u8; N];
    File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes)).context("reading /dev/urandom")?;
    Ok(bytes)
}
