//! Clients of outside services. Every answer becomes a domain outcome, exhaustively.
pub mod quota;
pub mod stripe;

/// Chooses the TLS implementation for the process, once. `ring` rather than the default: it builds without a C++ toolchain.
pub fn install_tls() {
    // An error means that it was chosen before.
    drop(rustls::crypto::ring::default_provider().install_default());
}
