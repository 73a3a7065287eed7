//! Clients of outside services. Every answer becomes a domain outcome, exhaustively.
pub mod quota;
pub mod stripe;

use reqwest::ClientBuilder;

/// A client for what is inside: a proxy meant for the way outside would only break the way to it. `plain` when it is only
/// asked over http: else the system's certificate authorities are loaded, and a system without any is an error.
pub fn inside(plain: bool) -> ClientBuilder {
    install_tls();
    let builder = reqwest::Client::builder().no_proxy();
    if plain { builder.tls_certs_only(std::iter::empty()) } else { builder }
}

/// Chooses the TLS implementation for the process, once. `ring` rather than the default: it builds without a C++ toolchain.
pub fn install_tls() {
    // An error means that it was chosen before.
    drop(rustls::crypto::ring::default_provider().install_default());
}
