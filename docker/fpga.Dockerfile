# The FPGA tools: capture and quantization as in the exporter, hls4ml, and the compilers and simulators that check
# generated HLS and Verilog without a vendor's licence. Vitis and Vivado are not in it; mount an installation to run them.
#
#   docker build -f docker/fpga.Dockerfile -t edgevit-fpga .
#   docker run --rm -it edgevit-fpga
FROM debian:12.11-slim

RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ iverilog make python3 python3-venv verilator yosys \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 1000 edgevit
USER edgevit
WORKDIR /home/edgevit/src

COPY --chown=edgevit:edgevit pyproject.toml constraints.txt Makefile README.md LICENSE ./
COPY --chown=edgevit:edgevit edgevit edgevit
COPY --chown=edgevit:edgevit backends backends
COPY --chown=edgevit:edgevit kernels kernels

ARG PIP_EXTRA_INDEX_URL
RUN make install EXTRAS=torch,fpga,report
ENV PATH="/home/edgevit/src/.venv/bin:${PATH}"

CMD ["edgevit", "doctor"]
