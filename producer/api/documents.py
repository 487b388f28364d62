"""OpenAPI document: the parts that FastAPI cannot derive from the routes."""

from typing import Any

from fakesweep.serving.openapi import REFERENCE

ABOUT = """
Submit images by address or as bytes, have the fakesweep cluster judge them, and read the verdicts.

Every error is a problem document (RFC 9457), with a `code` for programs and a `detail` for people.
"""


SUBMISSION_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": REFERENCE.format(model="Submission")},
                "examples": {
                    "one": {"value": {"uri": "s3://uploads/2026/07/31/a.jpg"}},
                    "several": {
                        "value": {
                            "uris": ["s3://uploads/a.jpg", "https://images.example.com/b.png"],
                            "lane": "live",
                        }
                    },
                },
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["picture"],
                    "additionalProperties": False,
                    "properties": {
                        "picture": {
                            "type": "string",
                            "format": "binary",
                            "minLength": 1,
                            "description": "The picture's bytes; the API does not decode them",
                        },
                        "lane": {"type": "string", "enum": ["live", "bulk"]},
                    },
                },
                "encoding": {"picture": {"contentType": "application/octet-stream, image/*"}},
            },
        },
    }
}

ACCEPTED_LINKS: dict[str, Any] = {
    "image": {
        "operationId": "get_image",
        "parameters": {"image_id": "$response.body#/images/0/image_id"},
        "description": "Status and verdicts of the first image",
    },
    "scan": {
        "operationId": "get_scan",
        "parameters": {"scan_id": "$response.body#/scan_id"},
        "description": "Progress of the scan",
    },
}
