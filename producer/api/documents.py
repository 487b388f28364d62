"""The API's OpenAPI document: what FastAPI says of the routes, and what it leaves out."""

from typing import Any

from fakesweep.serving.openapi import REFERENCE

ABOUT = """
Images are handed in by their address, judged by the fakesweep cluster, and asked for again.

Every error is a problem document (RFC 9457): programs go by its `code`, people read its `detail`.
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
                            "description": "A picture as it is; the API does not look into it",
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
        "description": "What came of the first image",
    },
    "scan": {
        "operationId": "get_scan",
        "parameters": {"scan_id": "$response.body#/scan_id"},
        "description": "How far the scan is",
    },
}
