# The producer, the HTTP API and the migration: no torch, no image decoder. Built from the repository's root.
FROM python:3.12-slim-bookworm

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONUNBUFFERED=1

RUN groupadd --gid 10001 fakesweep \
    && useradd --create-home --uid 10001 --gid 10001 fakesweep

WORKDIR /source

# What fakesweep needs is a layer of its own, which changes in its code do not build again.
COPY pyproject.toml constraints.txt README.md infra/locks/producer.txt ./
COPY schema/__init__.py fakesweep/schema/
RUN pip install --no-cache-dir --no-deps --require-hashes --requirement producer.txt \
    && pip install --no-cache-dir --no-build-isolation --constraint constraints.txt '.[api,parquet]' \
    && rm -r fakesweep

COPY schema schema
COPY serving serving
COPY producer producer
COPY workers workers
COPY fakesweep fakesweep
RUN pip install --no-cache-dir --no-build-isolation --no-deps --force-reinstall .

USER 10001:10001
WORKDIR /home/fakesweep
CMD ["fakesweep", "producer"]
