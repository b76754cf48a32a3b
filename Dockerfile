# Targets: `cpu` (API, sweeper, workers without an accelerator) and `cuda` (workers on NVIDIA GPUs; the wheels bring their own CUDA).
FROM python:3.12-slim AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN useradd --system --uid 10001 --create-home mergefront && install -d -o mergefront -g mergefront /data
WORKDIR /opt/mergefront
VOLUME /data
EXPOSE 8000

FROM base AS cpu
COPY constraints.txt ./
RUN pip install --constraint constraints.txt --index-url https://download.pytorch.org/whl/cpu torch
COPY pyproject.toml README.md ./
COPY app app
COPY workers workers
COPY surrogate surrogate
COPY checkpoints checkpoints
RUN pip install --constraint constraints.txt '.[postgres,s3]'
USER mergefront
CMD ["mergefront", "api", "--host", "0.0.0.0"]

FROM base AS cuda
COPY constraints.txt ./
RUN pip install --constraint constraints.txt torch
COPY pyproject.toml README.md ./
COPY app app
COPY workers workers
COPY surrogate surrogate
COPY checkpoints checkpoints
RUN pip install --constraint constraints.txt '.[postgres,s3]'
USER mergefront
CMD ["mergefront", "worker"]
