"""The application that Airflow's api-server mounts. It never ends the api-server, whatever is wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from airflow_provider_outbound import __version__
from airflow_provider_outbound.exceptions import OutboundBotError
from airflow_provider_outbound.page import answers
from airflow_provider_outbound.page.ledger import shared
from airflow_provider_outbound.page.rights import reader
from airflow_provider_outbound.page.routes import actions, campaigns, health, jobs

_STATIC = Path(__file__).parent / "static"


class _VersionedFiles(StaticFiles):
    """Files whose address has the package's version, so that browsers need not ask for them again."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        found = await super().get_response(path, scope)
        if found.status_code == 200:
            found.headers["Cache-Control"] = "max-age=31536000, immutable"
        return found


@cache
def build_app() -> FastAPI:
    """Build the application; the same for each caller."""
    # Airflow protects nothing that is mounted, so the routes that FastAPI adds by itself are left out.
    app = FastAPI(title="Outbound", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_lifespan)
    api = APIRouter(prefix="/api", dependencies=[Depends(reader)])
    for part in (campaigns, jobs, actions, health):
        api.include_router(part.router)
    app.include_router(api)
    app.mount(f"/static/{__version__}", _VersionedFiles(directory=_STATIC, check_dir=False))
    handlers: dict[Any, Any] = {
        HTTPException: answers.on_http_error,
        RequestValidationError: answers.on_invalid,
        OutboundBotError: answers.on_package_error,
        SQLAlchemyError: answers.on_database_error,
        Exception: answers.on_any_error,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
    return app


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    yield
    await run_in_threadpool(shared.close)
