"""Resources of the API process, and their dependency for requests."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from fakesweep.producer.api.long_poll import LongPoll
from fakesweep.producer.api.pictures import Pictures
from fakesweep.producer.resources import Producer
from fakesweep.producer.uploads import Uploads
from fakesweep.serving.health import HealthCheck
from fakesweep.serving.rate_limits import RateLimits


@dataclass(frozen=True, slots=True)
class Resources:
    """Open resources of a process."""

    producer: Producer
    uploads: Uploads
    limits: RateLimits
    health: HealthCheck
    long_poll: LongPoll
    pictures: Pictures | None


def _resources(request: Request) -> Resources:
    found: Resources = request.app.state.resources
    return found


Opened = Annotated[Resources, Depends(_resources)]
