"""One file per verb, imported only when it is used (see `catalog`)."""
