"""A process that keeps schedules and does nothing else, as a producer's service does beside."""

import threading

from fakesweep.producer import schedules
from fakesweep.producer.scans import open_producer
from fakesweep.schema.catalogue import read_catalogue
from fakesweep.schema.logs import set_up_logging
from fakesweep.schema.settings import read_settings

if __name__ == "__main__":
    schedules.LOOK_SECONDS = 0.05
    settings = read_settings()
    set_up_logging(settings)
    with open_producer(settings, read_catalogue(settings.catalogue)) as producer:
        schedules.keep_schedules(producer, threading.Event())
