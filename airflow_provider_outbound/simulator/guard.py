"""
Keeps web pages away from the simulator's control routes.

A page of any site can send requests to this machine, and one whose host name is made to resolve to this machine can
read the answers. The Host header shows the name that was used, and browsers add headers with the origin of a request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

#: Host names that control requests may use.
_NAMES = ("127.0.0.1", "localhost", "[::1]")

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


class ControlGuard:
    """
    Refuses requests to the control routes that name another host, or come from a page of another site.

    :param app: Serves all other requests.
    :param prefix: Prefix of the paths of the control routes.
    """

    def __init__(self, app: App, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"].startswith(self._prefix) and (why := _refusal(scope)):
            await JSONResponse({"error": why}, status_code=403)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _refusal(scope: Scope) -> str:
    """Why a request may not control the simulator; empty if it may."""
    port = scope["server"][1]
    allowed = {f"{name}:{port}" for name in _NAMES} | (set(_NAMES) if port == 80 else set())
    headers = Headers(scope=scope)
    hosts, origins = headers.getlist("host"), headers.getlist("origin")
    if len(hosts) != 1 or hosts[0].lower() not in allowed:
        return f"Host is not this machine: use http://127.0.0.1:{port}"
    if any(origin.lower() not in {f"http://{host}" for host in allowed} for origin in origins):
        return "Origin is another site's: web pages may not control the simulator"
    if any(site.lower() not in ("same-origin", "none") for site in headers.getlist("sec-fetch-site")):
        return "Sec-Fetch-Site is another site's: web pages may not control the simulator"
    return ""
