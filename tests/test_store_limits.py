"""A store without space: allocation stops with a clear next step, and resumes by itself."""

import json
import subprocess
from pathlib import Path

import pytest
from http_calls import PLACE
from support import ask, etcdctl, running_etcd, running_node, wait_for

QUOTA = 24 * 2**20
JUNK = "x" * 1_000_000


def fill(etcd: str) -> None:
    """Write other people's keys until etcd raises its alarm."""
    with pytest.raises(subprocess.CalledProcessError) as refused:  # noqa: PT012 - one of many
        for serial in range(100):
            etcdctl(etcd, "put", f"/others/{serial}", given=JUNK)
    assert "space exceeded" in refused.value.stderr


def free(etcd: str) -> None:
    etcdctl(etcd, "del", "--prefix", "/others/")
    revision = json.loads(etcdctl(etcd, "get", "/", "-w", "json"))["header"]["revision"]
    etcdctl(etcd, "compact", str(revision))
    etcdctl(etcd, "defrag")
    etcdctl(etcd, "alarm", "disarm")


def test_without_space_nobody_gets_a_wrong_answer_and_service_resumes_by_itself(
    tmp_path: Path,
) -> None:
    quota = ("--quota-backend-bytes", str(QUOTA))
    with (
        running_etcd(tmp_path, *quota) as etcd,
        running_node(tmp_path, etcd, "--deadline-s", "3") as url,
    ):
        assert ask(url, "next", PLACE)[1]["sequenceNumbers"] == [1]
        fill(etcd)
        keyed = PLACE | {"requestId": "order-7"}
        status, problem = ask(url, "next", keyed)
        assert (status, problem["code"]) == (504, "NB014")  # etcd's answer leaves it open
        status, problem = ask(url, "next", PLACE)
        assert (status, problem["code"]) == (503, "NB008")
        assert "alarm disarm" in problem["detail"]
        assert ask(url, "stats")[1]["currentCounter"] in {1, 2}  # reading goes on
        free(etcd)
        wait_for(lambda: ask(url, "next", keyed)[0] == 200, 15, "service resumes by itself")
        numbers = ask(url, "next", keyed)[1]["sequenceNumbers"]
        assert numbers == [2]
        assert ask(url, "next", PLACE)[1]["sequenceNumbers"] == [3]
        assert ask(url, "validate")[1]["valid"]
