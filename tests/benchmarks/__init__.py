"""
Benchmarks, which compare this package with its alternatives on the same machine.

``python tests/benchmarks NAME`` runs one. The last line of its output is one JSON object. Each benchmark is a module
with ``configure(subparsers)``; :mod:`benchmarks.__main__` lists them.
"""
