"""What the API holds open while it runs, and how a request gets at it."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from fakesweep.producer.api.health import HealthCheck
from fakesweep.producer.api.limits import RateLimits
from fakesweep.producer.api.pictures import Pictures
from fakesweep.producer.api.waiting import Waiting
from fakesweep.producer.scans import Producer
from fakesweep.producer.uploads import Uploads


@dataclass(frozen=True, slots=True)
class Resources:
    """Opened once for each process."""

    producer: Producer
    uploads: Uploads
    limits: RateLimits
    health: HealthCheck
    waiting: Waiting
    pictures: Pictures | None


def _resources(request: Request) -> Resources:
    found: Resources = request.app.state.resources
    return found


Opened = Annotated[Resources, Depends(_resources)]
