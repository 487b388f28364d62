"""Imports of a worker before its first model, each test in a fresh process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

from fakesweep.schema.judging.catalogue import ModelEntry
from fakesweep.workers.models.load import load_model
from fakesweep.workers.models.place import resolve_place
from tests.support.checkpoints import Architecture, coloured_noise, save_checkpoint

LEFT_OUT = {"torch._dynamo", "torch._inductor", "torch.distributed.tensor", "scipy"}

SCORES = """
import json, sys
from fakesweep.schema.judging.catalogue import ModelEntry
from fakesweep.workers.models.quick_import import import_quickly

import_quickly()
from tests.support.checkpoints import coloured_noise
from fakesweep.workers.models.load import load_model
from fakesweep.workers.models.place import resolve_place

told = {"modules": sorted(sys.modules)}
for folder in sys.argv[1:]:
    model = load_model(ModelEntry("quick", folder), resolve_place("cpu", "float32"))
    scores = model.classify([model.prepare(image) for image in coloured_noise(4)])
    told[folder] = [scores, repr(model.identity)]
json.dump(told, sys.stdout)
"""

EVERY_ARCHITECTURE = """
from fakesweep.workers.models.quick_import import import_quickly

import_quickly()
import torch
from transformers import AutoModelForImageClassification
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

missing = ("library", "NoneType")  # what is not installed, what has no default configuration
for name in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES:
    try:
        with torch.device("meta"):
            AutoModelForImageClassification.from_config(CONFIG_MAPPING[name]())
    except (ImportError, TypeError) as error:
        assert any(word in str(error) for word in missing), (name, error)
    print(name)
"""

WHOLE_AGAIN = """
from fakesweep.workers.models.quick_import import import_quickly

import_quickly()
import sys
import torch

torch.randn(2, 3, device="meta")
assert "sympy" not in sys.modules
from torch.fx.experimental.symbolic_shapes import ShapeEnv, expect_true, is_nested_int
assert torch.fx.experimental.symbolic_shapes.ShapeEnv is ShapeEnv
number = ShapeEnv().create_unbacked_symint()
assert not is_nested_int(number) and expect_true(number >= 0)

from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex
from transformers import masking_utils, utils

assert isinstance(masking_utils.TransformGetItemToIndex(), TransformGetItemToIndex)
assert utils.is_torch_distributed_available() == torch.distributed.is_available()
doubled = torch.compile(lambda numbers: 2 * numbers, backend="eager")
print(doubled(torch.tensor([21])).item())
"""

CHANGED = """
import sys
from fakesweep.workers.models import quick_import

quick_import._ABSENT = ("is_gone",)
quick_import._SHARED = ("transformers.no_such_module",)
quick_import.import_quickly()
from transformers import masking_utils
import torch

print("torch._dynamo" in sys.modules)
"""


def run(program: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", program, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_models_are_the_same_without_what_is_left_out(tmp_path: Path) -> None:
    folders = [str(save_checkpoint(tmp_path / one, one)) for one in get_args(Architecture)]
    told = json.loads(run(SCORES, *folders))
    assert LEFT_OUT.isdisjoint(told["modules"])
    for folder in folders:
        model = load_model(ModelEntry("quick", folder), resolve_place("cpu", "float32"))
        scores = model.classify([model.prepare(image) for image in coloured_noise(4)])
        assert told[folder][0] == [list(one) for one in scores if isinstance(one, tuple)], folder
        assert told[folder][1] == repr(model.identity)


def test_every_architecture_that_transformers_has_can_be_built() -> None:
    assert "siglip\n" in run(EVERY_ARCHITECTURE)


def test_the_compiler_is_there_when_something_is_compiled() -> None:
    assert run(WHOLE_AGAIN).split() == ["42"]


def test_a_transformers_that_has_changed_is_imported_whole() -> None:
    assert run(CHANGED).split()[-1] == "True"
