"""
Benchmarks: measured here and now, side by side with what one would do otherwise.

``python tests/benchmarks NAME`` runs one. The last line of its output is one JSON object. Each is a module with
``configure(subparsers)``; :mod:`benchmarks.__main__` lists them.
"""
