"""What the server says of itself: an OpenAPI document, and a page of plain HTML that asks nothing of other hosts."""

from html import escape
from typing import Any

from srkit_server.jobs import AUTO, Jobs
from srkit_server.options import Options
from srkit_server.receive import PICTURE

ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
REASONS = {
    400: "the form cannot be read",
    401: "a password is needed",
    408: "the picture came too slowly",
    413: "more bytes or pixels than the server takes",
    415: "it is no picture that can be read",
    422: "an option that cannot be",
    503: "the queue is full; Retry-After says when to come again",
    504: "it took longer than it may",
}
HEADERS = {
    "Srkit-Model": "the weights, each with its scale",
    "Srkit-Licence": "of the weights",
    "Srkit-Weights": "SHA-256 of the weight files",
    "Srkit-Runtime": "what they ran in, and its precision: torch in fp32",
    "Srkit-Size": "pixels of the result, WIDTHxHEIGHT",
    "Srkit-Seconds": "that it was computed",
    "Srkit-Waited": "seconds in the queue",
    "Srkit-Notices": "a JSON list of what the user should know",
}
STATE = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "state": {"type": "string", "enum": ["waiting", "running", "done", "failed", "cancelled"]},
        "place": {"type": "integer", "description": "Jobs that end before it begins."},
        "share": {"type": "number", "description": "In [0, 1], how much is done."},
        "left": {"type": ["number", "null"], "description": "Seconds."},
        "notices": {"type": "array", "items": {"type": "string"}},
        "error": {"type": ["string", "null"]},
        "plan": {"$ref": "#/components/schemas/Plan"},
    },
}
PAIR = {"type": "array", "items": {"type": "integer"}, "description": "Width and height in pixels."}
PLAN = {
    "type": "object",
    "properties": {
        "source": PAIR,
        "size": PAIR,
        "chain": {"type": "array", "items": {"type": "integer"}, "description": "Scales, one after the other."},
        "models": {"type": "object", "description": "Of each scale: name, weights_sha256."},
        "depth": {"type": "integer"},
        "dpi": {"type": ["number", "null"]},
        "tiles": {"type": ["integer", "null"]},
        "seconds": {"type": ["number", "null"]},
        "notices": {"type": "array", "items": {"type": "string"}},
    },
}
MODEL = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "scales": {"type": "array", "items": {"type": "integer"}},
        **{key: {"type": "string"} for key in ("licence", "trained_on", "summary", "paper")},
        "network": {"type": "boolean", "description": "False for an interpolation."},
    },
}


def fields(jobs: Jobs) -> dict[str, dict[str, Any]]:
    """The options by name as JSON schemas; null, which no form can say, is left out."""
    found = {}
    for name, schema in Options.model_json_schema(by_alias=True)["properties"].items():
        given = [each for each in schema.get("anyOf", []) if each.get("type") != "null"]
        merged = schema | (given[0] if given else {})
        found[name] = {k: v for k, v in merged.items() if k not in ("anyOf", "title") and (k, v) != ("default", None)}
    found["backend"]["enum"] = [*jobs.backends, AUTO]
    found["precision"]["enum"] = [*dict.fromkeys(each for offered in jobs.backends.values() for each in offered), AUTO]
    return found


def documented(jobs: Jobs) -> dict[str, Any]:
    """OpenAPI 3.1."""
    import srkit

    form = {
        "type": "object",
        "properties": {
            PICTURE: {"type": "string", "format": "binary", "description": f"At most {jobs.limits.upload:,} bytes."},
            **fields(jobs),
        },
        "required": [PICTURE],
        "additionalProperties": False,
    }
    body = {"required": True, "content": {"multipart/form-data": {"schema": form}}}
    picture = {
        "description": "The file, byte for byte as srkit upscale writes it.",
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
        "headers": {name: {"description": text, "schema": {"type": "string"}} for name, text in HEADERS.items()},
    }
    number = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    state = answer("Where the job is.", {"$ref": "#/components/schemas/Job"})
    return {
        "openapi": "3.1.0",
        "info": {"title": "srkit-server", "version": srkit.__version__, "description": "Upscale pictures."},
        "paths": {
            "/upscale": {"post": asked("Upscale a picture", {"200": picture}, body)},
            "/plan": {
                "post": asked("What would be made", {"200": answer("The plan.", schema("Plan"))}, body),
            },
            "/jobs": {"post": asked("Put a picture into the queue", {"202": state}, body)},
            "/jobs/{id}": {
                "parameters": [number],
                "get": asked("Where a job is", {"200": state, "404": error("there is no such job")}),
                "delete": asked("Cancel a job", {"204": {"description": "Done."}}),
            },
            "/jobs/{id}/result": {
                "parameters": [number],
                "get": asked("The file of a job", {"200": picture, "409": error("it is not made yet")}),
            },
            "/models": {
                "get": asked("The models", {"200": answer("All.", {"type": "array", "items": schema("Model")})})
            },
            "/health": {"get": asked("Whether the server lives", {"200": {"description": "It does."}})},
        },
        "components": {
            "schemas": {"Error": ERROR, "Job": STATE, "Plan": PLAN, "Model": MODEL},
            "securitySchemes": {"password": {"type": "http", "scheme": "basic", "description": "Any user's name."}},
        },
        "security": [{}, {"password": []}],
    }


