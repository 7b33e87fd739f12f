"""Is this robot well? Each check looks at one thing and says how to mend it."""
