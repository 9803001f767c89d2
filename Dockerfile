# The binaries `discovery` and `headwater`, and nothing else that runs.
#
#   docker build -t headwater .
#   docker run --rm -v "$PWD/config:/etc/headwater:ro" headwater --config /etc/headwater/discovery.toml
FROM rust:1.95-bookworm AS build
# librdkafka and OpenSSL are compiled from source.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends cmake perl pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin discovery --bin headwater \
    && install -D -s -t /out target/release/discovery target/release/headwater

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home headwater
COPY --from=build /out/ /usr/local/bin/
USER 10001:10001
WORKDIR /home/headwater
ENTRYPOINT ["discovery"]
