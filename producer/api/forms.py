"""Form with a picture (multipart/form-data), parsed as a stream in little memory."""

from collections.abc import Callable

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

MEDIA_TYPE = "multipart/form-data"
PICTURE, LANE = "picture", "lane"
LANES = ("live", "bulk")
IDENTITY_ENCODINGS = (b"7bit", b"8bit", b"binary")
"""Identity transfer encodings; RFC 7578 allows no others in forms."""

MOST_LANE_BYTES = 16
FORM_BYTES = 16 * 1024
"""Limit of a form's size without its picture."""


class FormError(Exception):
    """A form is malformed; `field` names the part, empty for the form itself."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


class Form:
    """Parser of a form: passes the `picture` on in pieces, and keeps the field `lane`.

    Raises:
        FormError: the media type has no boundary.
    """

    def __init__(self, content_type: str) -> None:
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if not boundary:
            raise FormError("", "the header Content-Type names no boundary")
        self.picture: Callable[[bytes], None] = lambda _data: None
        self._fields: dict[str, bytes] = {}
        self._name = ""
        self._header = (b"", b"")
        self._is_ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._take_header_name,
                    "on_header_value": self._take_header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._begin_field,
                    "on_part_data": self._take_data,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise FormError("", "the header Content-Type names no boundary") from error

    @property
    def lane(self) -> str | None:
        """The lane of the form, or None."""
        lane = self._fields.get(LANE)
        return None if lane is None else lane.decode("ascii", "replace")

    def feed(self, data: bytes) -> None:
        """Parse a piece of the body.

        Raises:
            FormError: the body is no form, or has an unknown or repeated field.
            OutputError: the picture cannot be stored.
        """
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise FormError("", "the body is no form with this boundary") from error

    def finish(self) -> None:
        """Check that the form is complete and has a picture.

        Raises:
            FormError: the form is incomplete, or its lane is unknown.
        """
        if not self._is_ended:
            raise FormError("", "the body ends before the form does")
        if PICTURE not in self._fields:
            raise FormError(PICTURE, "the form holds no picture")
        if self.lane not in (None, *LANES):
            raise FormError(LANE, f"write one of {', '.join(LANES)}")

    def _begin(self) -> None:
        self._name, self._header = "", (b"", b"")

    def _take_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0] + data[start:end], b"")

    def _take_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0], self._header[1] + data[start:end])

    def _end_header(self) -> None:
        name, value = self._header
        if name.lower() == b"content-disposition":
            _, options = parse_options_header(value)
            self._name = options.get(b"name", b"").decode("utf-8", "replace")
        elif name.lower() == b"content-transfer-encoding" and not _is_identity(value):
            raise FormError("", "send each part as it is, with no Content-Transfer-Encoding")
        self._header = (b"", b"")

    def _begin_field(self) -> None:
        if self._name not in (PICTURE, LANE):
            raise FormError("", f"the form's fields are {PICTURE} and {LANE}, and no others")
        if self._name in self._fields:
            raise FormError(self._name, "it stands there twice")
        self._fields[self._name] = b""

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if self._name == PICTURE:
            self.picture(data[start:end])
            return
        self._fields[self._name] += data[start:end]
        if len(self._fields[self._name]) > MOST_LANE_BYTES:
            raise FormError(LANE, f"write one of {', '.join(LANES)}")

    def _end(self) -> None:
        self._is_ended = True


def _is_identity(encoding: bytes) -> bool:
    return encoding.strip().lower() in IDENTITY_ENCODINGS
