"""The pure core: it decides, shells do.

Nothing here does I/O, reads a clock or an environment, draws a random number or logs. Everything
can be tested without a server, and a whole cluster can be simulated in one process.
"""
