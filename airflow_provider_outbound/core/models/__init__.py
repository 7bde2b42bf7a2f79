"""Values of the API and its messages. Names are loaded on first use, so that importing one costs only that one."""

from __future__ import annotations
