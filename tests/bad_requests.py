"""Requests that must be refused: each as the bytes on the wire, with the refusal that it gets.

A table to read and to add to. ``test_bad_requests.py`` sends every row to a node.
"""

import gzip
import zlib
from collections.abc import Iterator
from typing import NamedTuple

NEXT = "/api/v1/sequence/next"
RELEASE = "/api/v1/sequence/release"
AUDIT = "/api/v1/sequence/audit"
GAPS = "/api/v1/sequence/gaps"
QUERY = "siteId=site-1&partitionId=partition-a&invoiceType=on-cycle"
GOOD = f"{NEXT}?{QUERY}"
PLACE = b'"siteId":"site-1","partitionId":"partition-a"'
ISSUE = PLACE + b',"invoiceType":"on-cycle"'
TAKE_BACK = PLACE + b',"reason":"x"'


class Bad(NamedTuple):
    """One request, and its refusal: the problem's status and code, and the field that it names."""

    name: str
    sent: bytes
    status: int
    code: str
    field: str = ""


def raw(first: str | bytes, *headers: str | bytes, body: bytes = b"") -> bytes:
    """Return a request: first line, Host, headers as given, body."""
    lines = [first, "Host: node", *headers]
    head = [line if isinstance(line, bytes) else line.encode() for line in lines]
    return b"\r\n".join([*head, b"", body])


def get(path: str | bytes, *headers: str | bytes, method: str = "GET") -> bytes:
    path = path if isinstance(path, bytes) else path.encode()
    return raw(method.encode() + b" " + path + b" HTTP/1.1", *headers)


def post(path: str, body: bytes, *headers: str, media: str = "application/json") -> bytes:
    length, content = f"Content-Length: {len(body)}", f"Content-Type: {media}"
    return raw(f"POST {path} HTTP/1.1", content, length, *headers, body=body)


def chunked(body: bytes) -> bytes:
    media, coding = "Content-Type: application/json", "Transfer-Encoding: chunked"
    return raw(f"POST {RELEASE} HTTP/1.1", media, coding, body=body)


def queries() -> Iterator[Bad]:
    for name, path, field in (
        ("no query", NEXT, "siteId"),
        ("empty site", f"{NEXT}?siteId=&partitionId=a&invoiceType=b", "siteId"),
        ("site with a space", f"{NEXT}?siteId=a+b&partitionId=a&invoiceType=b", "siteId"),
        ("site with a control character", f"{GOOD.replace('site-1', 'a%00')}", "siteId"),
        ("site with a line break", f"{GOOD.replace('site-1', 'site-1%0d%0a')}", "siteId"),
        ("site in full-width letters", f"{GOOD.replace('site-1', '%EF%BD%93')}", "siteId"),
        ("site too long", f"{GOOD.replace('site-1', 'x' * 65)}", "siteId"),
        ("count 0", f"{GOOD}&count=0", "count"),
        ("count 101", f"{GOOD}&count=101", "count"),
        ("count negative", f"{GOOD}&count=-1", "count"),
        ("count a fraction", f"{GOOD}&count=1.5", "count"),
        ("count in words", f"{GOOD}&count=many", "count"),
        ("count empty", f"{GOOD}&count=", "count"),
        ("count with an underscore", f"{GOOD}&count=1_0", "count"),
        ("count with a plus sign", f"{GOOD}&count=%2B1", "count"),
        ("count with a space", f"{GOOD}&count=+1", "count"),
        ("count in Arabic digits", f"{GOOD}&count=%D9%A1", "count"),
        ("count hexadecimal", f"{GOOD}&count=0x10", "count"),
        ("count with an exponent", f"{GOOD}&count=1e1", "count"),
        ("count beyond 2^63", f"{GOOD}&count=9223372036854775808", "count"),
        ("count of 4,000 digits", f"{GOOD}&count={'9' * 4000}", "count"),
        ("count twice", f"{GOOD}&count=1&count=2", "count"),
        ("count twice the same", f"{GOOD}&count=1&count=1", "count"),
        ("a name misspelt", f"{GOOD}&cuont=5", "cuont"),
        ("a name in the wrong case", f"{GOOD}&Count=5", "Count"),
        ("a name without a value", f"{GOOD}&count", "count"),
        ("2,000 unknown names", f"{GOOD}&{'&'.join(f'a{i}' for i in range(1300))}", "a0"),
        ("requestId with a space", f"{GOOD}&requestId=a%20b", "requestId"),
        ("requestId too long", f"{GOOD}&requestId={'r' * 129}", "requestId"),
        ("no number", f"{AUDIT}/zero", "number"),
        ("number 0", f"{AUDIT}/0", "number"),
        ("number a fraction", f"{AUDIT}/1.0", "number"),
        ("number beyond 2^63", f"{AUDIT}/9223372036854775808", "number"),
        ("operation unknown", f"{AUDIT}?operationType=STEAL", "operationType"),
        ("limit 0", f"{AUDIT}?limit=0", "limit"),
        ("limit 1001", f"{AUDIT}?limit=1001", "limit"),
        ("cursor of nobody", f"{AUDIT}?cursor=nonsense", "cursor"),
        ("cursor with a slash", f"{AUDIT}?cursor=../..", "cursor"),
        ("start negative", f"{GAPS}?start=-1", "start"),
        ("query where none belongs", "/api/v1/sequence/stats?since=1", "since"),
    ):
        yield Bad(name, get(path), 400, "NB009", field)


