"""Configuration of a node: command line over environment (``COORDINATOR_…``) over defaults."""

import re
from enum import StrEnum
from typing import Annotated

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from coordinator.core.documents import COUNTERS
from coordinator.core.series import Strategy
from coordinator.store.wire import Wire

Names = Annotated[tuple[str, ...], NoDecode]
ENTRIES_KEPT_MIN = 10_000
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class Profile(StrEnum):
    """What the installation is for."""

    DEMONSTRATION = "demonstration"
    PRODUCTION = "production"


class Settings(BaseSettings):
    """Everything that can be set; each field says what it means, with its unit."""

    model_config = SettingsConfigDict(env_prefix="COORDINATOR_", frozen=True, extra="ignore")

    node_id: str = Field("node-1", pattern=NAME, description="name of this node, unique")
    site: str = Field("", description="site that this node serves, for display")
    partition: str = Field("", description="partition that this node serves, for display")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on")
    advertise_url: str = Field("", description="address that others reach this node at")
    etcd_endpoints: Names = Field(("http://127.0.0.1:2379",), description="etcd members' URLs")
    etcd_attempt_s: float = Field(1.0, gt=0, description="seconds for one member to answer")
    etcd_operations_max: int = Field(128, ge=16, description="the members' --max-txn-ops")
    etcd_quota_bytes: int = Field(
        2 * 2**30, ge=1, description="the members' --quota-backend-bytes, to warn in time"
    )
    upkeep_every_s: float = Field(
        300,
        ge=0,
        description="seconds between compaction and defragmentation of etcd, by one of the nodes; "
        "0 leaves both to others",
    )
    revisions_kept: int = Field(50_000, ge=1, description="revisions that compaction leaves")
    entries_kept: int = Field(
        0,
        ge=0,
        description="newest ledger entries of a counter that stay in etcd, 10,000 or more; 0 keeps "
        "all. Export the ledger before: what leaves is not kept elsewhere",
    )
    root: str = Field("/sequence/", pattern=r"^/.*/$", description="prefix of all keys in etcd")
    state_dir: str = Field(
        "",
        description="folder in which this node remembers what it has seen committed, to refuse an "
        "older store; empty: it forgets that at a restart",
    )
    profile: Profile = Field(
        Profile.PRODUCTION, description="production or demonstration, which has a reset"
    )

    dashboard_read_only: bool = Field(
        False,
        description="whether the pages have no control that changes anything; the API takes all",
    )
    control_url: str = Field(
        "",
        pattern=r"^(http://[^/\s]+)?$",
        description="where the launcher of a demonstration takes requests to kill and restart "
        "processes; empty: they cannot be broken from the page",
    )
    control_token: str = Field(
        "", repr=False, description="the launcher's token; give it in the environment"
    )

    series: str = Field("invoice", pattern=NAME, description="name of the default series")
    strategy: Strategy = Field(
        Strategy.GLOBAL,
        description="one sequence (GLOBAL_SEQUENTIAL), or one for each site (SITE_SEQUENTIAL) or "
        "site and partition (PARTITION_SEQUENTIAL)",
    )
    sites: Names = Field(("site-1", "site-2"), description="names of the sites, with commas")
    partitions: Names = Field(
        ("partition-a", "partition-b"), description="names of the partitions, with commas"
    )
    invoice_types: Names = Field(
        ("on-cycle", "off-cycle", "simulated", "suppressed"),
        description="names of the invoice types, with commas",
    )
    first_number: int = Field(1, ge=1, description="the first number ever issued")
    max_value: int = Field(2**53 - 1, ge=1, description="the last number; then NB002")
    simulated_enabled: bool = Field(True, description="whether simulated invoices get numbers")
    release_suppressed: bool = Field(False, description="release suppressed ones by itself")

    queue_max: int = Field(
        20_000,
        ge=1,
        description="requests that may wait for one counter; those of one site take half at most",
    )
    deadline_s: float = Field(10.0, gt=0, description="seconds until a request is given up")
    counters_max: int = Field(
        10_000, ge=1, description="counters kept in memory; more only while they are in use"
    )
    counter_idle_s: float = Field(
        60.0,
        gt=0,
        description="seconds until counters that nobody asks for leave the memory, but for 64",
    )
    connections_max: int = Field(
        20_000, ge=1, description="connections at a time; fewer if the limit of open files is low"
    )
    head_s: float = Field(30.0, gt=0, description="seconds for a request's head to arrive")
    idle_s: float = Field(600.0, gt=0, description="seconds a connection may idle between requests")
    node_ttl_s: int = Field(5, ge=2, description="seconds until a silent node counts as gone")
    log_level: str = Field(
        "info",
        pattern="^(debug|info|warning|error)$",
        description="debug, info, warning or error",
    )

    @field_validator("etcd_endpoints", "sites", "partitions", "invoice_types", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("etcd_endpoints", "sites", "partitions", "invoice_types")
    @classmethod
    def _some_and_different(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError("give at least one name, and each once")
        return value

    @field_validator("etcd_endpoints")
    @classmethod
    def _urls(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            Wire(url)  # raises ValueError for what is no address
            if not re.fullmatch(r"https?://[^/\s]+/?", url):
                raise ValueError(f"{url!r} is no address of a member, like http://127.0.0.1:2379")
        return value

    @field_validator("entries_kept")
    @classmethod
    def _enough_entries(cls, value: int) -> int:
        if 0 < value < ENTRIES_KEPT_MIN:  # nodes and repeated requests look back this far
            raise ValueError(f"keep at least {ENTRIES_KEPT_MIN:,} entries, or 0 for all")
        return value

    @field_validator("series")
    @classmethod
    def _not_that_of_documents(cls, value: str) -> str:
        if value == COUNTERS:
            raise ValueError(f"{COUNTERS} is what counters of documents are called")
        return value

    @field_validator("sites", "partitions", "invoice_types")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [name for name in value if not re.fullmatch(NAME, name)]
        if wrong:  # a colon, for one, separates the names in the totals
            raise ValueError(f"{wrong[0]!r} must match {NAME}")
        return value

    @model_validator(mode="after")
    def _last_is_not_before_first(self) -> "Settings":
        if self.max_value < self.first_number:
            raise ValueError("max_value lies below first_number")
        return self

    @property
    def url(self) -> str:
        """Return the address at which others reach this node."""
        return self.advertise_url.rstrip("/") or f"http://{self.host}:{self.port}"

    def shared(self) -> dict[str, object]:
        """Return what all nodes of an installation must agree on."""
        shared: dict[str, object] = {
            "format": 1,
            "profile": self.profile.value,
            "series": self.series,
            "strategy": self.strategy.value,
            "first_number": self.first_number,
        }
        if self.strategy is not Strategy.GLOBAL:  # counters are named by these
            shared |= {"sites": list(self.sites), "partitions": list(self.partitions)}
        return shared
