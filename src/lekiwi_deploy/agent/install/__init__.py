"""Getting the agent onto a machine, and off it again."""
