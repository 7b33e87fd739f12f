"""The `lekiwi` program: `main` finds the verb, `run` holds what one invocation knows, `output` prints, `verbs/` do."""
