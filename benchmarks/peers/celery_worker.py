"""A Celery worker as one would write it first: one image a task, one INSERT an image.

The model is loaded once in each process of the pool; there are as many as cores, with one thread
of the model each.
"""

import os
from pathlib import Path
from typing import Any

import psycopg2
from celery import Celery, signals
from PIL import Image

from benchmarks.peers.classifier import Classifier, open_image

TABLE = "CREATE TABLE scores (path text PRIMARY KEY, p_fake real, stored_at timestamptz)"

_INSERT = "INSERT INTO scores VALUES (%s, %s, clock_timestamp()) ON CONFLICT DO NOTHING"

app = Celery("naive", broker=os.environ.get("BENCH_BROKER_URL"))
app.conf.update(task_ignore_result=True, task_acks_late=True)

_opened: dict[str, Any] = {}


@signals.worker_process_init.connect
def _open(**_: Any) -> None:
    classifier = Classifier(Path(os.environ["BENCH_CHECKPOINT"]), threads=1)
    classifier.scores(classifier.prepare(Image.new("RGB", (500, 375), "grey")))
    _opened["classifier"] = classifier
    _opened["connection"] = psycopg2.connect(os.environ["BENCH_DATABASE_URL"])
    Path(os.environ["BENCH_OUT"], f"ready-{os.getpid()}").touch()


@app.task
def classify(path: str) -> None:
    """Score one image and store it; an image that does not open gets a row without score."""
    image = open_image(path)
    classifier = _opened["classifier"]
    score = None if image is None else classifier.scores(classifier.prepare(image))[0]
    with _opened["connection"] as connection, connection.cursor() as cursor:
        cursor.execute(_INSERT, (path, score))
