"""Stand-in for a bucket of millions of objects: answers S3 listings only."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

NAME = "archive"
FOLDER_OBJECTS = 10_000

_OBJECT = (
    "<Contents><Key>{key}</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>"
    "<ETag>&quot;{number:032x}&quot;</ETag><Size>{size}</Size>"
    "<StorageClass>STANDARD</StorageClass></Contents>"
)


def key_of(number: int) -> str:
    """Return the key of an object; keys sort by number."""
    return f"photos/{number // FOLDER_OBJECTS:06}/IMG_{number:09}.jpg"


def first_after(key: str, objects: int) -> int:
    """Return the number of the first object whose key is greater."""
    low, high = 0, objects
    while low < high:
        middle = (low + high) // 2
        if key_of(middle) > key:
            high = middle
        else:
            low = middle + 1
    return low


def listing(start_after: str, keys: int, objects: int) -> bytes:
    """Return a page of the listing."""
    first = first_after(start_after, objects)
    last = min(objects, first + keys)
    contents = "".join(
        _OBJECT.format(key=key_of(number), number=number, size=100_000 + number % 1_000)
        for number in range(first, last)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{NAME}</Name><EncodingType>url</EncodingType>"
        f"<IsTruncated>{'true' if last < objects else 'false'}</IsTruncated>{contents}"
        "</ListBucketResult>"
    ).encode()


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    objects = 0

    def do_GET(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        after = asked.get("start-after", [""])[0]
        body = listing(after, int(asked.get("max-keys", ["1000"])[0]), self.objects)
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
        """Log no requests."""


def main() -> None:
    """Serve the requested number of objects on a free port, and print the port."""
    _Answers.objects = int(sys.argv[1])
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
