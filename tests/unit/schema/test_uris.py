import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakesweep.schema.failures import InvalidUri
from fakesweep.schema.uris import (
    LONGEST_URI_BYTES,
    MAX_PATH_BYTES,
    MAX_URI_BYTES,
    S3Address,
    from_path,
    from_s3,
    normalise,
    path_of,
    scheme_of,
    to_path,
    to_s3,
)

FILE_NAMES = st.binary(min_size=1, max_size=60).filter(
    lambda name: b"\x00" not in name and b"/" not in name and name not in (b".", b"..")
)
KEYS = st.text(
    st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=60
)
PIECES = st.sampled_from(
    [
        ";versionId=",
        ";",
        "a",
        "B",
        "%",
        "%2F",
        "%41",
        "/",
        "//",
        "..",
        ".",
        "?",
        "#",
        ":",
        "@",
        " ",
        "é",
        "[",
        "]",
        "80",
    ]
)


@given(st.lists(FILE_NAMES, min_size=1, max_size=4))
def test_any_path_comes_back_from_its_uri_byte_for_byte(names: list[bytes]) -> None:
    path = Path(os.fsdecode(b"/" + b"/".join(names)))
    uri = from_path(path)
    assert os.fsencode(to_path(uri)) == os.fsencode(path)
    assert uri.isascii()
    assert uri.isprintable()


@pytest.mark.parametrize(
    "name", ["-rf", "a#b?c%41.jpg", "line\nbreak", " lead and trail ", "~", "é"]
)
def test_awkward_file_names_survive(name: str) -> None:
    assert to_path(from_path(Path("/photos") / name)) == Path("/photos") / name


def test_a_relative_path_is_made_absolute_and_links_are_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.chdir(tmp_path)
    assert to_path(from_path(Path("link/a.jpg"))) == tmp_path / "link" / "a.jpg"


@given(
    st.lists(PIECES, max_size=12),
    st.sampled_from(["file:///", "s3://bucket/", "s3://bucket", "http://h/"]),
)
def test_normalising_twice_changes_nothing(pieces: list[str], start: str) -> None:
    _assert_stable(start + "".join(pieces))


@given(st.text(max_size=40), st.sampled_from(["", "file://", "s3://", "https://", "HTTP://"]))
def test_any_text_is_normalised_for_good_or_refused(text: str, start: str) -> None:
    _assert_stable(start + text)


def _assert_stable(text: str) -> None:
    try:
        uri = normalise(text)
    except InvalidUri:
        return
    assert normalise(uri) == uri
    assert len(uri.encode()) <= LONGEST_URI_BYTES
    assert "\x00" not in uri


@given(KEYS)
def test_s3_keys_are_kept_to_the_letter(key: str) -> None:
    uri = from_s3("bucket", key)
    assert to_s3(uri) == S3Address("bucket", key)
    assert normalise(uri) == uri


@given(KEYS, KEYS)
def test_a_version_and_its_key_come_back_to_the_letter(key: str, version: str) -> None:
    uri = from_s3("bucket", key, version)
    assert to_s3(uri) == S3Address("bucket", key, version)
    assert normalise(uri) == uri
    assert uri != from_s3("bucket", key)


@given(KEYS, KEYS, KEYS, KEYS)
def test_two_versions_never_share_a_spelling(
    key: str, version: str, other_key: str, other_version: str
) -> None:
    are_one = (key, version) == (other_key, other_version)
    assert (from_s3("b-1", key, version) == from_s3("b-1", other_key, other_version)) is are_one


