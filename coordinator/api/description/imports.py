"""The calls that import numbers which were issued elsewhere."""

from coordinator.api import problems as p
from coordinator.api.description.call import CHANGING, USER, Answer, Body, Call, Tag
from coordinator.api.description.import_answers import (
    ImportCourse,
    ImportCourses,
    ImportProblem,
    ImportReport,
)
from coordinator.api.import_inputs import ImportFields, ImportsQuery
from coordinator.api.inputs import NothingQuery

ROOT = "/api/v1/admin/document-numbering"
_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_CSV = "document_type,document_number,created_at,metadata\nRFA,RFA-OLD1-2019-00001,2019-05-31,\n"

CALLS = (
    Call(
        Tag.ADMINISTRATION,
        "bulkImport",
        "POST",
        f"{ROOT}/bulk-import",
        "Import a file of numbers",
        "CSV or XLSX, with a header: `document_type`, `document_number`, and perhaps `created_at` "
        "and `metadata`. Up to 100,000 rows and 64 MiB. All rows or none, in one commit. What the "
        "file leaves out below its numbers is void: more than 1,000 of a count take "
        "`pass_over_max`. With `dry_run` it is only checked, row by row. The fields stand in the "
        "query, or in the form beside the file.",
        (Answer(200, "What was done, or would be.", ImportReport),),
        (
            *(p.ROWS_REFUSED, p.BAD_FILE, p.IMPORT_TOO_LARGE, p.FAR_AHEAD, p.NO_ROOM),
            *CHANGING,
        ),
        query=ImportFields,
        bodies=(
            Body(None, _CSV, "text/csv"),
            Body(None, None, _XLSX),
            Body(None, None, "application/octet-stream"),
            Body(ImportFields, None, "multipart/form-data"),
        ),
        asked={"dry_run": True},
        headers=(USER,),
        keyed=True,
        problem=ImportProblem,
    ),
    Call(
        Tag.ADMINISTRATION,
        "imports",
        "GET",
        f"{ROOT}/imports",
        "How far imports are",
        "The newest twenty, of all nodes or of the one that you ask; each node keeps its own in "
        "memory, until it restarts.",
        (Answer(200, "The imports.", ImportCourses),),
        query=ImportsQuery,
    ),
    Call(
        Tag.ADMINISTRATION,
        "import",
        "GET",
        f"{ROOT}/imports/{{id}}",
        "How far one import is",
        "Any node may be asked: the id names the node that has it.",
        (Answer(200, "The import.", ImportCourse, in_data=True),),
        (p.NO_SUCH_IMPORT, p.OUT_OF_REACH),
        query=NothingQuery,
        in_path={"id": str},
        asked={"id": "node-1.0a1b2c3d"},
    ),
)
