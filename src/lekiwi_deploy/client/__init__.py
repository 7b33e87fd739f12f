"""The typed HTTP client: used by the command line, the agent (joining, content) and the tests.

`address` says which servers may be spoken to, `transport` sends one request, `streams` follows, `uploads`
sends files, `api` has a method per route. Nothing here prints, and a token travels in a header only.
"""
