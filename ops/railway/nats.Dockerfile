# The broker with the configuration of this repository, for platforms that can't mount a file.
ARG NATS_DIGEST=
FROM nats:2.15.0-alpine${NATS_DIGEST}
COPY nats/nats-server.conf /etc/nats/nats-server.conf
ENV NATS_STORE_DIR=/data
# `::` is IPv4, too. The passwords are variables of the platform; without one the broker does not start.
CMD ["nats-server", "-c", "/etc/nats/nats-server.conf", "-a", "::"]
