//! Free ports on loopback.

use std::fs;
use std::net::TcpListener;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

/// The first port considered: above what common servers use by default.
const LOWEST: u32 = 15_000;
/// Linux's usual start of the ephemeral range, for systems that don't tell.
const USUAL_EPHEMERAL: u32 = 32_768;

/// A port of 127.0.0.1 on which nobody listens.
///
/// It lies below the range from which the kernel takes the local ports of outgoing connections. A port
/// inside it could be taken while its server is being restarted; worse, a client that keeps trying
/// to reach a server that is down may connect to itself, and then the server can't come back.
///
/// Somebody else may take the port before it is used: who starts a server tries again with another.
pub fn free_port() -> Result<u16> {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let range = ephemeral_start().max(LOWEST + 1) - LOWEST;
    // Processes that run side by side start looking at different places.
    let start = process::id().wrapping_mul(199);
    (0..range)
        .map(|_| LOWEST + start.wrapping_add(ASKED.fetch_add(1, Ordering::Relaxed)) % range)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| is_free(*port))
        .context("no port of 127.0.0.1 is free")
}

/// Whether a server could listen there now.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

fn ephemeral_start() -> u32 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    range.split_whitespace().next().and_then(|start| start.parse().ok()).unwrap_or(USUAL_EPHEMERAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_distinct_and_not_ephemeral() {
        let ports: Vec<u16> = (0..50).map(|_| free_port().unwrap()).collect();
        let mut distinct = ports.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), ports.len());
        for port in ports {
            assert!(is_free(port));
            assert!(u32::from(port) < ephemeral_start().max(LOWEST + 1));
        }
    }

    #[test]
    fn a_taken_port_is_not_free() {
        let port = free_port().unwrap();
        let _listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        assert!(!is_free(port));
    }
}
