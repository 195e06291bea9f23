# The exporter: everything that `make demo` needs, on x86-64.
#
#   docker build -f docker/exporter.Dockerfile -t edgevit .
#   docker run --rm -v "$PWD/out:/home/edgevit/out" edgevit edgevit export --target coral -o /home/edgevit/out/demo
#
# --build-arg PIP_EXTRA_INDEX_URL=... may name an index with CPU builds of torch, which leaves the GPU libraries out.
FROM debian:12.11-slim

RUN apt-get update \
    && apt-get install -y --no-install-recommends make python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 1000 edgevit
USER edgevit
WORKDIR /home/edgevit/src

COPY --chown=edgevit:edgevit pyproject.toml constraints.txt Makefile README.md LICENSE ./
COPY --chown=edgevit:edgevit edgevit edgevit
COPY --chown=edgevit:edgevit backends backends
COPY --chown=edgevit:edgevit kernels kernels

ARG PIP_EXTRA_INDEX_URL
RUN make install
ENV PATH="/home/edgevit/src/.venv/bin:${PATH}"

CMD ["make", "demo"]
