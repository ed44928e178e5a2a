"""The OpenAPI document: it keeps to the standard, and describes what there is and nothing else."""

import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from conftest import NodeServer
from described import described, misfits, operations
from http_calls import Client, Start
from openapi_spec_validator import OpenAPIV31SpecValidator

from coordinator.api import problems
from coordinator.api.description.codes import MEANINGS
from coordinator.api.problems import Kind
from coordinator.peers import PATH as BETWEEN_NODES

PAGES = "/dashboard"
"""Pages are for people, and speak the calls that are described."""


@pytest.fixture
async def node(start_node: Start) -> Client:
    return await start_node()


async def served(node: Client) -> Any:
    async with node.get("/openapi.json") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        return await answer.json()


async def test_the_document_keeps_to_the_standard(node: Client) -> None:
    document = await served(node)
    assert document["openapi"] == "3.1.0"
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


async def test_every_public_address_is_described_and_no_other(node: Client) -> None:
    assert isinstance(node.server, NodeServer)
    there = {
        (route.method, route.resource.canonical)
        for route in node.server.node.web.router.routes()
        if route.resource is not None and route.method not in {"*", "HEAD"}
    }
    public = {each for each in there if not each[1].startswith((BETWEEN_NODES, PAGES))}
    assert len(public) > 50
    assert {(method, path) for method, path, _ in operations()} == public


async def test_a_node_tells_its_own_names(start_node: Start) -> None:
    node = await start_node(sites="north,south", partitions="p1")
    document = await served(node)
    assert "`north`, `south`" in document["info"]["description"]
    body = document["paths"]["/api/v1/sequence/next"]["post"]["requestBody"]["content"]
    example = body["application/json"]["example"]
    async with node.post("/api/v1/sequence/next", json=example) as answer:
        assert answer.status == 200, await answer.text()
        assert (await answer.json())["siteId"] == "north"


def test_every_code_is_explained() -> None:
    kinds = {kind for kind in vars(problems).values() if isinstance(kind, Kind)}
    assert MEANINGS.keys() == kinds
    told = described()["x-problem-codes"]
    assert [code["code"] for code in told] == sorted({kind.code for kind in kinds})
    assert all(code["meaning"].endswith(".") and code["next"].endswith(".") for code in told)


def schemas() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema of a field, with its place."""
    for name, schema in described()["components"]["schemas"].items():
        for field, each in schema["properties"].items():
            yield f"{name}.{field}", each
    for _, path, operation in operations():
        for parameter in operation["parameters"]:
            if "$ref" not in parameter:
                whole = {**parameter["schema"], "description": parameter["description"]}
                yield f"{path} {parameter['name']}", whole


def test_every_field_says_what_it_means() -> None:
    without = [place for place, schema in schemas() if not schema.get("description")]
    assert without == []


def test_bounds_are_told_in_words_of_the_standard() -> None:
    known = {"$ref", "anyOf", "const", "enum", "type", "default", "description", "examples"}
    known |= {"minimum", "maximum", "exclusiveMaximum", "minLength", "maxLength", "pattern"}
    known |= {"items", "prefixItems", "minItems", "maxItems"}
    known |= {"properties", "required", "additionalProperties", "propertyNames", "maxProperties"}
    strange = {word for _, schema in schemas() for word in words_in(schema)} - known
    assert strange == set()


def words_in(schema: dict[str, Any]) -> Iterator[str]:
    yield from schema
    for each in schema.get("anyOf", ()):
        yield from words_in(each)
    if isinstance(schema.get("items"), dict):
        yield from words_in(schema["items"])


def test_examples_are_as_they_are_described() -> None:
    wrong = []
    for _, _, operation in operations():
        answers = operation["responses"].values()
        bodies = [each["content"] for each in answers if "content" in each]
        bodies.append(described()["components"]["responses"]["Problem"]["content"])
        for content in [*bodies, operation.get("requestBody", {}).get("content", {})]:
            for media in content.values():
                if "example" in media:
                    found = misfits(media["schema"], media["example"])
                    wrong += [f"{operation['operationId']}: {each}" for each in found]
    assert wrong == []


TAKES = "this address takes "


def fields_in(problem: dict[str, Any]) -> set[str]:
    """Return the fields that a refusal of a strange one says an address takes."""
    message = next(e["message"] for e in problem["errors"] if TAKES in e["message"])
    return set(message.partition(TAKES)[2].split(", ")) - {"none"}


def queries() -> list[tuple[str, str, set[str]]]:
    """Return the calls whose query is described, and its fields."""
    found = []
    for method, path, operation in operations():
        named = [each for each in operation["parameters"] if "$ref" not in each]
        query = {each["name"] for each in named if each["in"] == "query"}
        # The one with a part of its path for a field takes that as well.
        also = {"index"} if path.endswith("{index}") else set()
        if path not in {"/livez", "/readyz", "/metrics", "/docs"} and (method == "GET" or query):
            found.append((method, path, query | also))
    return found


def address_of(path: str) -> str:
    operation = next(each for _, found, each in operations() if found == path)
    for each in operation["parameters"]:
        if each.get("in") == "path":
            path = path.replace(f"{{{each['name']}}}", str(each["example"]))
    return path


@pytest.mark.parametrize(("method", "path", "fields"), queries(), ids=lambda v: str(v)[:60])
async def test_queries_are_described_by_the_models_that_check_them(
    node: Client, method: str, path: str, fields: set[str]
) -> None:
    async with node.request(method, address_of(path), params={"stranger": "1"}) as answer:
        problem = await answer.json()
    assert (answer.status, problem["code"]) == (400, "NB009"), problem
    assert fields_in(problem) == fields


def json_bodies() -> list[tuple[str, str, set[str]]]:
    """Return the calls that take JSON, and the fields of it that are described."""
    known = described()["components"]["schemas"]
    found = []
    for method, path, operation in operations():
        content = operation.get("requestBody", {}).get("content", {})
        if "application/json" in content:
            schema = content["application/json"]["schema"]
            kinds = [each["$ref"].rpartition("/")[2] for each in schema.get("anyOf", [schema])]
            found.append((method, path, {f for kind in kinds for f in known[kind]["properties"]}))
    return found


@pytest.mark.parametrize(("method", "path", "fields"), json_bodies(), ids=lambda v: str(v)[:60])
async def test_bodies_are_described_by_the_models_that_check_them(
    node: Client, method: str, path: str, fields: set[str]
) -> None:
    async with node.request(method, address_of(path), json={"stranger": 1}) as answer:
        problem = await answer.json()
    assert (answer.status, problem["code"]) == (400, "NB009"), problem
    assert fields_in(problem) == fields


async def test_parts_of_a_form_are_described_by_the_model_that_checks_them(node: Client) -> None:
    path = "/api/v1/admin/document-numbering/bulk-import"
    content = described()["paths"][path]["post"]["requestBody"]["content"]
    fields = set(content["multipart/form-data"]["schema"]["properties"])
    form = aiohttp.FormData({"stranger": "1"})
    form.add_field("file", b"document_type,document_number\n", filename="numbers.csv")
    async with node.post(path, data=form) as answer:
        problem = json.loads(await answer.read())
    assert fields_in(problem) == fields - {"file"}