def schema(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def answer(text: str, of: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": of}}}


def error(text: str) -> dict[str, Any]:
    return answer(text, schema("Error"))


def asked(summary: str, answers: dict[str, Any], body: dict[str, Any] | None = None) -> dict[str, Any]:
    if body is None:
        return {"summary": summary, "responses": answers}
    errors = {str(status): error(text) for status, text in REASONS.items()}
    return {"summary": summary, "requestBody": body, "responses": answers | errors}


STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #8886; }
code, pre { font-family: ui-monospace, monospace; font-size: .9rem; }
pre { overflow-x: auto; padding: .75rem; background: #8882; }
label { display: block; margin: .5rem 0; }
"""
CURL = "curl -f -F picture=@photo.jpg -F print=A2 -F crop=true -F format=jpeg -OJ {address}upscale"


def html(jobs: Jobs) -> str:
    """The page: a form that works without a script, the options, the models, the addresses."""
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(kind_of(field))}</td>"
        f"<td>{escape(field.get('description', ''))}</td></tr>"
        for name, field in fields(jobs).items()
    )
    models = "".join(
        f"<tr><td><code>{escape(model.name)}</code></td><td>{', '.join(f'x{s}' for s in model.scales)}</td>"
        f"<td>{escape(model.licence or 'not said')}</td><td>{escape(model.summary)}</td></tr>"
        for model in jobs.models.values()
    )
    choices = "".join(f'<option value="{escape(name)}">{escape(name)}</option>' for name in jobs.models)
    document = documented(jobs)
    paths = "".join(
        f"<tr><td><code>{method.upper()} {path}</code></td><td>{escape(about['summary'])}</td></tr>"
        for path, methods in document["paths"].items()
        for method, about in methods.items()
        if method != "parameters"
    )
    limits = jobs.limits
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>srkit-server</title>
<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>
<h1>srkit-server</h1>
<p>Send a picture, get it back larger: byte for byte the file that <code>srkit upscale</code> writes.</p>
<form action="upscale" method="post" enctype="multipart/form-data">
<label>Picture <input type="file" name="{PICTURE}" accept="image/*" required></label>
<label>Scale <input name="scale" inputmode="decimal" size="6" placeholder="2"></label>
<label>Model <select name="model"><option value="">the best that is installed</option>{choices}</select></label>
<button>Upscale</button></form>
<h2>From a program</h2>
<pre>{CURL.format(address="http://127.0.0.1:8000/")}</pre>
<p>Errors are JSON, <code>{{"error": "one line"}}</code>. <a href="openapi.json">openapi.json</a> describes all.</p>
<table><tr><th>Address</th><th>Gives</th></tr>{paths}</table>
<h2>Options</h2>
<table><tr><th>Name</th><th>Kind</th><th>Means</th></tr>{rows}</table>
<h2>Models</h2>
<table><tr><th>Name</th><th>Scales</th><th>Licence</th><th>What it is</th></tr>{models}</table>
<h2>Limits</h2>
<p>A picture has at most {limits.upload / 1e6:g} MB and {limits.pixels / 1e6:g} million pixels, a result
{limits.result_pixels / 1e6:g} million. One picture is computed at a time, for {limits.seconds:g} seconds at most, and
{limits.waiting} may wait. Files are deleted after {limits.kept / 60:g} minutes.</p>
</body></html>
"""


def kind_of(field: dict[str, Any]) -> str:
    """`number`, or the words that may be given."""
    if "enum" in field:
        return ", ".join(field["enum"])
    if "const" in field:
        return str(field["const"])
    return str(
        {"boolean": "true or false", "string": "words", "integer": "whole number"}.get(field["type"], field["type"])
    )