@pytest.mark.parametrize(
    "key",
    ["a.jpg?versionId=abc", "a.jpg;versionId=abc", ";versionId=abc/a.jpg", "a#version=1", "a@1"],
)
def test_no_key_is_taken_for_a_version(key: str) -> None:
    assert to_s3(f"s3://photos/{key}") == S3Address("photos", key)
    assert to_s3(from_s3("photos", key, "1")) == S3Address("photos", key, "1")


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("s3://photos;versionId=null/a.jpg", "s3://photos;versionId=null/a.jpg"),
        ("S3://photos;versionId=a+b.c_d-e/a b", "s3://photos;versionId=a%2Bb.c_d-e/a b"),
        ("s3://photos;versionId=3%2fL4=;x/a", "s3://photos;versionId=3%2FL4%3D%3Bx/a"),
        ("s3://photos;versionId=%41%zz/a", "s3://photos;versionId=A%25zz/a"),
    ],
)
def test_a_version_has_one_spelling(written: str, stored: str) -> None:
    assert normalise(written) == stored
    assert normalise(stored) == stored


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("s3://photos;versionId=/a.jpg", "no version"),
        ("s3://photos;versionid=1/a.jpg", "no bucket name"),
        ("s3://photos;a.jpg", "no bucket name"),
        ("s3://;versionId=1/a.jpg", "no bucket name"),
        ("s3://photos;versionId=1/", "no object"),
        ("s3://photos;versionId=%00/a.jpg", "NUL"),
        ("s3://photos;versionId=%ff/a.jpg", "Unicode"),
        ("s3://photos;versionId=\ud800/a.jpg", "Unicode"),
        ("s3://photos;versionId=hunter2@host/a.jpg", "credentials"),
        ("s3://key:hunter2;versionId=1/a.jpg", "credentials"),
        ("s3://photos;versionId=" + "1" * 8_192 + "/a.jpg", "longer"),
    ],
)
def test_a_malformed_version_is_refused(text: str, why: str) -> None:
    with pytest.raises(InvalidUri, match=why):
        normalise(text)


@pytest.mark.parametrize("version", ["", "\x00", "\ud800"])
def test_a_version_that_cannot_be_stored_is_refused(version: str) -> None:
    with pytest.raises(InvalidUri):
        from_s3("photos", "a.jpg", version)


@pytest.mark.parametrize("bucket", ["photos/2024", "photos;versionId=1", "a", "", "arn:x/y"])
def test_an_invalid_bucket_never_becomes_part_of_a_uri(bucket: str) -> None:
    with pytest.raises(InvalidUri, match="no bucket name"):
        from_s3(bucket, "a.jpg")


@pytest.mark.parametrize(
    "key", ["a b ", "//a//b/", "a/.././b", "a?b#c", "100%25", "a\nb", "é", "C:\\a", "-", "a@b:c"]
)
def test_awkward_s3_keys_survive(key: str) -> None:
    assert normalise(f"s3://photos/{key}") == f"s3://photos/{key}"
    assert to_s3(f"s3://photos/{key}").key == key


LEADING_OUT = [
    "../private/x", "..", "a/../../private/x", "./../private/x", "//../private/x",
    "a//../../private/x", "a/./../../x", "..\\private\\x", "a/b/../../../x",
]  # fmt: skip


@pytest.mark.parametrize("key", LEADING_OUT)
def test_a_key_whose_dots_lead_out_of_its_bucket_is_refused(key: str) -> None:
    for refuse in (
        lambda: normalise(f"s3://allowed/{key}"),
        lambda: normalise(f"s3://allowed;versionId=1/{key}"),
        lambda: to_s3(f"s3://allowed/{key}"),
        lambda: from_s3("allowed", key),
    ):
        with pytest.raises(InvalidUri, match="leads out of its bucket"):
            refuse()


@pytest.mark.parametrize(
    "key", ["a/../b", "a/b/../../c", "...", "..a/b", "a..", "%2e%2e/private/x"]
)
def test_a_key_with_dots_that_stays_in_its_bucket_is_kept(key: str) -> None:
    assert normalise(f"s3://allowed/{key}") == f"s3://allowed/{key}"


def test_an_s3_prefix_may_be_a_bucket_alone_but_an_image_may_not() -> None:
    assert to_s3("s3://photos") == S3Address("photos", "")
    assert to_s3("s3://photos/") == S3Address("photos", "")
    with pytest.raises(InvalidUri, match="no object"):
        normalise("s3://photos/")


