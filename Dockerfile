# The binaries `discovery`, `headwater-jobs` and `headwater`, and nothing else that runs.
#
#   docker build -t headwater .
#   docker run --rm --publish 127.0.0.1:8080:8080 --env HEADWATER__ADMIN__LISTEN=0.0.0.0:8080 \
#       --env HEADWATER_BROKERS=kafka.example:9092 --env HEADWATER_DATABASE_URL=postgres://… \
#       --volume "$PWD/config:/etc/headwater:ro" headwater --config /etc/headwater/discovery.toml
#
# A container reaches nothing on the host's loopback, where docker-compose.kafka.yml and
# scripts/services.sh have their Kafka and Postgres. On Linux it does with the host's network; its
# metrics are at 127.0.0.1:8080 then:
#
#   docker run --rm --network host --env HEADWATER_BROKERS --env HEADWATER_DATABASE_URL \
#       --volume "$PWD/config:/etc/headwater:ro" headwater --config /etc/headwater/discovery.toml
# Jobs, whose API is on port 8084 and takes keys and TLS alone from other machines (docs/jobs.md, docs/security.md):
#
#   docker run --rm --entrypoint headwater-jobs --env HEADWATER_BROKERS --env HEADWATER_DATABASE_URL \
#       --volume "$PWD/config:/etc/headwater:ro" headwater --config /etc/headwater/jobs.toml
FROM rust:1.95-bookworm AS build
# librdkafka is compiled from source; OpenSSL is Debian's, with its fixes and certificates.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libssl-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
ENV OPENSSL_NO_VENDOR=1
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --profile dist --locked --bin discovery --bin headwater-jobs --bin headwater \
    && install -D -s -t /out target/dist/discovery target/dist/headwater-jobs target/dist/headwater

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libssl3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home headwater
COPY --from=build /out/ /usr/local/bin/
USER 10001:10001
WORKDIR /home/headwater
ENTRYPOINT ["discovery"]
