"""Making a machine a robot over SSH: look at it, ask, install, wait until it is linked."""
