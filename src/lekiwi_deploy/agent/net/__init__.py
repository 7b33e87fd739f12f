"""The network, as the agent sees it: `network` says what it needs, `direct` does it in the same process, `root_side` and `net_side` do it
in two (see `wire/halves.py`)."""
