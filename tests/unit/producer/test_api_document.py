"""OpenAPI document: complete and valid."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.openapi.models import OpenAPI

from fakesweep import cli
from fakesweep.exits import Exit
from fakesweep.producer.api import documents, models
from fakesweep.producer.api.app import make_app
from fakesweep.schema.uris import SCHEMES
from fakesweep.serving.problems import MEDIA_TYPE, ProblemDetails

DOCUMENT = make_app().openapi()


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in DOCUMENT["paths"].values():
        for operation in path.values():
            yield operation["operationId"], operation


def test_the_command_prints_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["api", "--openapi"]) == Exit.DONE
    assert json.loads(capsys.readouterr().out) == DOCUMENT


def test_it_is_openapi_with_all_that_the_api_does() -> None:
    OpenAPI.model_validate(DOCUMENT)
    assert {(path, *methods) for path, methods in DOCUMENT["paths"].items()} == {
        ("/v1/images", "post", "get"),
        ("/v1/images/{image_id}", "get"),
        ("/v1/scans", "get"),
        ("/v1/scans/{scan_id}", "get"),
        ("/v1/health", "get"),
    }


def test_every_operation_but_health_needs_a_token() -> None:
    assert DOCUMENT["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    for name, operation in operations():
        secured = operation.get("security") == [{"token": []}]
        assert secured == (name != "get_health"), name
        assert ("401" in operation["responses"]) == secured, name


def test_every_error_is_a_problem_with_an_example_of_itself() -> None:
    for name, operation in operations():
        assert operation["summary"], name
        for status, response in operation["responses"].items():
            if int(status) < 400:
                continue
            assert list(response["content"]) == [MEDIA_TYPE], (name, status)
            shown = response["content"][MEDIA_TYPE]
            assert shown["schema"] == {"$ref": "#/components/schemas/ProblemDetails"}
            assert ProblemDetails.model_validate(shown["example"]).status == int(status)


@pytest.mark.parametrize("status", ["429", "503"])
def test_a_retryable_answer_has_retry_after(status: str) -> None:
    found = [o["responses"][status] for _, o in operations() if status in o["responses"]]
    assert found
    assert all(response["headers"]["Retry-After"]["required"] for response in found)


@pytest.mark.parametrize("model", ["Accepted", "Image", "ImagePage", "Scan", "ScanPage"])
def test_examples_are_what_they_show(model: str) -> None:
    [example] = DOCUMENT["components"]["schemas"][model]["examples"]
    getattr(models, model).model_validate(example)


def test_examples_of_submissions_are_accepted() -> None:
    body = documents.SUBMISSION_BODY["requestBody"]["content"]["application/json"]
    for example in body["examples"].values():
        models.Submission.model_validate_json(json.dumps(example["value"]))


def test_every_reference_leads_somewhere() -> None:
    written = json.dumps(DOCUMENT)
    named = {part.partition('"')[0] for part in written.split("#/components/schemas/")[1:]}
    assert named <= set(DOCUMENT["components"]["schemas"])


def test_the_document_knows_the_schemes_that_are_known() -> None:
    shown = DOCUMENT["components"]["schemas"]["Submission"]["properties"]["uri"]["pattern"]
    assert re.findall(r"\w+", shown) == sorted(SCHEMES, key=["s3", "http", "https", "file"].index)
    assert set(SCHEMES) == {"s3", "http", "https", "file"}