@pytest.mark.parametrize("bucket", ["", "a", "-ab", "a b", "a" * 256, "bucket\n", "bücket"])
def test_malformed_buckets_are_refused(bucket: str) -> None:
    with pytest.raises(InvalidUri, match="bucket"):
        normalise(f"s3://{bucket}/a.jpg")


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("HTTP://Example.ORG/A.jpg", "http://example.org/A.jpg"),
        ("https://example.org", "https://example.org/"),
        ("https://example.org?size=2", "https://example.org/?size=2"),
        ("https://example.org:443/a", "https://example.org/a"),
        ("http://example.org:80/a", "http://example.org/a"),
        ("http://example.org:443/a", "http://example.org:443/a"),
        ("https://example.org:/a", "https://example.org/a"),
        ("https://example.org/a?b=1#part", "https://example.org/a?b=1"),
        ("https://example.org//a/../b%20c", "https://example.org//a/../b%20c"),
        ("http://[2001:DB8::1]:8080/a", "http://[2001:db8::1]:8080/a"),
        ("https://[::1]:443/a", "https://[::1]/a"),
        ("S3://photos/A.jpg", "s3://photos/A.jpg"),
        ("FILE:///photos/a.jpg", "file:///photos/a.jpg"),
        ("file://localhost/photos/a.jpg", "file:///photos/a.jpg"),
        ("file:////photos//a/../b.jpg", "file:///photos/b.jpg"),
        ("file:///photos/a b.jpg", "file:///photos/a%20b.jpg"),
        ("file:///photos/a\nb.jpg", "file:///photos/a%0Ab.jpg"),
        ("file:///photos/100%.jpg", "file:///photos/100%25.jpg"),
        ("file:///photos/%61%e9.jpg", "file:///photos/a%E9.jpg"),
        ("file:///photos/é.jpg", "file:///photos/%C3%A9.jpg"),
    ],
)
def test_one_image_has_one_spelling(written: str, stored: str) -> None:
    assert normalise(written) == stored
    assert normalise(stored) == stored


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("/photos/a.jpg", "no scheme"),
        (" s3://photos/a.jpg", "no scheme"),
        ("ftp://example.org/a.jpg", "'ftp' is not known"),
        ("gs://photos/a.jpg", "'gs' is not known"),
        ("s3://photos/a\x00.jpg", "NUL"),
        ("file:///photos/a%00.jpg", "NUL"),
        ("file://server/photos/a.jpg", "no host"),
        ("file:///", "needs a path"),
        ("file:///./..", "needs a path"),
        ("file:///what?.jpg", "%3F"),
        ("file:///a#1.jpg", "%23"),
        ("file:///\udcff.jpg", "Unicode"),
        ("s3://photos/\ud800", "Unicode"),
        ("https://example.org/\udcff", "Unicode"),
        ("https:///a.jpg", "no host"),
        ("https://example.org:99999/a", "port"),
        ("https://example.org:eight/a", "port"),
        ("https://[::1/a", "host cannot be read"),
        ("https://example.org/a b", "white space"),
        ("https://example.org/a\n", "white space"),
        ("https://example.org/a\x7f", "white space"),
    ],
)
def test_an_invalid_uri_is_refused_with_a_reason(text: str, why: str) -> None:
    with pytest.raises(InvalidUri, match=why):
        normalise(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://user:hunter2@example.org/a.jpg",
        "https://hunter2@example.org/a.jpg",
        "https://@example.org/a.jpg",
        "s3://key:hunter2@bucket/a.jpg",
        "file://user:hunter2@host/a.jpg",
    ],
)
def test_credentials_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidUri) as refusal:
        normalise(text)
    assert "hunter2" not in str(refusal.value)


def test_a_uri_may_have_8192_bytes_and_not_one_more() -> None:
    longest = "s3://photos/" + "é" * ((MAX_URI_BYTES - 12) // 2)
    assert len(longest.encode()) == MAX_URI_BYTES
    assert normalise(longest) == longest
    with pytest.raises(InvalidUri, match="longer than 8192 bytes"):
        normalise(longest + "a")


@pytest.mark.parametrize("letter", ["a", "\n", "日"])
def test_of_a_path_its_own_bytes_count_and_not_their_encoding(letter: str) -> None:
    room = MAX_PATH_BYTES - 1
    path = Path("/" + letter * (room // len(letter.encode())))
    assert to_path(from_path(path)) == path
    assert len(from_path(path)) <= LONGEST_URI_BYTES
    with pytest.raises(InvalidUri, match="the path is longer than 4095 bytes"):
        from_path(Path(f"{path}/{letter * 300}"))


def test_a_path_is_shown_as_people_write_it() -> None:
    assert path_of("file:///photos/gl%C3%A4serne%20Platten/%23%31.jpg") == (
        "/photos/gläserne Platten/#1.jpg"
    )
    assert path_of("file:///caf%E9%5C.jpg") == "/caf\\351\\\\.jpg"
    assert path_of("s3://bucket/a%20b.jpg") is None
    assert path_of("file:///list.txt#line-3") is None


def test_a_path_with_a_nul_is_refused() -> None:
    with pytest.raises(InvalidUri, match="NUL"):
        from_path(Path("/a\x00b"))


def test_the_scheme_of_a_path_is_none() -> None:
    assert scheme_of("S3://a/b") == "s3"
    assert scheme_of("photos/s3://a") is None
    assert scheme_of("C:/photos") is None
    assert scheme_of("-") is None
