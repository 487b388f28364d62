"""`fakesweep check`: verdicts on single pictures, without servers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from fakesweep.exits import Exit
from fakesweep.extras import require_worker_extra
from fakesweep.logging_setup import log_troubles
from fakesweep.model_choice import chosen_models
from fakesweep.output import write_json
from fakesweep.pictures import check_by
from fakesweep.schema.failures import ImageFailure
from fakesweep.schema.settings import read_settings
from fakesweep.summary import page_line
from fakesweep.text import printable

if TYPE_CHECKING:
    from fakesweep.workers.single_picture import Check


def check(*, images: tuple[str, ...], models: tuple[str, ...], policy: str, in_json: bool) -> Exit:
    """Judge single pictures now, without storing anything."""
    require_worker_extra()
    settings = read_settings()
    log_troubles(settings)
    chosen = list(chosen_models(models, settings))
    from fakesweep.workers.models.quick_import import import_quickly  # noqa: PLC0415 - needs the worker extra

    import_quickly()
    status = Exit.DONE
    for image in images:
        try:
            found = check_by(image, chosen, policy)
        except ImageFailure as failure:
            status = Exit.FAILED
            _say_failure(image, failure, in_json=in_json)
            continue
        if in_json:
            for one in found:
                write_json(one.as_json())
        else:
            _say(image, found)
    return status


def _say(image: str, found: "Sequence[Check]") -> None:
    """Write the models' verdicts on one picture, with their caveats."""
    click.echo(f"{printable(image)}: {_in_short(found)}")
    for one in found:
        click.echo(page_line("model", f"{one.model}: {one.verdict}, since {one.why}"))
        click.echo(page_line("scores", _scores(one)))
    content = found[0].content
    size = f"{content.width} x {content.height} pixels, {content.size_bytes:,} bytes"
    click.echo(page_line("picture", f"{content.format}, {size}"))
    click.echo(page_line("sha256", content.sha256.hex()))
    for caveat in dict.fromkeys(caveat for one in found for caveat in one.caveats):
        click.echo(page_line("but", caveat))


def _in_short(found: "Sequence[Check]") -> str:
    words = list(dict.fromkeys(one.verdict.value for one in found))
    return words[0] if len(words) == 1 else f"the models disagree: {', '.join(words)}"


def _scores(one: "Check") -> str:
    strongest = sorted(one.scores.items(), key=lambda label: -label[1])
    return ", ".join(f"{name} {score:.4f} ({one.labels[name].value})" for name, score in strongest)


def _say_failure(image: str, failure: ImageFailure, *, in_json: bool) -> None:
    if in_json:
        write_json({
            "uri": image, "status": "failed",
            "failure_code": failure.code.value, "failure_message": str(failure),
        })  # fmt: skip
    else:
        click.echo(f"{printable(image)}: failed, {failure.code}: {printable(str(failure))}")
