"""The import of a file of numbers: all of its rows or none, in one commit.

``core.importing`` decides; ``import_files`` reads files; here is how one gets into the ledger.
"""