def queries_that_cannot_be_read() -> Iterator[Bad]:
    for name, path in (
        ("a percent sign alone", f"{GOOD}&count=1%"),
        ("a percent sign before no digits", f"{NEXT}?siteId=%zz"),
        ("a query that is no UTF-8", f"{NEXT}?siteId=%ff"),
        ("an overlong encoding of a slash", f"{NEXT}?siteId=%c0%af"),
        ("an encoded surrogate", f"{NEXT}?siteId=%ed%a0%80"),
    ):
        yield Bad(name, get(path), 400, "NB009", "query")
    yield Bad("a query of raw bytes", get(NEXT.encode() + b"?siteId=\xff"), 400, "NB009")
    for field, value in (
        ("siteId", "site-1"),
        ("partitionId", "partition-a"),
        ("invoiceType", "on-cycle"),
    ):
        path = GOOD.replace(value, "elsewhere")
        yield Bad(f"{field} not configured", get(path), 404, "NB001", field)
    path = "/api/v1/demo/concurrent?threads=0"
    yield Bad("no threads", get(path, method="POST"), 400, "NB009", "threads")


def bodies() -> Iterator[Bad]:
    for name, body in (
        ("no body", b""),
        ("blanks", b"  "),
        ("a brace", b"{"),
        ("an array", b"[]"),
        ("a text", b'"text"'),
        ("null", b"null"),
        ("a number", b"1"),
        ("two values", b"{%s}{%s}" % (ISSUE, ISSUE)),
        ("a comma too many", b"{%s,}" % ISSUE),
        ("single quotes", b"{%s}" % ISSUE.replace(b'"', b"'")),
        ("a comment", b"{%s}//x" % ISSUE),
        ("NUL bytes", b"\0" * 100),
        ("no UTF-8", b'{%s,"requestId":"\xff"}' % ISSUE),
        ("an overlong UTF-8 form", b'{%s,"requestId":"\xc0\xaf"}' % ISSUE),
        ("a surrogate in UTF-8", b'{%s,"metadata":{"a":"\xed\xa0\x80"}}' % ISSUE),
        ("a lone surrogate, escaped", b'{%s,"metadata":{"a":"\\ud800"}}' % ISSUE),
        ("a byte order mark", b"\xef\xbb\xbf{%s}" % ISSUE),
        ("UTF-16", (b"{%s}" % ISSUE).decode().encode("utf-16")),
        ("UTF-16 without a mark", (b"{%s}" % ISSUE).decode().encode("utf-16-le")),
        ("UTF-32", (b"{%s}" % ISSUE).decode().encode("utf-32")),
        ("a raw line break in a text", b'{%s,"metadata":{"a":"\n"}}' % ISSUE),
        ("NaN", b'{%s,"metadata":{"a":NaN}}' % ISSUE),
        ("Infinity", b'{%s,"metadata":{"a":-Infinity}}' % ISSUE),
        ("a number beyond a double", b'{%s,"metadata":{"a":1e999}}' % ISSUE),
        ("a number beyond 64 bits", b'{%s,"metadata":{"a":%s}}' % (ISSUE, b"9" * 30)),
        ("a number of 5,000 digits", b'{%s,"metadata":{"a":%s}}' % (ISSUE, b"9" * 5000)),
        ("50,000 open brackets", b"[" * 50_000),
        ("10,000 nested objects", b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
        ("nested 300 deep", b'{%s,"metadata":{"a":%s}}' % (ISSUE, b"[" * 300 + b"]" * 300)),
    ):
        yield Bad(f"body: {name}", post(NEXT, body), 400, "NB009")


def fields() -> Iterator[Bad]:
    huge = b'{%s,"metadata":{"a":"%s"}}'
    for name, body, field in (
        ("a field twice", b'{%s,"count":1,"count":2}' % ISSUE, "count"),
        ("a surrogate field twice", b'{"\\ud800":1,"\\ud800":2}', "\\ud800"),
        ("a nested field twice", b'{%s,"metadata":{"a":1,"a":1}}' % ISSUE, "a"),
        ("a field missing", b"{%s}" % PLACE, "invoiceType"),
        ("a field unknown", b'{%s,"cuont":5}' % ISSUE, "cuont"),
        ("a prototype", b'{%s,"__proto__":{}}' % ISSUE, "__proto__"),
        ("4,000 fields", b"{%s}" % b",".join(b'"f%d":1' % i for i in range(4000)), "siteId"),
        ("a field name of 60,000 letters", b'{%s,"%s":1}' % (ISSUE, b"x" * 60_000), "x" * 20),
        ("count in a text", b'{%s,"count":"5"}' % ISSUE, "count"),
        ("count true", b'{%s,"count":true}' % ISSUE, "count"),
        ("count null", b'{%s,"count":null}' % ISSUE, "count"),
        ("count a fraction", b'{%s,"count":1.0}' % ISSUE, "count"),
        ("count a list", b'{%s,"count":[1]}' % ISSUE, "count"),
        ("count negative", b'{%s,"count":-1}' % ISSUE, "count"),
        ("count 10,001", b'{%s,"count":10001}' % ISSUE, "count"),
        ("count beyond 2^63", b'{%s,"count":9223372036854775808}' % ISSUE, "count"),
        ("requestId empty", b'{%s,"requestId":""}' % ISSUE, "requestId"),
        ("requestId a number", b'{%s,"requestId":1}' % ISSUE, "requestId"),
        ("metadata a list", b'{%s,"metadata":[]}' % ISSUE, "metadata"),
        ("metadata too large", huge % (ISSUE, b"x" * 5_000), "metadata"),
        ("site null", b"{%s}" % ISSUE.replace(b'"site-1"', b"null"), "siteId"),
    ):
        yield Bad(f"issue: {name}", post(NEXT, body), 400, "NB009", field)


def releases() -> Iterator[Bad]:
    for name, body, field in (
        ("number in a text", b'{%s,"sequenceNumber":"1"}' % TAKE_BACK, "sequenceNumber"),
        ("number true", b'{%s,"sequenceNumber":true}' % TAKE_BACK, "sequenceNumber"),
        ("number 0", b'{%s,"sequenceNumber":0}' % TAKE_BACK, "sequenceNumber"),
        ("number 1.5", b'{%s,"sequenceNumber":1.5}' % TAKE_BACK, "sequenceNumber"),
        ("number 2^63", b'{%s,"sequenceNumber":9223372036854775808}' % TAKE_BACK, "sequenceNumber"),
        ("no reason", b'{%s,"sequenceNumber":1}' % PLACE, "reason"),
        ("blank reason", b'{%s,"sequenceNumber":1,"reason":" "}' % PLACE, "reason"),
        ("two lines", b'{%s,"sequenceNumber":1,"reason":"a\\nb"}' % PLACE, "reason"),
        ("an escape", b'{%s,"sequenceNumber":1,"reason":"\\u001b[2J"}' % PLACE, "reason"),
        ("long", b'{%s,"sequenceNumber":1,"reason":"%s"}' % (PLACE, b"x" * 501), "reason"),
    ):
        yield Bad(f"release: {name}", post(RELEASE, body), 400, "NB009", field)
    never = b'{%s,"sequenceNumber":9223372036854775807}' % TAKE_BACK
    yield Bad("release: never issued", post(RELEASE, never), 404, "NB010")


def media() -> Iterator[Bad]:
    good = b"{%s}" % ISSUE
    for name, sent in (
        ("a form", post(NEXT, b"siteId=site-1", media="application/x-www-form-urlencoded")),
        ("text", post(NEXT, good, media="text/plain")),
        ("XML", post(NEXT, b"<a/>", media="application/xml")),
        ("many parts", post(NEXT, good, media="multipart/form-data; boundary=a")),
        ("a media type that is none", post(NEXT, good, media="json")),
        ("another charset", post(NEXT, good, media="application/json; charset=utf-16")),
        ("an unknown content encoding", post(NEXT, good, "Content-Encoding: rot13")),
        ("two content encodings", post(NEXT, good, "Content-Encoding: gzip, gzip")),
        ("an encoding this node lacks", post(NEXT, good, "Content-Encoding: br")),
    ):
        yield Bad(name, sent, 415, "NB019")
    packed, gzipped = gzip.compress(good), "Content-Encoding: gzip"
    for name, sent in (
        ("gzip that is none", post(NEXT, good, gzipped)),
        ("gzip cut off", post(NEXT, packed[:-12], gzipped)),
        ("gzip damaged", post(NEXT, packed[:20] + b"\0\0\0\0" + packed[24:], gzipped)),
        ("deflate that is none", post(NEXT, good, "Content-Encoding: deflate")),
    ):
        yield Bad(name, sent, 400, "NB009")
    bomb = gzip.compress(b" " * 10_000_000)
    for name, sent in (
        ("a gzip bomb", post(NEXT, bomb, gzipped)),
        ("a deflate bomb", post(NEXT, zlib.compress(bomb * 9), "Content-Encoding: deflate")),
        ("a body of 70,000 bytes", post(NEXT, b"x" * 70_000)),
        (
            "a body of 70,000 bytes in chunks",
            chunked(b"11170\r\n" + b"x" * 70_000 + b"\r\n0\r\n\r\n"),
        ),
        (
            "a body announced with gigabytes",
            raw(
                f"POST {NEXT} HTTP/1.1",
                "Content-Type: application/json",
                "Content-Length: 9000000000",
            ),
        ),
    ):
        yield Bad(name, sent, 413, "NB018")


def headers() -> Iterator[Bad]:
    for name, sent, field in (
        ("X-Request-Id with a space", get(GOOD, "X-Request-Id: a b"), "X-Request-Id"),
        ("X-Request-Id empty", get(GOOD, "X-Request-Id:"), "X-Request-Id"),
        ("X-Request-Id too long", get(GOOD, "X-Request-Id: " + "x" * 129), "X-Request-Id"),
        ("X-Request-Id of raw bytes", get(GOOD, b"X-Request-Id: \xff"), "X-Request-Id"),
        ("X-Request-Id twice", get(GOOD, "X-Request-Id: a", "X-Request-Id: b"), "X-Request-Id"),
        ("key too long", get(GOOD, "Idempotency-Key: " + "k" * 200), "Idempotency-Key"),
        ("key empty", get(GOOD, "Idempotency-Key: "), "Idempotency-Key"),
        ("key in umlauts", get(GOOD, "Idempotency-Key: ä"), "Idempotency-Key"),
        ("key twice", get(GOOD, "Idempotency-Key: a", "Idempotency-Key: b"), "Idempotency-Key"),
        (
            "key and another requestId",
            get(f"{GOOD}&requestId=one", "Idempotency-Key: two"),
            "Idempotency-Key",
        ),
        ("user too long", get(GOOD, "X-User: " + "x" * 101), "X-User"),
        ("user of raw bytes", get(GOOD, b"X-User: \xff\xfe"), "X-User"),
        ("user twice", get(GOOD, "X-User: a", "X-User: b"), "X-User"),
        ("Host empty", get(GOOD).replace(b"Host: node", b"Host:"), "Host"),
    ):
        yield Bad(name, sent, 400, "NB009", field)
    yield Bad("Expect: foo", get(GOOD, "Expect: foo"), 417, "NB023", "Expect")
    yield Bad("Expect with a body", post(NEXT, b"{}", "Expect: 200-ok"), 417, "NB023", "Expect")


def addresses() -> Iterator[Bad]:
    for name, path in (
        ("no such address", "/api/v1/sequence/nothing"),
        ("a line break in the path", "/a%0Ab"),
        ("a NUL in the path", "/a%00b"),
        ("out of the folder", "/dashboard/static/../../etc/passwd"),
        ("out of the folder, encoded", "/dashboard/static/%2e%2e/%2e%2e/etc/passwd"),
        ("a folder", "/dashboard/static/"),
        ("below the dashboard", "/dashboard/nothing"),
        ("two slashes", "//api/v1/sequence/next"),
        ("bad percent-encoding in the path", "/api/%zz"),
        ("a path that is no UTF-8", "/%ff%fe"),
        ("a path of 8,000 letters", "/" + "x" * 8000),
        ("a path of 4,000 slashes", "/" * 4000),
        ("a semicolon", f"{NEXT};x=1?{QUERY}"),
        ("a backslash", "/api\\v1"),
    ):
        yield Bad(name, get(path), 404, "NB016")
    yield Bad("a path of raw bytes", get(b"/\xc3\x28\xff"), 400, "NB009")
    for method in ("DELETE", "HEAD", "PUT", "PATCH", "OPTIONS", "TRACE", "PROPFIND"):
        yield Bad(f"{method} where GET belongs", get(GOOD, method=method), 405, "NB017")
    yield Bad("GET where POST belongs", get(RELEASE), 405, "NB017")
    yield Bad("POST to a page", post("/dashboard", b"{}"), 405, "NB017")
    yield Bad("OPTIONS of everything", get("*", method="OPTIONS"), 404, "NB016")
    yield Bad("CONNECT", get("example.org:443", method="CONNECT"), 405, "NB017")


def other_nodes() -> Iterator[Bad]:
    for name, token in (
        ("no token", ""),
        ("a wrong token", "x"),
        ("a token of raw bytes", b"\xff"),
    ):
        given = token if isinstance(token, bytes) else token.encode()
        header = b"Authorization: Bearer " + given
        yield Bad(
            f"a batch with {name}",
            raw("POST /internal/turn?invoice HTTP/1.1", header),
            403,
            "NB026",
        )


def http() -> Iterator[Bad]:
    for name, sent in (
        ("garbage", b"\x00\x01\x02\x03\xff\xfe\r\n\r\n"),
        ("a TLS hello", bytes.fromhex("160301020001fc0303") + b"\x55" * 64 + b"\r\n\r\n"),
        ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("HTTP/0.9", f"GET {GOOD}\r\n\r\n".encode()),
        ("HTTP/3.0", get(GOOD).replace(b"HTTP/1.1", b"HTTP/3.0", 1)),
        ("HTTP/1.7", get(GOOD).replace(b"HTTP/1.1", b"HTTP/1.7", 1)),
        ("no version at all", get(GOOD).replace(b"HTTP/1.1", b"HTTP/", 1)),
        ("another protocol", get(GOOD).replace(b"HTTP/1.1", b"ICE/1.0", 1)),
        ("an unknown method", get(GOOD, method="BREW")),
        ("a method in small letters", get(GOOD, method="get")),
        ("a method of 10,000 letters", get(GOOD, method="A" * 10_000)),
        ("no path", raw("GET  HTTP/1.1")),
        ("a path with a space", get(f"{GOOD} x")),
        ("a path without its slash", get("api/v1")),
        ("an absolute address without a host", get("http:///api/v1")),
        ("an absolute address with a bad port", get("http://a:99999999/")),
        ("no Host", b"GET %s HTTP/1.1\r\n\r\n" % GOOD.encode()),
        ("two Hosts", get(GOOD, "Host: other")),
        ("a header without a colon", get(GOOD, "Nonsense")),
        ("a header without a name", get(GOOD, ": x")),
        ("a space before the colon", get(GOOD, "X-User : x")),
        ("a header folded", get(GOOD, "X-User: a", " b")),
        ("a NUL in a header", get(GOOD, b"X-User: a\0b")),
        ("a bare line feed in a header", get(GOOD, b"X-User: a\nX-Evil: b")),
        ("a bare carriage return", get(GOOD, b"X-User: a\rX-Evil: b")),
    ):
        yield Bad(f"HTTP: {name}", sent, 400, "NB009")
    for name, sent in (
        ("an address of 10,000 bytes", get(f"{GOOD}&requestId={'x' * 10_000}")),
        ("a header of 10,000 bytes", get(GOOD, "X-Long: " + "x" * 10_000)),
        ("a header name of 10,000 bytes", get(GOOD, "X" * 10_000 + ": x")),
        ("1,000 headers", get(GOOD, *[f"X-{i}: x" for i in range(1_000)])),
    ):
        yield Bad(f"HTTP: {name}", sent, 431, "NB021")


def lengths() -> Iterator[Bad]:
    """Bodies whose end is not clear: this is how requests are smuggled past a proxy."""
    length = "Content-Length: 2"
    first = f"POST {NEXT} HTTP/1.1"
    for name, sent in (
        ("a length that is none", raw(first, "Content-Length: two", body=b"{}")),
        ("a negative length", raw(first, "Content-Length: -2", body=b"{}")),
        ("a length with a plus sign", raw(first, "Content-Length: +2", body=b"{}")),
        ("a hexadecimal length", raw(first, "Content-Length: 0x2", body=b"{}")),
        ("a length beyond 2^64", raw(first, "Content-Length: " + "9" * 30, body=b"{}")),
        ("two lengths", raw(first, length, "Content-Length: 3", body=b"{}")),
        ("two lengths that agree", raw(first, length, length, body=b"{}")),
        ("a list of lengths", raw(first, "Content-Length: 2, 2", body=b"{}")),
        (
            "a length and chunks",
            raw(first, length, "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        ),
        (
            "chunks and a length",
            raw(first, "Transfer-Encoding: chunked", length, body=b"0\r\n\r\n"),
        ),
        ("chunked twice", raw(first, *["Transfer-Encoding: chunked"] * 2, body=b"0\r\n\r\n")),
        ("chunked in disguise", raw(first, "Transfer-Encoding: xchunked", body=b"0\r\n\r\n")),
        ("chunked, then gzip", raw(first, "Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n")),
        ("two media types", post(NEXT, b"{}", "Content-Type: text/plain")),
        ("a chunk size that is none", chunked(b"xyz\r\n{}\r\n0\r\n\r\n")),
        ("a negative chunk", chunked(b"-2\r\n{}\r\n0\r\n\r\n")),
        ("a chunk beyond 2^64", chunked(b"F" * 17 + b"\r\n{}\r\n0\r\n\r\n")),
        ("a chunk longer than it says", chunked(b"2\r\n{}{}\r\n0\r\n\r\n")),
        ("a chunk ended by a line feed", chunked(b"2\n{}\n0\n\n")),
        ("a request and then garbage", post(RELEASE, b"{}") + b"\0\0\0\0"),
    ):
        yield Bad(f"HTTP: {name}", sent, 400, "NB009")


BAD_REQUESTS = [
    *queries(),
    *queries_that_cannot_be_read(),
    *bodies(),
    *fields(),
    *releases(),
    *media(),
    *headers(),
    *addresses(),
    *other_nodes(),
    *http(),
    *lengths(),
]
