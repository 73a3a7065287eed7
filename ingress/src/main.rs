//! The `ingress` service.

use std::process::ExitCode;
use std::sync::Arc;

use common::clock::SystemClock;
use common::ids::RandomIds;

fn main() -> ExitCode {
    common::service::main(ingress::Config::read, |config, shutdown| {
        ingress::run(config, SystemClock::shared(), Arc::new(RandomIds), shutdown)
    })
}
