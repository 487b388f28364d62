"""A scan's choices at work: which of the listed images it takes."""

from collections.abc import Callable
from datetime import UTC, datetime

from schema.ages import moment_of, recorded_moment
from schema.errors import SourceError
from schema.ledger import ListedImage
from schema.selection import Selection, patterns_of

Taken = Callable[[ListedImage], bool]


def check_selection(selection: Selection) -> None:
    """Refuse choices that make no sense, or that nothing could meet.

    Raises:
        SourceError: the message says which.
    """
    if selection.since is not None:
        moment_of(selection.since, datetime.now(UTC))
    low, high = selection.min_bytes, selection.max_bytes
    if low is not None and high is not None and low > high:
        raise SourceError(f"no image has at least {low} and at most {high} bytes")


def chooser(selection: Selection, asked_at: datetime) -> Taken | None:
    """Return what says of an image whether a scan takes it; None where it takes all.

    What cannot be read is always taken: it ends as a failure for people to see.
    """
    chosen = Selection(versions=selection.versions)
    if selection == chosen:
        return None
    include, exclude = patterns_of(selection.include), patterns_of(selection.exclude)
    since = recorded_moment(selection.since, asked_at) if selection.since else None
    low, high = selection.min_bytes, selection.max_bytes

    def is_taken(image: ListedImage) -> bool:
        if image.unreadable is not None:
            return True
        if include is not None and not include.match(image.uri):
            return False
        if exclude is not None and exclude.match(image.uri):
            return False
        if since is not None and image.modified_at is not None and image.modified_at < since:
            return False
        size = image.size_bytes
        return size is None or ((low is None or size >= low) and (high is None or size <= high))

    return is_taken
