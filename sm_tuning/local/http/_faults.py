"""Errors in the shapes of the AWS protocols: JSON 1.1, S3's XML and the Query protocol's XML."""

from __future__ import annotations

import json
import uuid
from typing import Any
from xml.sax.saxutils import escape

from werkzeug.wrappers import Response

from sm_tuning.local.service._fault import Fault

JSON_TYPE = "application/x-amz-json-1.1"


def json_response(body: Any, status: int = 200) -> Response:
    """Return a JSON 1.1 response with the headers that AWS sets."""
    response = Response(json.dumps(body), status=status, content_type=JSON_TYPE)
    response.headers["x-amzn-requestid"] = str(uuid.uuid4())
    return response


def xml_response(body: str, status: int = 200) -> Response:
    """Return an XML response."""
    response = Response(f'<?xml version="1.0" encoding="UTF-8"?>\n{body}', status=status, content_type="text/xml")
    response.headers["x-amzn-requestid"] = str(uuid.uuid4())
    return response


def query_result(operation: str, namespace: str, result: str) -> Response:
    """Return the Query protocol's envelope around a result."""
    return xml_response(
        f'<{operation}Response xmlns="{namespace}"><{operation}Result>{result}</{operation}Result>'
        f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata></{operation}Response>"
    )


def fault_response(fault: Fault, protocol: str) -> Response:
    """Return a fault in the shape of a protocol: ``json``, ``s3`` or ``query``."""
    code, message = escape(fault.code), escape(fault.message)
    if protocol == "json":
        response = json_response({"__type": fault.code, "message": fault.message}, fault.status)
        response.headers["x-amzn-errortype"] = fault.code
        return response
    if protocol == "s3":
        return xml_response(
            f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>{uuid.uuid4()}</RequestId></Error>",
            fault.status,
        )
    side = "Receiver" if fault.status >= 500 else "Sender"
    return xml_response(
        f"<ErrorResponse><Error><Type>{side}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
        f"<RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>",
        fault.status,
    )
