"""What every public address takes and answers, as data; and the OpenAPI document made of it.

The bodies and queries are the very models that the handlers check requests with. What a call says
of itself here is compared with the routes and with real answers by ``tests/test_openapi.py`` and
``tests/described.py``: an address that is not described, or not as it is, fails the tests.
"""
