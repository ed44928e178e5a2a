"""Brings a whole cluster up and down on one machine: etcd members and coordinator nodes.

`bootstrap` makes the environment, `cli` reads the words, `up` is the order of a start,
`supervisor` keeps processes alive. Nothing here decides about numbers, and nothing here
is needed by a node that runs elsewhere.
"""
