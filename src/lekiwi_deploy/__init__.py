"""LeKiwi Deploy: push to deploy for robots, and back with one command."""

__version__ = "0.1.0"
