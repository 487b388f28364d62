"""Settings: frozen, typed, read once from `FAKESWEEP_*` variables, then passed down."""

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, IPvAnyNetwork, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from fakesweep.schema import broker
from fakesweep.schema.errors import SettingsError
from fakesweep.schema.words import DecodeWord, PrecisionWord, PresetWord

PREFIX = "FAKESWEEP_"

LONGEST_LEASE_SECONDS = 3_600.0

_OF_A_SERVICE = re.compile(r"(\w+_)?(SERVICE_(HOST|PORT\w*)|PORT_\d+_(TCP|UDP|SCTP)\w*)")
_ADDRESS_OF_A_SERVICE = re.compile(r"(tcp|udp|sctp)://")
"""Variables that Kubernetes adds for each service of a namespace."""


def _split_words(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(word.strip() for word in value.split(",") if word.strip())


def _expanded(path: Path) -> Path:
    return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 - links stay as written


def _endpoint(url: str) -> str:
    """Refuse an endpoint that botocore cannot use, or would repeat in its errors."""
    where = re.fullmatch(r"https?://([^/?#\s]+)(/[^?#\s@]*)?", url, re.IGNORECASE)
    if where is None or "@" in where[1]:
        raise ValueError(
            "it is no address as http://host:9000; user and password belong into "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return url


class Settings(BaseSettings):
    """The settings of an operator; `docs/settings.md` lists each with its default."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    database_url: str | None = Field(
        None, description="PostgreSQL, as postgresql://user:password@host:5432/name"
    )
    broker_url: Annotated[str, AfterValidator(broker.checked)] | None = Field(
        None, description="Redis protocol, as redis://host:6379/0"
    )
    home: Annotated[Path, AfterValidator(_expanded)] = Field(
        Path("~/.fakesweep"), validate_default=True, description="Folder of the local stack"
    )
    catalogue: Annotated[Path, AfterValidator(_expanded)] | None = Field(
        None, description="TOML file with your own models and policies"
    )

    batch_images: int = Field(256, ge=1, le=10_000, description="Images in one message")
    window_batches: int = Field(
        64, ge=1, description="Most batches of a lane that are published and unfinished"
    )
    gather_milliseconds: float = Field(
        5.0, ge=0, le=1_000, description="Wait of a batch's first upload for others"
    )
    listing_concurrency: int = Field(
        8, ge=1, le=64, description="Parts of a prefix in S3 listed side by side"
    )
    listers: int = Field(
        4, ge=2, le=64, description="Scans listed side by side; a quarter is kept for live ones"
    )
    list_timeout_seconds: float = Field(
        600.0, gt=0, description="Limit for copying a manifest or inventory file"
    )
    max_list_bytes: int = Field(
        4 * 1024**3,
        ge=1,
        description="Larger manifests and inventory files, also once unpacked, stop their scan",
    )
    audit_failures_stand_days: float = Field(
        30.0,
        ge=0,
        le=36_500,
        description="Days for which audits skip unchanged images whose bytes failed",
    )
    lease_seconds: float = Field(
        30.0,
        ge=3.0,
        le=LONGEST_LEASE_SECONDS,
        description="Seconds without a heartbeat after which a worker loses its batches",
    )
    refusal_seconds: float = Field(
        300.0,
        gt=0,
        description="Seconds for which a worker retries a refusal of the database, then releases",
    )
    grace_seconds: float = Field(
        25.0,
        ge=0,
        description="Seconds from a stop signal until a worker releases unfinished batches",
    )

    models: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_words)] = Field(
        (),
        description="A worker's first models and a scan's default ones, separated by commas",
    )
    preset: PresetWord | None = Field(
        None, description="224 or 512: sizes for a GPU, by the side of the models' input in pixels"
    )
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N"
    )
    precision: PrecisionWord = Field(
        "auto", description="auto (bfloat16 where the hardware has it), float32 or bfloat16"
    )
    device_batch_images: int = Field(
        0,
        ge=0,
        le=4_096,
        description="Images scored in one call of the model; 0: the worker's choice",
    )
    device_timeout_seconds: float = Field(
        300.0, gt=0, description="A call of a model that takes longer ends its worker"
    )
    model_patience_seconds: float = Field(
        900.0,
        ge=0,
        description="Seconds for which the load of a model is retried, and its images wait",
    )
    batches_in_flight: int = Field(
        4, ge=1, le=64, description="Batches a worker process works on at once"
    )
    loaders: int = Field(
        0, ge=0, le=512, description="Processes that fetch and decode; 0: two per core"
    )
    cpu_threads: int = Field(
        0, ge=0, description="Threads of a model on a CPU; 0: its share of the cores"
    )
    fetch_concurrency: int = Field(
        16, ge=1, le=512, description="Images fetched at once by each loader process"
    )
    loader_memory_bytes: int = Field(
        4 * 1024**3, ge=512 * 1024**2, description="Memory of each process that decodes images"
    )
    decode: DecodeWord = Field(
        "exact",
        description="exact (the model's own pixels) or fast (JPEGs scaled while decoded)",
    )
    decode_timeout_seconds: float = Field(
        30.0, gt=0, description="Processor seconds to decode an image; by the clock twice as many"
    )

    fetch_timeout_seconds: float = Field(
        30.0, gt=0, description="Limit of one connect or read without progress"
    )
    fetch_deadline_seconds: float = Field(
        300.0,
        gt=0,
        description="Limit for fetching an image, from its host's name to the last byte",
    )
    fetch_attempts: int = Field(
        4, ge=1, le=20, description="Attempts at one image while its storage fails"
    )
    max_image_bytes: int = Field(
        64 * 1024 * 1024, ge=1, description="Larger images fail as too_large"
    )
    max_image_pixels: int = Field(
        178_956_970, ge=1, description="Images of more pixels fail as too_many_pixels"
    )

    allow_networks: Annotated[
        tuple[IPvAnyNetwork, ...], NoDecode, BeforeValidator(_split_words)
    ] = Field(
        (),
        description="Private networks open to http(s), such as 10.2.0.0/16, separated by commas",
    )
    file_roots: Annotated[
        tuple[Annotated[Path, AfterValidator(_expanded)], ...],
        NoDecode,
        BeforeValidator(_split_words),
    ] = Field(
        (),
        description="Folders a cluster's workers read file: images below, separated by commas",
    )
    buckets: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_words)] = Field(
        (), description="The only buckets to list and fetch from, separated by commas; unset: all"
    )
    s3_endpoint_url: Annotated[str, AfterValidator(_endpoint)] | None = Field(
        None, description="S3 service other than Amazon's, as http://host:9000"
    )
    s3_addressing_style: Literal["auto", "path", "virtual"] = Field(
        "auto", description="auto, path (for most S3 servers of your own) or virtual"
    )

    s3_unsigned: bool = Field(
        False, description="Ask S3 without credentials, for buckets that are open to everybody"
    )
    s3_request_payer: Literal["requester"] | None = Field(
        None, description="requester: your account pays for reads from buckets that require it"
    )

    api_pictures: str | None = Field(
        None,
        description="Store of uploaded pictures: a folder, or s3://bucket/prefix",
    )
    api_trusted_proxies: Annotated[
        tuple[IPvAnyNetwork, ...], NoDecode, BeforeValidator(_split_words)
    ] = Field(
        (),
        description="Proxies before the API whose X-Forwarded-For is believed, as 10.0.0.0/8",
    )

    sqs_endpoint_url: Annotated[str, AfterValidator(_endpoint)] | None = Field(
        None, description="SQS service other than Amazon's, as http://host:9324"
    )

    worker_hour_price: float | None = Field(
        None, gt=0, description="Price of an hour of one worker, from which `status` computes costs"
    )
    currency: str = Field("", max_length=12, description="Word behind prices and costs, as EUR")

    celery_events: bool = Field(
        False, description="Task events and remote control, for Flower; costs throughput"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error"
    )
    log_format: Literal["text", "json"] = Field("text", description="text or json")

    @property
    def names_cluster(self) -> bool:
        """Whether the operator named both servers, so nothing local is started."""
        return self.database_url is not None and self.broker_url is not None


PRESETS: dict[PresetWord, dict[str, int]] = {
    "224": {"device_batch_images": 256, "batches_in_flight": 16},
    "512": {"device_batch_images": 64, "batches_in_flight": 8},
}
"""Values of a preset for unset settings: at 224 decoding is the bottleneck, at 512 the model."""


def with_preset(settings: Settings) -> Settings:
    """Return the settings with the preset's values for unset ones."""
    chosen = PRESETS[settings.preset] if settings.preset else {}
    left = {name: chosen[name] for name in chosen if name not in settings.model_fields_set}
    return settings.model_copy(update=left)


def read_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        SettingsError: a variable is invalid or unknown; the message names it.
    """
    _refuse_unknown(os.environ)
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + str(first["loc"][0]).upper()
        said = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{name} cannot be used: {said} (docs/settings.md)") from None


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    known = [name.upper() for name in Settings.model_fields]
    for name, value in environment.items():
        wanted = name.upper().removeprefix(PREFIX)
        if wanted == name.upper() or wanted in known or not value:
            continue
        if _OF_A_SERVICE.fullmatch(wanted) or (
            wanted.endswith("PORT") and _ADDRESS_OF_A_SERVICE.match(value)
        ):
            continue
        near = [PREFIX + one for one in difflib.get_close_matches(wanted, known, 3)]
        mend = f"did you mean {' or '.join(near)}?" if near else "unset it, or name another"
        raise SettingsError(f"{name} is no setting; {mend} (docs/settings.md lists all)")
