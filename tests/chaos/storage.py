"""Images under test: objects of a real S3 server, behind a proxy that injects faults."""

import hashlib
import json
import os
import random
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.processes import MARK, python
from tests.support.photographs import photograph
from tests.support.servers import S3Server, s3_server

BUCKET = "chaos"
SEEDS_APART = 1_000_000


@dataclass
class Storage:
    """A bucket of photographs, made prefix by prefix, with distinct contents."""

    server: S3Server
    proxy_url: str
    seed: int
    prefix_images: int
    _proxy: "subprocess.Popen[str]"
    digests: dict[str, str] = field(default_factory=dict)
    prefixes: list[str] = field(default_factory=list)
    manifests: dict[str, set[str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add_prefix(self) -> str:
        """Make the next prefix of photographs; return its URI."""
        number = len(self.prefixes)
        prefix = f"s3://{BUCKET}/{number:03}/"
        for place in range(self.prefix_images):
            content = photograph(
                self.seed * SEEDS_APART + number * self.prefix_images + place, (32, 32)
            )
            uri = self.server.put(BUCKET, f"{number:03}/{place:04}.jpg", content)
            self.digests[uri] = hashlib.sha256(content).hexdigest()
        self.prefixes.append(prefix)
        return prefix

    def add_manifest(self) -> str:
        """Make a manifest of the newest prefix; return its URI."""
        named = self.images_of(self.prefixes[-1])
        content = "\n".join(sorted(named)).encode()
        uri = self.server.put(BUCKET, f"lists/{len(self.manifests):03}.txt", content)
        self.manifests[uri] = named
        return uri

    def images_of(self, prefix: str) -> set[str]:
        """Return the URIs below a prefix, or in a manifest."""
        if prefix in self.manifests:
            return self.manifests[prefix]
        return {uri for uri in self.digests if uri.startswith(prefix)}

    def marked(self, count: int) -> set[str]:
        """Return `count` of the first prefix's URIs, drawn by the seed."""
        first = sorted(self.images_of(self.prefixes[0]))
        return set(random.Random(self.seed).sample(first, count))

    def tell(self, **words: Any) -> dict[str, Any]:
        """Configure the proxy; return its counts."""
        with self._lock:
            if self._proxy.stdin is None or self._proxy.stdout is None:
                raise RuntimeError("the proxy has no ears")
            self._proxy.stdin.write(json.dumps(words) + "\n")
            self._proxy.stdin.flush()
            counted: dict[str, Any] = json.loads(self._proxy.stdout.readline())
            return counted

    def delivered(self) -> dict[str, int]:
        """Return the number of complete deliveries of each object, by URI."""
        counted = self.tell()["delivered"]
        return {f"s3:/{path}": count for path, count in counted.items()}


@contextmanager
def open_storage(folder: Path, seed: int, prefix_images: int) -> Iterator[Storage]:
    """Run the S3 server and its proxy for the context."""
    root = folder / "s3"
    (root / BUCKET).mkdir(parents=True)
    # The proxy rewrites requests, which breaks their signatures.
    with s3_server(root, signed=False, environment=_environment(folder)) as server:
        behind = server.endpoint_url.removeprefix("http://")
        with subprocess.Popen(
            python("tests.chaos.storage_proxy", behind),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=_environment(folder),
        ) as proxy:
            try:
                if proxy.stdout is None:
                    raise RuntimeError("the proxy has no voice")
                port = json.loads(proxy.stdout.readline())["port"]
                yield Storage(server, f"http://127.0.0.1:{port}", seed, prefix_images, proxy)
            finally:
                proxy.kill()


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, MARK: str(folder)}
