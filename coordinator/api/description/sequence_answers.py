"""What the sequence API answers."""

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict


class Issued(TypedDict):
    """Numbers that were allocated, committed and in the ledger."""

    sequenceNumbers: NotRequired[list[int]]
    sequenceRanges: NotRequired[list[tuple[int, int]]]
    success: Literal[True]
    error: None
    gapFilled: bool
    globalCounter: int
    timestamp: str
    nodeId: str
    instanceId: str
    siteId: str
    partitionId: str
    invoiceType: str
    requestId: str
    processingTimeMs: float
    strategy: str
    metadata: dict[str, Any] | None
    firstSequenceNumber: int
    sequenceCount: int


class Released(TypedDict):
    """A number was taken back."""

    success: Literal[True]
    sequenceNumber: int
    message: str
    timestamp: str


class WasReset(TypedDict):
    """Every count starts anew."""

    success: Literal[True]
    message: str
    timestamp: str


class Statistics(TypedDict):
    """Totals, rates and the state of the cluster, of one snapshot of the store."""

    currentCounter: int
    totalGenerated: int
    totalReleased: int
    availableGaps: int
    nextAvailableGap: int
    averageLatencyMs: float
    peakLatencyMs: float
    requestsPerSecond: float
    totalRequests: int
    sequencesBySite: dict[str, int]
    sequencesByPartition: dict[str, int]
    sequencesByInvoiceType: dict[str, int]
    sequencesBySitePartition: dict[str, int]
    sequencesBySitePartitionType: dict[str, int]
    totalGapsCreated: int
    totalGapsRecovered: int
    gapRecoveryRate: float
    longestGapDuration: int
    gapPercentage: float
    activeSequences: int
    currentStrategy: str
    lastSequenceTime: str | None
    statisticsTime: str
    watermark: int
    openReservations: int
    voided: int
    systemHealthy: bool
    activeNodes: int
    totalNodes: int
    primaryNode: str | None
    clusterHealthy: bool
    clusterAvailability: float
    uptime: int


class Health(TypedDict):
    """Whether numbers can be issued."""

    status: Literal["UP", "DOWN"]
    healthy: bool
    currentCounter: int | None
    totalGenerated: int | None
    availableGaps: int | None
    clusterHealthy: bool
    systemHealthy: bool
    error: str | None
    timestamp: str


class Gaps(TypedDict):
    """A page of the gaps: released numbers that wait to be issued again."""

    gaps: list[int]
    count: int
    nextGap: int
    nextStart: int | None
    byCounter: dict[str, list[int]]
    timestamp: str


class Finding(TypedDict):
    """One break of a ledger: where, and what was seen."""

    counter: str
    kind: str
    entry: int
    number: int | None
    detail: str


class Proof(TypedDict):
    """What a proof of the ledgers came to."""

    valid: bool
    gaps: list[int]
    duplicates: list[int]
    summary: str
    findings: list[Finding]
    entries: int
    trimmed: dict[str, int]
    tips: dict[str, str]
    timestamp: str


class Deed(TypedDict):
    """Who did something to a number, when and why."""

    at: str
    siteId: str | None
    partitionId: str | None
    invoiceType: str | None
    user: str | None
    nodeId: str
    documentNumber: str | None
    reason: str | None
    requestId: str
    entryIndex: int


class GapLife(TypedDict):
    """One gap: how it came about, and what became of it."""

    counter: str
    sequenceNumber: int
    releasedAt: str
    releasedInEntry: int
    released: Deed | None
    issued: Deed | None
    openMs: int


class GapLives(TypedDict):
    """Gaps that are open, the lowest first, and those that were refilled, newest first."""

    open: list[GapLife]
    openTotal: int | None
    openNext: str | None
    refilled: list[GapLife]
    refilledNext: str | None
    lookedBackTo: dict[str, int | None]
    timestamp: str


class HistoryRecord(TypedDict):
    """One thing that happened to a number, or to a run of them: a view of a ledger entry."""

    auditId: str
    sequenceNumber: int | None
    documentNumber: str | None
    siteId: str | None
    partitionId: str | None
    invoiceType: str | None
    operationType: Literal[
        "GENERATE",
        "RELEASE",
        "RECOVER",
        "RESERVE",
        "CONFIRM",
        "CANCEL",
        "EXPIRE",
        "VOID",
        "MANUAL_OVERRIDE",
        "IMPORT",
        "ADJUST",
        "RESET",
    ]
    status: Literal["ACTIVE", "RELEASED", "RECOVERED", "EXPIRED", "VOID"]
    reason: str | None
    description: str
    timestamp: str
    releaseTime: str | None
    recoveryTime: str | None
    nodeId: str
    instanceId: str
    gapFilled: bool
    globalCounter: int
    requestId: str
    correlationId: str
    processingTimeMs: float
    metadata: dict[str, Any] | None
    user: str | None
    ipAddress: str | None
    userAgent: str | None
    entryIndex: int
    entryHash: str
    quantity: NotRequired[int]


class AuditRecord(HistoryRecord):
    """The same, of whichever counter."""

    counter: str
    strategy: str


class EntryBytes(TypedDict):
    """One ledger entry as exactly the bytes that its hash is made of."""

    counter: str
    index: int
    previousHash: str | None
    hash: str | None
    recordedHash: str | None
    recordedIn: int | Literal["head"]
    contentBase64: str
    newestIndex: int
    newestHash: str
    trimmedThrough: int
