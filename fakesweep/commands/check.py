"""`fakesweep check`: an answer for single pictures, in words, without servers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from fakesweep import completing
from fakesweep.choices import chosen_models
from fakesweep.exits import Exit
from fakesweep.extras import require_worker_extra
from fakesweep.output import write_json
from fakesweep.pictures import check_by
from fakesweep.quiet import log_troubles
from fakesweep.summary import page_line
from fakesweep.text import printable
from schema.catalogue import DEFAULT_POLICY
from schema.failures import ImageFailure
from schema.settings import read_settings

if TYPE_CHECKING:
    from workers.checking import Check


@click.command()
@click.argument(
    "images", metavar="IMAGE...", nargs=-1, required=True, shell_complete=completing.files
)
@click.option(
    "--model",
    "models",
    metavar="KEY|FOLDER",
    multiple=True,
    shell_complete=completing.models,
    help="Model to judge by: a key, a Hub id or a folder. Repeat it to ask several.",
)
@click.option(
    "--policy",
    metavar="NAME",
    default=DEFAULT_POLICY,
    shell_complete=completing.policies,
    show_default=True,
    help="Cut points that turn scores into verdicts.",
)
@click.option("--json", "in_json", is_flag=True, help="Print a line of JSON for each answer.")
def check(*, images: tuple[str, ...], models: tuple[str, ...], policy: str, in_json: bool) -> Exit:
    """Judge single pictures here and now, with nothing stored.

    No server takes part. IMAGE is a file, s3://bucket/key or https://host/path. Each is decoded in
    a process of its own, as a worker does it. The exit status is 1 where a picture could not be
    judged.
    """
    require_worker_extra()
    settings = read_settings()
    log_troubles(settings)
    chosen = list(chosen_models(models, settings))
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
    """Write what the models say of one picture, and what has to be known with it."""
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
