"""The server's rows in memory. A contract suite (tests/integration/test_conducting_stores.py) holds it to what PostgreSQL does."""
