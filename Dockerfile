# docker build --tag ifmatch .
# docker run --publish 127.0.0.1:5000:5000 --volume ifmatch:/data ifmatch
#
# What follows the name of the image is in place of CMD: another store, and other flags.

FROM rust:1-slim-bookworm AS build
WORKDIR /build
# For SQLite and ring, which are compiled with it.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev
COPY Cargo.toml Cargo.lock README.md ./
COPY examples examples
COPY src src
COPY tests tests
RUN cargo build --release --locked --bin ifmatch --features hyper,sqlite,postgres

# It has the C library that the program is linked with, and a shell that can open a connection.
FROM debian:bookworm-slim
# The authorities that sign certificates, for connections to PostgreSQL.
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates && \
    rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --no-create-home --home-dir /data ifmatch && \
    install --directory --owner ifmatch --mode 700 /data
COPY --from=build /build/target/release/ifmatch /usr/local/bin/ifmatch
USER ifmatch
VOLUME /data
EXPOSE 5000
ENTRYPOINT ["ifmatch", "--door", "hyper", "--listen", "0.0.0.0:5000"]
CMD ["--store", "sqlite:/data/documents.db"]
# In HTTP/1.0 no Host is needed, whatever --allow-host says.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD \
    ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/5000 && printf 'GET /health HTTP/1.0\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [ \"$status\" = 200 ]"]
