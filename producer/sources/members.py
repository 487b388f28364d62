"""Member sources: files and addresses named one by one, listed as one source."""

import os
from collections.abc import Iterator, Sequence
from itertools import groupby

from fakesweep.producer.sources.folder import list_file
from fakesweep.producer.sources.names import is_list
from fakesweep.schema.ledger.scans.scans import ListedImage, NamedSource
from fakesweep.schema.uris import scheme_of, to_path, to_s3

_LOCAL = (None, "file")


def grouped(sources: Sequence[NamedSource]) -> list[NamedSource]:
    """Group successive single-image sources into one source; return all in order.

    Local paths are checked for regular files.
    """
    found: list[NamedSource] = []
    for (is_one, _), some in groupby(sources, key=lambda one: (_is_one_image(one), one.hostname)):
        group = list(some)
        if is_one and len(group) > 1:
            members = tuple(one.source for one in group)
            found.append(NamedSource(_group_name(members), group[0].hostname, members))
        else:
            found += group
    return found


def list_members(members: Sequence[str], cursor: str | None) -> Iterator[ListedImage]:
    """List members as one image each, unchecked; a cursor is a position, from 1."""
    for place in range(int(cursor or 0), len(members)):
        member = members[place]
        if scheme_of(member) in _LOCAL:
            yield from list_file(_path_text(member), None, str(place + 1))
        else:
            yield ListedImage(member, str(place + 1))


def is_readable_file(member: str) -> bool:
    """Return whether a member is a local file that this process may read."""
    return scheme_of(member) in _LOCAL and os.access(_path_text(member), os.R_OK)


def _is_one_image(source: NamedSource) -> bool:
    said = source.source
    if said == "-" or is_list(said):
        return False
    match scheme_of(said):
        case None:
            return os.path.isfile(said)  # noqa: PTH113 - False, never raises
        case "file":
            return os.path.isfile(to_path(said))  # noqa: PTH113 - False, never raises
        case "s3":
            return to_s3(said).version is not None
        case _:
            return True


def _path_text(member: str) -> str:
    return member if scheme_of(member) is None else str(to_path(member))


def _group_name(members: Sequence[str]) -> str:
    """Return the display name of a group."""
    if any(scheme_of(member) not in _LOCAL for member in members):
        return f"{len(members)} addresses"
    folders = {_path_text(member).rpartition("/")[0] or "/" for member in members}
    common = os.fsencode(os.path.commonpath(folders)).decode("utf-8", "replace")
    return f"{len(members)} files below {common}"
