# The worker, for CPUs and NVIDIA GPUs alike: the plain torch wheel carries CUDA and runs without
# a GPU too. Built from the repository's root.
FROM python:3.12-slim-bookworm

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/var/cache/huggingface \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

RUN groupadd --gid 10001 fakesweep \
    && useradd --create-home --uid 10001 --gid 10001 fakesweep \
    && install --directory --owner=fakesweep --group=fakesweep /var/cache/huggingface

WORKDIR /source

# Torch is gigabytes: a layer of its own, which changes in fakesweep's code do not build again.
COPY pyproject.toml constraints.txt README.md infra/locks/worker.txt ./
COPY schema/__init__.py fakesweep/schema/
RUN pip install --no-cache-dir --no-deps --require-hashes --requirement worker.txt \
    && pip install --no-cache-dir --no-build-isolation --constraint constraints.txt '.[worker]' \
    && rm -r fakesweep

COPY schema schema
COPY serving serving
COPY producer producer
COPY workers workers
COPY fakesweep fakesweep
RUN pip install --no-cache-dir --no-build-isolation --no-deps --force-reinstall .

USER 10001:10001
WORKDIR /home/fakesweep
CMD ["fakesweep", "worker"]
