"""The agent's own releases on a robot: getting another one, going over to it under the eyes of the one before, and back."""
