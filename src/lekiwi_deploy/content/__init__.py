"""What a deployment's bytes are, and how they move: used by server, agent and CLI alike.

`entries` and `manifests` say which content is acceptable; `tree` reads a folder; `objects` is a robot's store of
files by digest; `stream` and `transfer` carry objects; `pack` and `apply` bring a robot from one manifest to the next;
`slots` lays a deployment out on disk. No network here, and no decision about when.
"""
