"""One answered row of OpenAI's as a gateway over a cloud writes it, or as the cloud itself has written it.

Source: Portkey's open-source gateway 1.15.2, run, and real output lines of Portkey and of Vertex AI. Each function
takes the row as OpenAI writes it, the job's id and model; None leaves the row out, as the cloud does with one that it
never ran.
"""

from __future__ import annotations

import json

from airflow_batch_provider.core.records import JSON

_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY", "tool_calls": "STOP"}
_REASONS = {400: ("Bad Request", "INVALID_ARGUMENT"), 429: ("Too Many Requests", "RESOURCE_EXHAUSTED")}


def bedrock_line(line: JSON, _job: str, model: str) -> JSON | None:
    """Portkey's translation of a record; one that failed is its bare error, and its id is gone."""
    response = line["response"]
    if response is None:
        if line["error"]["code"] != "batch_expired":
            return None
        return {"errorCode": 408, "errorMessage": "The job has expired.", "expired": True}
    if response["status_code"] != 200:
        return {"errorCode": response["status_code"], "errorMessage": response["body"]["error"]["message"]}
    body = response["body"]
    choices = [{**choice, "finish_reason": _STOPS.get(choice["finish_reason"])} for choice in body["choices"]]
    body = {**body, "model": model, "provider": "bedrock", "choices": choices}
    told = {"status_code": 200, "request_id": body["id"], "body": body}
    return {"id": body["id"], "custom_id": line["custom_id"], "response": told, "error": None}


def vertex_line(line: JSON, job: str, model: str) -> JSON | None:
    """Portkey's translation of a line of Vertex AI's."""
    response = line["response"]
    if response is None:
        return None
    if response["status_code"] != 200:
        row = f"batch-{job}-"
        told: JSON = {"request_id": row, "body": False}
        return {"id": row, "custom_id": line["custom_id"], "response": told, "error": _status(response)}
    body = response["body"]
    row = f"batch-{job}--{body['id']}"
    choices = [
        {
            "message": {
                **choice["message"],
                "content_blocks": [{"type": "text", "text": choice["message"]["content"]}],
            },
            "index": choice["index"],
            "finish_reason": _FINISH.get(choice["finish_reason"], "STOP"),
        }
        for choice in body["choices"]
    ]
    body = {**body, "model": model, "provider": "vertex-ai", "choices": choices}
    told = {"status_code": 200, "request_id": row, "body": body}
    return {"id": row, "custom_id": line["custom_id"], "response": told, "error": ""}


def vertex_raw_line(line: JSON, _job: str, model: str) -> JSON | None:
    """A line of Vertex AI's own output file."""
    response = line["response"]
    if response is None:
        return None
    time = "2026-11-01T18:13:16.826+00:00"
    body = response["body"]
    if response["status_code"] != 200:
        told = {"status": _status(response), "response": {}}
    elif "data" in body:
        values = body["data"][0]["embedding"]
        statistics = {"token_count": body["usage"]["prompt_tokens"], "truncated": False}
        predictions = [{"embeddings": {"statistics": statistics, "values": values}}]
        return {"instance": {"requestId": line["custom_id"]}, "predictions": predictions, "status": ""}
    elif model.startswith("anthropic."):
        told = {"status": "", "response": _claude(body, model)}
    else:
        told = {"status": "", "response": _gemini(body, model)}
    return {"requestId": line["custom_id"], "processed_time": time, "request": {"contents": []}, **told}


def _gemini(body: JSON, model: str) -> JSON:
    usage = body["usage"]
    return {
        "candidates": [
            {
                "content": {"parts": [{"text": choice["message"]["content"]}], "role": "model"},
                "finishReason": _FINISH.get(choice["finish_reason"], "STOP"),
            }
            for choice in body["choices"]
        ],
        "createTime": "2026-11-01T18:13:16.000000Z",
        "modelVersion": model,
        "responseId": body["id"],
        "usageMetadata": {
            "promptTokenCount": usage["prompt_tokens"],
            "candidatesTokenCount": usage["completion_tokens"],
            "totalTokenCount": usage["total_tokens"],
        },
    }


def _claude(body: JSON, model: str) -> JSON:
    usage = body["usage"]
    return {
        "id": body["id"],
        "type": "message",
        "role": "assistant",
        "model": model.removeprefix("anthropic."),
        "content": [{"type": "text", "text": body["choices"][0]["message"]["content"]}],
        "stop_reason": _STOPS.get(body["choices"][0]["finish_reason"]),
        "stop_sequence": None,
        "usage": {"input_tokens": usage["prompt_tokens"], "output_tokens": usage["completion_tokens"]},
    }


def _status(response: JSON) -> str:
    code = response["status_code"]
    reason, status = _REASONS.get(code, ("Internal Server Error", "INTERNAL"))
    error = {"code": code, "message": response["body"]["error"]["message"], "status": status}
    return f"{reason}: {json.dumps({'error': error})}"
