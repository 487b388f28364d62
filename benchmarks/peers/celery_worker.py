"""Naive Celery worker: one task and one INSERT for each image.

The pool has a process for each core; each loads the model once and runs it with one thread.
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
    """Score and store one image; an unreadable one gets a row without a score."""
    image = open_image(path)
    classifier = _opened["classifier"]
    score = None if image is None else classifier.scores(classifier.prepare(image))[0]
    with _opened["connection"] as connection, connection.cursor() as cursor:
        cursor.execute(_INSERT, (path, score))
