"""One file per change of the schema, `NNNN_what_it_does.py`; plain SQL, additive first, removal a release later.

`schema.sql` shows the sum; a test holds the two equal.
"""
