/** Quotes an identifier for SQL, whatever characters it holds. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Quotes a text literal for SQL. Must not hold a NUL, which no SQL text can. */
export function quoteText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
