import re
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from fakesweep.schema.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "settings.md").read_text()
ROWS = re.findall(rf"^\| `({PREFIX}\w+)` \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)


def test_the_table_has_every_setting_in_the_order_of_the_code() -> None:
    assert [name for name, _, _ in ROWS] == [
        PREFIX + name.upper() for name in Settings.model_fields
    ]


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_is_documented_with_its_default_and_meaning(name: str) -> None:
    field = Settings.model_fields[name]
    assert field.description
    assert (PREFIX + name.upper(), _default(field), field.description) in ROWS


def test_the_page_names_no_setting_that_does_not_exist() -> None:
    named = set(re.findall(rf"{PREFIX}[A-Z0-9_]+", PAGE))
    assert named == {PREFIX + name.upper() for name in Settings.model_fields}


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value in ((), ""):
        return "unset"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
