"""A process that only fires schedules, one job of a producer's service."""

import threading

from fakesweep.producer.resources import open_producer
from fakesweep.producer.schedules import firing
from fakesweep.schema.judging.catalogue import read_catalogue
from fakesweep.schema.settings import read_settings
from fakesweep.schema.telemetry.logs import set_up_logging

if __name__ == "__main__":
    firing.POLL_SECONDS = 0.05
    settings = read_settings()
    set_up_logging(settings)
    with open_producer(settings, read_catalogue(settings.catalogue)) as producer:
        firing.keep_schedules(producer, threading.Event())
