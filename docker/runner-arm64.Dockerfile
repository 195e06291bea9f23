# The runner on a 64-bit ARM board: opens bundles and runs their artifacts. Capture is done elsewhere, so torch is not in it.
#
#   docker buildx build --platform linux/arm64 -f docker/runner-arm64.Dockerfile -t edgevit-runner .
#   docker run --rm -v "$PWD/out/demo:/bundle:ro" edgevit-runner edgevit verify /bundle
FROM --platform=linux/arm64 debian:12.11-slim

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

RUN make install EXTRAS=coral
ENV PATH="/home/edgevit/src/.venv/bin:${PATH}"

CMD ["edgevit", "doctor"]
