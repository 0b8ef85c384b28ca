"""How fast the export is, beside the least it could take and beside what else could do the job.

``python -m benchmarks`` runs everything and prints a table; ``python -m benchmarks --help`` says how to run less.
"""
