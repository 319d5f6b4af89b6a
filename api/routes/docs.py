"""The description of the api, to be read by people."""

from importlib.resources import files

from apiflask import APIBlueprint
from flask import Response, send_from_directory

from api.http.auth import open_without_a_key

_SWAGGER_UI = str(files("flask_swagger_ui") / "dist")
_PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>ws-gateway</title>
  <link rel="icon" href="/docs/favicon-32x32.png">
  <link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
  <div id="swagger-ui"></div>
  <script src="/docs/swagger-ui-bundle.js"></script>
  <script src="/docs/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });
"""
_NOTHING_FOREIGN = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'"


def routes() -> APIBlueprint:
    blueprint = APIBlueprint("docs", __name__, url_prefix="/docs", enable_openapi=False)

    @blueprint.get("")
    @open_without_a_key
    def shown() -> Response:
        response = Response(_PAGE, mimetype="text/html")
        response.headers["Content-Security-Policy"] = _NOTHING_FOREIGN
        return response

    @blueprint.get("/start.js")
    @open_without_a_key
    def start() -> Response:
        return Response(_START, mimetype="text/javascript")

    @blueprint.get("/<path:name>")
    @open_without_a_key
    def asset(name: str) -> Response:
        return send_from_directory(_SWAGGER_UI, name, max_age=3600)

    return blueprint
