"""A whole installation on one machine: real server, real agents, real git and CLI. For the demo, the acceptance tests, the benchmarks.

Nothing here replaces a part by a pretence: every class starts the program that a user would start, and ends it by its process id.
"""
