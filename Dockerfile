# Luna in a container: a node and the `luna` command, for whoever runs the container; docs/compose.md shows a cluster.
#
#   docker build -t luna:local .
#
# BASE is any Debian with Python 3.11 or newer among its packages. Where no registry can be reached,
# `python -m integration.hosts.image` makes one from Debian's packages first.
ARG BASE=debian:trixie-slim

# --- build: a compiler, and everything that shall not be in the result ------------------------------------------------
FROM ${BASE} AS build
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        binutils ca-certificates g++ python3-dev python3-venv

# Which index the packages come from, and what it is trusted by: pip's own variables, for networks that need them.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
# The system's authorities and not those that pip brings along: a base may know the one of its network.
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_REQUIRE_VIRTUALENV=1 \
    PIP_ROOT_USER_ACTION=ignore

# The layers from here on go from what changes least to what changes most: dependencies, the native core, Python.
WORKDIR /src
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN python3 -m venv /tools && /tools/bin/pip install --require-hashes -r requirements/build.txt \
    && python3 -m venv --without-pip /opt/luna \
    && /tools/bin/pip --python /opt/luna/bin/python install --require-hashes --only-binary :all: \
        -r requirements/runtime.txt

# The native core takes minutes. What setuptools wants to see besides stays empty until it is needed. Its sources are
# made old, here and below: the copy of a fresh clone looks newer than what was compiled of the same text.
COPY setup.py pyproject.toml ./
COPY .types .types
COPY scheduler/*.pyx scheduler/*.pxd scheduler/
RUN touch README.md LICENSE-APACHE LICENSE-MIT && touch -d @0 scheduler/* \
    && /tools/bin/python setup.py --quiet build_ext

COPY . .
RUN touch -d @0 scheduler/*.pyx scheduler/*.pxd \
    && /tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
    && /tools/bin/pip --python /opt/luna/bin/python install --no-deps --no-index /wheel/*.whl \
    && find /opt/luna -name '*.so*' -type f -exec strip --strip-unneeded {} + \
    && cd /opt/luna/lib/python3*/site-packages \
    && rm -rf wasmtime/include && find . -depth '(' -name tests -o -name _tests -o -name 'test_*.py' ')' -exec rm -r {} +

# --- the image --------------------------------------------------------------------------------------------------------
FROM ${BASE}
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates libstdc++6 python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* \
    && groupadd --gid 7010 luna \
    && useradd --uid 7010 --gid luna --home-dir /var/lib/luna --no-create-home --shell /usr/sbin/nologin luna \
    && install -d -o luna -g luna -m 0700 /var/lib/luna
COPY --from=build /opt/luna /opt/luna
COPY integration/hosts/entrypoint.sh /usr/local/bin/luna-entrypoint

LABEL org.opencontainers.image.title="Luna" \
      org.opencontainers.image.description="A distributed runtime of Erlang-like WebAssembly processes" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT"
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# Nodes keep modules and compiled code in $XDG_STATE_HOME/luna/NAME, so that several can share one volume.
ENV PATH=/opt/luna/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 \
    XDG_STATE_HOME=/var/lib
USER luna
WORKDIR /var/lib/luna
EXPOSE 7010
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=10s --start-period=30s --retries=3 CMD ["luna", "health"]
ENTRYPOINT ["luna-entrypoint"]
# Alone and on loopback: who can reach a node controls it, so listening elsewhere has to be said.
CMD ["luna-node", "start"]
