"""Values of the API and its messages, one module for each kind."""

from __future__ import annotations
