from bisect import bisect_right

from hypothesis import given
from hypothesis import strategies as st

from fakesweep.producer.sources.s3.split_points import split_point

KEYS = st.lists(
    st.text(st.sampled_from("019azAZ/-_.~é\u65e5\U0001f600\x01"), min_size=1, max_size=8),
    min_size=2,
    max_size=40,
    unique=True,
).map(sorted)


class Bucket:
    """Sorted keys that answer the probe of a bucket."""

    def __init__(self, keys: list[str]) -> None:
        self.keys = keys
        self.probes = 0

    def has_key_after(self, key: str, last: str | None) -> bool:
        self.probes += 1
        place = bisect_right(self.keys, key)
        return place < len(self.keys) and (last is None or self.keys[place] <= last)


@given(KEYS, st.sampled_from(["", "p/", "photos/2024/"]), st.data())
def test_a_split_point_lies_behind_the_start_and_has_keys_behind_it(
    keys: list[str], prefix: str, drawn: st.DataObject
) -> None:
    bucket = Bucket([prefix + key for key in keys])
    start = drawn.draw(st.sampled_from(["", *bucket.keys[:-1]]))
    last = drawn.draw(st.sampled_from([None, bucket.keys[-1]]))
    at = split_point(start, last, prefix, bucket.has_key_after)
    if at is not None:
        at.encode()
        assert at > start
        assert any(key > at and (last is None or key <= last) for key in bucket.keys)


def test_keys_that_share_all_but_their_number_are_split_near_their_middle() -> None:
    keys = [f"photos/2024/IMG_{number:06}.jpg" for number in range(100_000)]
    bucket = Bucket(keys)
    at = split_point(keys[8_000], None, "photos/", bucket.has_key_after)
    assert at is not None
    assert 20_000 < bisect_right(keys, at) < 80_000
    assert bucket.probes < 20


def test_folders_are_split_between_each_other() -> None:
    keys = [f"{year}/{number:04}.jpg" for year in range(2010, 2026) for number in range(1_000)]
    at = split_point(keys[900], None, "", Bucket(keys).has_key_after)
    assert at is not None
    assert 2_000 < bisect_right(keys, at) < 15_000


def test_the_last_keys_of_a_range_are_not_split() -> None:
    keys = ["a.jpg", "b.jpg"]
    assert split_point("b.jpg", None, "", Bucket(keys).has_key_after) is None
    assert split_point("a.jpg", "a.jpg", "", Bucket(keys).has_key_after) is None
