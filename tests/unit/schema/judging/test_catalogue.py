from pathlib import Path

import pytest

from fakesweep.schema.errors import CatalogueError
from fakesweep.schema.judging.catalogue import DEFAULT_MODEL, Catalogue, ModelEntry, read_catalogue
from fakesweep.schema.judging.labels import Side
from fakesweep.schema.judging.policies import Policy


@pytest.fixture
def catalogue() -> Catalogue:
    return read_catalogue(None)


def _own(folder: Path, toml: str) -> Catalogue:
    path = folder / "own.toml"
    path.write_text(toml, "utf-8")
    return read_catalogue(path)


def test_the_five_detectors_and_the_bundled_one_are_known_by_key(catalogue: Catalogue) -> None:
    assert set(catalogue.models) == {
        DEFAULT_MODEL, "ai-vs-deepfake-vs-real-v2", "deepfake-detector-v1", "deepguard",
        "deep-fake-detector-v2", "ai-guard-vision",
    }  # fmt: skip
    for key, entry in catalogue.models.items():
        assert entry.key == key
        assert entry.labels is not None
        assert Side.REAL in entry.labels
        assert entry.about
    assert catalogue.model("deepguard").source == "king1oo1/ai-vs-real-deepfake-model"


def test_policies_come_from_the_operators_file_alone(catalogue: Catalogue, tmp_path: Path) -> None:
    assert catalogue.policies == {}
    own = _own(tmp_path, "[policies.strict]\nreal_below = 0\nfake_above = 0.1")
    assert own.policies == {"strict": Policy("strict", 0.0, 0.1)}


def test_a_key_is_taken_before_a_folder_of_the_same_name(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deepguard").mkdir()
    monkeypatch.chdir(tmp_path)
    assert catalogue.model("deepguard") is catalogue.models["deepguard"]


def test_a_folder_is_a_model_by_its_absolute_path(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = ModelEntry(key=str(folder), source=str(folder))
    for reference in ("mine", "./mine", "~/mine", str(folder)):
        assert catalogue.model(reference) == expected


def test_a_hub_id_is_a_model_by_itself(catalogue: Catalogue) -> None:
    assert catalogue.model("owner/some-model.v2") == ModelEntry(
        "owner/some-model.v2", "owner/some-model.v2"
    )


@pytest.mark.parametrize(
    "reference", ["./none", "/none", "~/none", "~nobody-here/none", "../none", "/" + "n" * 5_000]
)
def test_a_folder_that_is_not_there_is_not_taken_for_a_hub_id(
    catalogue: Catalogue, reference: str
) -> None:
    with pytest.raises(CatalogueError, match=r"folder .* does not exist"):
        catalogue.model(reference)


@pytest.mark.parametrize(
    "reference", ["", "nothing", "a/b/c", "owner/", "owner/mo del", "a/b\n", "ä/b"]
)
def test_a_reference_that_is_no_key_folder_or_hub_id_is_refused(
    catalogue: Catalogue, reference: str
) -> None:
    with pytest.raises(CatalogueError, match=r"is not known.*fakesweep models list"):
        catalogue.model(reference)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("deepgaurd", "deepguard"), ("ai-guard", "ai-guard-vision"), ("vit-cifake", DEFAULT_MODEL)],
)
def test_an_unknown_model_is_refused_with_near_matches(
    catalogue: Catalogue, written: str, meant: str
) -> None:
    with pytest.raises(CatalogueError, match=f"did you mean .*{meant}"):
        catalogue.model(written)


def test_the_operators_entry_takes_the_place_of_a_built_in_one(tmp_path: Path) -> None:
    own = _own(
        tmp_path,
        '[models.deepguard]\nsource = "me/fork"\nrevision = "abc123"\nlabels = ["fake", "real"]',
    )
    assert own.model("deepguard") == ModelEntry(
        "deepguard", "me/fork", "abc123", (Side.FAKE, Side.REAL)
    )
    assert own.model(DEFAULT_MODEL) == read_catalogue(None).model(DEFAULT_MODEL)


@pytest.mark.parametrize(
    ("written", "folder"), [("./mine", "mine"), ("../mine", "../mine"), ("~/mine", "home/mine")]
)
def test_a_folder_in_the_file_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, folder: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir("/")
    own = _own(tmp_path, f'[models.mine]\nsource = "{written}"')
    assert own.model("mine").source == str((tmp_path / folder).resolve())


@pytest.mark.parametrize(
    ("toml", "why"),
    [
        ("models = [", "not valid TOML"),
        ("modles = 1", "does not know `modles`; it knows models, policies"),
        ("models = 5", "`models` is a table"),
        ("[models]\nmine = 5", "models.mine is a table of"),
        ("[models.mine]", "models.mine needs `source`"),
        ('[models.mine]\nsource = ""', "models.mine needs `source`"),
        ("[models.mine]\nsource = 5", "models.mine needs `source`"),
        ('[models.mine]\nsource = "a/b"\nrevison = "1"', "does not know `revison`"),
        ('[models.mine]\nsource = "a/b"\nrevision = 1', "commit in quotes"),
        ('[models.mine]\nsource = "a/b"\nlabels = ["real", "bogus"]', "real, ai_generated"),
        ('[models.mine]\nsource = "a/b"\nlabels = "real"', "`labels` is a list"),
        ('[models.mine]\nsource = "a/b"\nlabels = 5', "`labels` is a list"),
        ("[policies.mine]\nreal_below = 0.1", "policies.mine needs two numbers"),
        ('[policies.mine]\nreal_below = "low"\nfake_above = 1', "needs two numbers"),
        (f"[policies.mine]\nreal_below = 0\nfake_above = 1{'0' * 400}", "needs two numbers"),
        ("[policies.mine]\nreal_below = 0.9\nfake_above = 0.1", "0 <= real_below"),
        ("[policies.mine]\nreal_below = nan\nfake_above = 0.1", "0 <= real_below"),
        ("[policies.mine]\nreal_below = 0\nfake_above = 1\nabout = 1", "does not know `about`"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_the_place(
    tmp_path: Path, toml: str, why: str
) -> None:
    with pytest.raises(CatalogueError, match=why) as refusal:
        _own(tmp_path, toml)
    assert "\n" not in str(refusal.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"none\.toml cannot be read"):
        read_catalogue(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    with pytest.raises(CatalogueError, match=r"latin\.toml cannot be read"):
        read_catalogue(tmp_path / "latin.toml")
