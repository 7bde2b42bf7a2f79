"""
Keeps web pages away from the simulator's control routes.

A page of any site may send requests to this machine's addresses, and one whose name comes to point here may read the
answers. Programs name the address that they connect to, and browsers say where a request comes from.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

#: What this machine is called by those who may control the simulator.
_NAMES = ("127.0.0.1", "localhost", "[::1]")

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


class ControlGuard:
    """
    Refuses requests to the control routes that name another host, or come from a page of another site.

    :param app: Serves the rest.
    :param prefix: How the paths of the control routes begin.
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
