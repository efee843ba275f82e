import { ResponseError } from './errors.js';

/** Mirrors `StmtKind` of libsql-server/src/query_analysis.rs. */
export type StatementKind =
  | 'txn-begin'
  | 'txn-end'
  | 'read'
  | 'write'
  | 'savepoint'
  | 'release'
  | 'attach'
  | 'detach'
  | 'ddl';

export interface AnalyzedStatement {
  /** Text of this one statement, without what follows its last token. */
  readonly sql: string;
  readonly kind: StatementKind;
  /** INSERT, UPDATE or DELETE: only these report changes. */
  readonly isIud: boolean;
  readonly isInsert: boolean;
  /** SELECT or VALUES, also behind WITH, but not EXPLAIN. */
  readonly isSelect: boolean;
  readonly isExplain: boolean;
  readonly isPragma: boolean;
  /** Name of parameter i at index i - 1; null for a nameless or unused one. */
  readonly params: readonly (string | null)[];
}

interface Token {
  readonly kind: 'word' | 'quoted' | 'string' | 'number' | 'variable' | 'punct';
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

const TOKEN =
  /(?<space>\s+|--[^\n]*(?:\n|$)|\/\*[\s\S]*?(?:\*\/|$))|(?<string>[xX]?'(?:[^']|'')*(?:'|$))|(?<quoted>"(?:[^"]|"")*(?:"|$)|`(?:[^`]|``)*(?:`|$)|\[[^\]]*(?:\]|$))|(?<variable>\?\d*|[:@#][A-Za-z0-9_$\u0080-\uffff]+|\$[A-Za-z0-9_$\u0080-\uffff]+(?:::[A-Za-z0-9_$\u0080-\uffff]*)*(?:\([^)\s]*\))?)|(?<number>0[xX][0-9a-fA-F]+|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)|(?<word>[A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*)|(?<punct>[\s\S])/y;

function tokenize(sql: string): Token[] {
  const tokens: Token[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < sql.length) {
    const start = TOKEN.lastIndex;
    const groups = TOKEN.exec(sql)?.groups;
    if (groups === undefined) {
      break;
    }
    const end = TOKEN.lastIndex;
    if (groups['space'] !== undefined) {
      continue;
    }
    const kind = (['string', 'quoted', 'variable', 'number', 'word'] as const).find(
      (name) => groups[name] !== undefined,
    );
    tokens.push({ kind: kind ?? 'punct', text: sql.slice(start, end), start, end });
  }
  return tokens;
}

/** Splits at semicolons, but not inside the body of a trigger, which ends at `; END ;`. */
function splitStatements(tokens: readonly Token[]): Token[][] {
  const statements: Token[][] = [];
  let current: Token[] = [];
  for (const token of tokens) {
    if (token.text === ';') {
      const last = current.at(-1);
      const beforeLast = current.at(-2);
      const inTrigger = isTrigger(current) && !(word(last) === 'END' && beforeLast?.text === ';');
      if (inTrigger) {
        current.push(token);
      } else if (current.length > 0) {
        statements.push(current);
        current = [];
      }
      continue;
    }
    current.push(token);
  }
  if (current.length > 0) {
    statements.push(current);
  }
  return statements;
}

function word(token: Token | undefined): string | undefined {
  return token?.kind === 'word' ? token.text.toUpperCase() : undefined;
}

function isTrigger(tokens: readonly Token[]): boolean {
  const words = tokens.slice(0, 5).map(word);
  const create = words.indexOf('CREATE');
  if (create < 0) {
    return false;
  }
  const next = words[create + 1];
  return (
    next === 'TRIGGER' ||
    ((next === 'TEMP' || next === 'TEMPORARY') && words[create + 2] === 'TRIGGER')
  );
}

const RESERVED_TABLES = new Set(['_litestream_seq', '_litestream_lock', 'libsql_wasm_func_table']);

const PRAGMA_READ = new Set(
  (
    'table_list index_list table_info table_xinfo index_info index_xinfo pragma_list ' +
    'compile_options database_list function_list module_list encoding'
  ).split(' '),
);
const PRAGMA_WRITE = new Set(
  (
    'defer_foreign_keys foreign_keys foreign_key_list foreign_key_check collation_list ' +
    'data_version freelist_count integrity_check legacy_file_format page_count quick_check ' +
    'stats user_version'
  ).split(' '),
);
const PRAGMA_WITHOUT_ARGS = new Set(
  (
    'analysis_limit application_id auto_vacuum automatic_index busy_timeout cache_size ' +
    'cache_spill cell_size_check checkpoint_fullfsync fullfsync hard_heap_limit journal_mode ' +
    'journal_size_limit legacy_alter_table locking_mode max_page_count mmap_size page_size ' +
    'query_only read_uncommitted recursive_triggers reverse_unordered_selects secure_delete ' +
    'soft_heap_limit synchronous temp_store threads trusted_schema wal_autocheckpoint'
  ).split(' '),
);

function pragmaKind(tokens: readonly Token[]): StatementKind | undefined {
  const at = tokens[2]?.text === '.' ? 3 : 1;
  const name = (tokens[at]?.text ?? '').toLowerCase();
  const hasBody = tokens.length > at + 1;
  if (PRAGMA_READ.has(name) || (name === 'schema_version' && !hasBody)) {
    return 'read';
  }
  if (PRAGMA_WRITE.has(name) || (PRAGMA_WITHOUT_ARGS.has(name) && !hasBody)) {
    return 'write';
  }
  return undefined;
}

/** Index of the verb behind the common table expressions of a WITH. */
function skipWith(tokens: readonly Token[]): number {
  let depth = 0;
  for (let i = 1; i < tokens.length; i++) {
    const token = tokens[i];
    if (token?.text === '(') {
      depth++;
    } else if (token?.text === ')') {
      depth--;
    } else if (depth === 0) {
      const verb = word(token);
      if (verb !== undefined && /^(?:SELECT|VALUES|INSERT|REPLACE|UPDATE|DELETE)$/.test(verb)) {
        return i;
      }
    }
  }
  return tokens.length;
}

function unquote(name: string): string {
  return /^["`[']/.test(name) ? name.slice(1, -1) : name;
}

/** Name of a possibly qualified table that starts at `at`. */
function tableName(tokens: readonly Token[], at: number): { schema?: string; name: string } {
  const first = unquote(tokens[at]?.text ?? '');
  return tokens[at + 1]?.text === '.'
    ? { schema: first, name: unquote(tokens[at + 2]?.text ?? '') }
    : { name: first };
}

function unlessReserved(
  tokens: readonly Token[],
  at: number,
  kind: StatementKind,
): StatementKind | undefined {
  return RESERVED_TABLES.has(tableName(tokens, at).name.toLowerCase()) ? undefined : kind;
}

/** Skips optional words, such as `IF EXISTS` or `OR REPLACE`. */
function skipWords(tokens: readonly Token[], at: number, words: ReadonlySet<string>): number {
  let i = at;
  while (words.has(word(tokens[i]) ?? '')) {
    i++;
  }
  return i;
}

const IF_WORDS = new Set(['IF', 'NOT', 'EXISTS']);
const CONFLICT_WORDS = new Set([
  'OR',
  'ROLLBACK',
  'ABORT',
  'REPLACE',
  'FAIL',
  'IGNORE',
  'INTO',
  'FROM',
]);

function statementKind(tokens: readonly Token[]): StatementKind | undefined {
  const second = word(tokens[1]);
  switch (word(tokens[0])) {
    case 'SELECT':
    case 'VALUES':
      return 'read';
    case 'WITH':
      return statementKind(tokens.slice(skipWith(tokens)));
    case 'INSERT':
    case 'REPLACE':
    case 'UPDATE':
    case 'DELETE':
      return unlessReserved(tokens, skipWords(tokens, 1, CONFLICT_WORDS), 'write');
    case 'BEGIN':
      return 'txn-begin';
    case 'COMMIT':
    case 'END':
      return 'txn-end';
    case 'ROLLBACK':
      return tokens.some((token) => word(token) === 'TO') ? 'release' : 'txn-end';
    case 'SAVEPOINT':
      return 'savepoint';
    case 'RELEASE':
      return 'release';
    case 'PRAGMA':
      return pragmaKind(tokens);
    case 'EXPLAIN':
      return second === 'PRAGMA' ? pragmaKind(tokens.slice(1)) : 'read';
    case 'CREATE':
      return createKind(tokens);
    case 'DROP':
      if (second === 'TABLE') {
        return unlessReserved(tokens, skipWords(tokens, 2, IF_WORDS), 'ddl');
      }
      return second === 'INDEX' || second === 'TRIGGER' || second === 'VIEW' ? 'ddl' : undefined;
    case 'ALTER':
      return unlessReserved(tokens, 2, 'ddl');
    case 'REINDEX':
      return 'write';
    case 'ATTACH': {
      // Only a bare name is taken, as the name of a namespace: never a file name.
      const at = second === 'DATABASE' ? 2 : 1;
      return tokens[at]?.kind === 'word' || tokens[at]?.kind === 'quoted' ? 'attach' : undefined;
    }
    case 'DETACH':
      return 'detach';
    default:
      return undefined;
  }
}

function createKind(tokens: readonly Token[]): StatementKind | undefined {
  switch (word(tokens[1])) {
    case 'TABLE':
    case 'VIRTUAL': {
      const at = skipWords(tokens, word(tokens[1]) === 'TABLE' ? 2 : 3, IF_WORDS);
      return tableName(tokens, at).schema === 'TEMP' ? undefined : 'ddl';
    }
    case 'INDEX':
    case 'UNIQUE':
    case 'TRIGGER':
    case 'VIEW':
      return 'ddl';
    default:
      // TEMP tables, views and triggers belong to one connection: sqld refuses them.
      return undefined;
  }
}

/** Numbers parameters as SQLite does: `?` takes the next number, a name keeps its first one. */
function parameters(tokens: readonly Token[]): (string | null)[] {
  const names: (string | null)[] = [];
  const grow = (count: number): void => {
    while (names.length < count) {
      names.push(null);
    }
  };
  for (const token of tokens) {
    if (token.kind !== 'variable') {
      continue;
    }
    if (token.text === '?') {
      names.push(null);
    } else if (token.text.startsWith('?')) {
      const index = Number(token.text.slice(1));
      grow(Math.min(index, 32_766));
      if (index >= 1) {
        names[index - 1] ??= token.text;
      }
    } else if (!names.includes(token.text)) {
      names.push(token.text);
    }
  }
  return names;
}

function parseError(reason: string): ResponseError {
  return new ResponseError(`SQL string could not be parsed: ${reason}`, 'SQL_PARSE_ERROR');
}

/** Statements of an SQL text, analysed one by one; throws where sqld refuses one. */
export function* parseStatements(sql: string): Generator<AnalyzedStatement> {
  for (const tokens of splitStatements(tokenize(sql))) {
    const kind = isKnownVerb(word(tokens[0])) ? statementKind(tokens) : 'read';
    if (kind === undefined) {
      throw parseError(`unsupported statement: ${sql}`);
    }
    yield analyzeTokens(sql, tokens, kind);
  }
}

/** The first statement of a text, also one that sqld would refuse to run. */
export function analyzeStatement(sql: string): AnalyzedStatement {
  const tokens = splitStatements(tokenize(sql))[0] ?? [];
  return analyzeTokens(sql, tokens, statementKind(tokens) ?? 'write');
}

function analyzeTokens(
  sql: string,
  tokens: readonly Token[],
  kind: StatementKind,
): AnalyzedStatement {
  const first = word(tokens[0]);
  const verb = first === 'WITH' ? word(tokens[skipWith(tokens)]) : first;
  const isInsert = verb === 'INSERT' || verb === 'REPLACE';
  return {
    sql: sql.slice(tokens[0]?.start ?? 0, tokens.at(-1)?.end ?? 0),
    kind,
    isIud: isInsert || verb === 'UPDATE' || verb === 'DELETE',
    isInsert,
    isSelect: verb === 'SELECT' || verb === 'VALUES',
    isExplain: first === 'EXPLAIN',
    isPragma: first === 'PRAGMA',
    params: parameters(tokens),
  };
}

/** A text whose first word starts no statement is left to the engine, as a syntax error. */
function isKnownVerb(verb: string | undefined): boolean {
  return /^(?:SELECT|VALUES|WITH|INSERT|REPLACE|UPDATE|DELETE|BEGIN|COMMIT|END|ROLLBACK|SAVEPOINT|RELEASE|PRAGMA|EXPLAIN|CREATE|DROP|ALTER|REINDEX|ATTACH|DETACH|ANALYZE|VACUUM)$/.test(
    verb ?? '',
  );
}

/** The single statement of a `Stmt` (`proto_stmt_to_query` of libsql-server/src/hrana/stmt.rs). */
export function parseSingleStatement(sql: string): AnalyzedStatement {
  const statements = parseStatements(sql);
  const first = statements.next();
  if (first.done === true) {
    throw new ResponseError('SQL string does not contain any statement', 'SQL_NO_STATEMENT');
  }
  let more = true;
  try {
    more = statements.next().done !== true;
  } catch {
    // A second statement that cannot be parsed is still a second statement.
  }
  if (more) {
    throw new ResponseError('SQL string contains more than one statement', 'SQL_MANY_STATEMENTS');
  }
  return first.value;
}

function lineAndColumn(sql: string, offset: number): { line: number; col: number } {
  const before = sql.slice(0, offset);
  const line = before.split('\n').length;
  return { line, col: offset - (before.lastIndexOf('\n') + 1) + 1 };
}

/**
 * The answer for a syntax error found by the engine, or undefined for another engine error.
 * sqld parses with its own parser before it executes: the code is the same, line and column of
 * the message are close to its own.
 */
export function syntaxError(sql: string, message: string): ResponseError | undefined {
  const near = /^near "([\s\S]*)": syntax error$/.exec(message)?.[1];
  if (near !== undefined) {
    const token = tokenize(sql).findLast((candidate) => candidate.text === near);
    const { line, col } = lineAndColumn(sql, token?.end ?? sql.length);
    return parseError(`syntax error around L${line}:${col}: \`${near}\``);
  }
  const unrecognized = /^unrecognized token: "([\s\S]*)"$/.exec(message)?.[1];
  if (unrecognized !== undefined) {
    const { line, col } = lineAndColumn(sql, Math.max(sql.indexOf(unrecognized), 0));
    return parseError(`unrecognized token at (${line}, ${col})`);
  }
  if (message === 'incomplete input') {
    const { line, col } = lineAndColumn(sql, sql.length);
    return parseError(`incomplete input at (${line}, ${col})`);
  }
  return undefined;
}

/** Byte offset of the token an engine message names; -1 where SQLite gives no offset either. */
export function errorOffset(sql: string, message: string): number {
  const near = /^near "([\s\S]*)": syntax error$/.exec(message)?.[1];
  if (near !== undefined) {
    const token = tokenize(sql).findLast((candidate) => candidate.text === near);
    return Buffer.byteLength(sql.slice(0, token?.start ?? 0));
  }
  const name =
    /^(?:no such column|ambiguous column name|no such function): (?:"([^"]*)"|(\S+))/.exec(
      message,
    ) ??
    /^(?:wrong number of arguments to function|misuse of aggregate(?: function)?:?) (\S+?)\(\)$/.exec(
      message,
    );
  const text = (name?.[1] ?? name?.[2])?.split('.').at(-1);
  if (text === undefined) {
    return -1;
  }
  const tokens = tokenize(sql);
  const found = tokens.findIndex(
    (token) => unquote(token.text).toLowerCase() === text.toLowerCase(),
  );
  if (found < 0) {
    return -1;
  }
  // A qualified name is reported at its first part.
  const start = tokens[found - 1]?.text === '.' ? found - 2 : found;
  return Buffer.byteLength(sql.slice(0, tokens[start]?.start ?? 0));
}
