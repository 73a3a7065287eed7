# One image with every program: `docker run IMAGE recharger`. Nothing in it is a secret, and it needs no other tool at run
# time: health is asked by `bill-setup health`.
#
# Base images are pinned by exact tags. To pin their contents as well, look the digests up where you build and pass them:
#   docker buildx imagetools inspect rust:1.95.0-slim-bookworm
#   docker build --build-arg RUST_DIGEST=@sha256:… --build-arg DEBIAN_DIGEST=@sha256:… --build-arg VERSION=… -t bill-service .
# No cache mounts: the classic builder, which some platforms still use, does not know them.
ARG RUST_DIGEST=
ARG DEBIAN_DIGEST=

FROM rust:1.95.0-slim-bookworm${RUST_DIGEST} AS build
WORKDIR /src
COPY . .
# Package by package, so that nothing is built that only tests need.
RUN cargo build --release --locked \
      -p ingress -p recharger -p ledger -p syncer -p common -p cli -p simulators \
 && mkdir /out \
 && cd target/release \
 && cp ingress recharger ledger syncer bill-setup bill simulators /out/ \
 # A third smaller: what a panic says names its file and line without symbols, too.
 && strip --strip-all /out/*

FROM debian:bookworm-20260824-slim${DEBIAN_DIGEST}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Bill-Service" \
      org.opencontainers.image.description="Automatic prepaid recharge for organizations that use LLMs through LiteLLM" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Who may vouch for Stripe, the KMS and LiteLLM.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/ /usr/local/bin/
# A number, so that a platform can see that it is not root. Nothing is written: the root may be read-only.
USER 10001:10001
# Inside a container nobody else reaches 127.0.0.1. With this, ingress takes no switch of a development set-up.
ENV BIND=0.0.0.0
STOPSIGNAL SIGTERM
# It asks the port in PORT; without one, ingress's.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["bill-setup", "health"]
CMD ["ingress"]
