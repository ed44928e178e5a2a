"""Gapless sequential numbers, highly available on etcd, proven by a hash-chained ledger."""

__version__ = "0.1.0"
