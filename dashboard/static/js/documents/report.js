// What became of each row of a file, as a CSV file of its own.

const CALCULATED = new Set([..."=+-@\t\r\n\0＝＋－＠'"]);

/** A spreadsheet calculates what begins like a formula, whoever wrote it: an apostrophe makes it text. */
const cell = (value) => {
  const text = String(value ?? "");
  const safe = CALCULATED.has(text.charAt(0)) ? `'${text}` : text;
  return `"${safe.replaceAll('"', '""')}"`;
};

/** Hands a person the report of `rows` as a file. */
export function saveReport(rows, stateOf, fileName) {
  const lines = [["row", "line", "document_type", "document_number", "counter", "state", "errors"]];
  for (const row of rows) {
    const errors = row.errors.map(({ column, value, message }) =>
      [column, value && `'${value}'`, message].filter(Boolean).join(" "));
    lines.push([row.row, row.line, row.document_type, row.document_number, row.counter, stateOf(row), errors.join("; ")]);
  }
  const text = `\ufeff${lines.map((line) => line.map(cell).join(",")).join("\r\n")}\r\n`;
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = `report-${fileName.replace(/\.[^.]*$/, "")}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
