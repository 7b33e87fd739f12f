"""A fleet in virtual time: the server's own conductor over a store in memory, robots that decide with the agent's own decisions, networks that
fail, releases that break, people who act. Everything follows from one seed.

`python -m lekiwi_deploy.testing.simulation --seed 123 --robots 100 --days 7`; see docs/simulation.md.
"""
