"""The only types that cross a process boundary: robot link, HTTP API, manifests, stored progress.

Pure data. Structs are frozen; unions are tagged; unknown fields are ignored and unknown tags
refused by msgspec when decoding. Nothing here does I/O, reads a clock or makes up an id.
"""
