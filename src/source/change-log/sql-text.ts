import { foldName } from '../introspection.js';
import { quoteText } from '../sql.js';

interface Token {
  readonly kind: 'space' | 'string' | 'quoted' | 'number' | 'word' | 'punct';
  readonly text: string;
}

const TOKEN =
  /(?<space>\s+|--[^\n]*(?:\n|$)|\/\*[\s\S]*?(?:\*\/|$))|(?<string>[xX]?'(?:[^']|'')*')|(?<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])|(?<number>\.?\d[\w.]*(?:(?<=[eE])[+-]\d+)?)|(?<word>[A-Za-z_\u0080-\u{10ffff}][\w$\u0080-\u{10ffff}]*)|(?<punct>[\s\S])/uy;

/** SQL that the database itself has parsed before, as tokens. Comments are spaces. */
function tokenize(sql: string): Token[] {
  const tokens: Token[] = [];
  TOKEN.lastIndex = 0;
  for (let match = TOKEN.exec(sql); match !== null; match = TOKEN.exec(sql)) {
    const [kind, text] = Object.entries(match.groups!).find(([, group]) => group !== undefined)!;
    tokens.push({ kind: kind as Token['kind'], text: kind === 'space' ? ' ' : text });
    if (TOKEN.lastIndex >= sql.length) break;
  }
  return tokens;
}

function textOf(tokens: readonly Token[]): string {
  return tokens
    .map((token) => token.text)
    .join('')
    .trim();
}

/** The parts, separated by commas, of the first parenthesis that opens at or behind `from`; and where it closes. */
function parenthesis(tokens: readonly Token[], from: number): { parts: Token[][]; end: number } {
  const parts: Token[][] = [[]];
  let depth = 0;
  for (let i = from; i < tokens.length; i++) {
    const token = tokens[i]!;
    const opens = token.kind === 'punct' && token.text === '(';
    const closes = token.kind === 'punct' && token.text === ')';
    if (closes && --depth === 0) return { parts, end: i + 1 };
    if (depth === 1 && token.kind === 'punct' && token.text === ',') parts.push([]);
    else if (depth > 0) parts.at(-1)!.push(token);
    if (opens) depth++;
  }
  return { parts, end: tokens.length };
}

export interface IndexText {
  /** The indexed terms, without their sort order. */
  readonly terms: readonly string[];
  /** The condition of a partial index, or null. */
  readonly where: string | null;
}

/** Takes a stored `CREATE INDEX` statement apart (https://www.sqlite.org/lang_createindex.html). */
export function parseIndex(sql: string): IndexText {
  const tokens = tokenize(sql);
  const on = tokens.findIndex((token) => isWord(token, 'ON'));
  const { parts, end } = parenthesis(tokens, on);
  const terms = parts.map((part) => {
    const last = part.findLastIndex((token) => token.kind !== 'space');
    const sorted = isWord(part[last], 'ASC') || isWord(part[last], 'DESC');
    return textOf(sorted ? part.slice(0, last) : part);
  });
  const where = tokens.findIndex((token, i) => i >= end && isWord(token, 'WHERE'));
  return { terms, where: where < 0 ? null : textOf(tokens.slice(where + 1)) };
}

/** The definitions of a stored `CREATE TABLE` statement, by what each begins with: its column's name, folded. */
export function parseColumnDefinitions(sql: string): Map<string, string> {
  const definitions = new Map<string, string>();
  for (const part of parenthesis(tokenize(sql), 0).parts) {
    const first = part.findIndex((token) => token.kind !== 'space');
    const name = part[first];
    if (name) definitions.set(foldName(unquoted(name)), textOf(part.slice(first + 1)));
  }
  return definitions;
}

/**
 * A column's DEFAULT as SQL for any place: a name that stands there alone is a string
 * (https://www.sqlite.org/lang_createtable.html, section 3.2).
 */
export function parseDefault(sql: string): string {
  const tokens = tokenize(sql).filter(({ kind }) => kind !== 'space');
  const [only] = tokens;
  const isName =
    tokens.length === 1 &&
    (only!.kind === 'quoted' || (only!.kind === 'word' && !CONSTANTS.test(only!.text)));
  return isName ? quoteText(unquoted(only!)) : textOf(tokenize(sql));
}

const CONSTANTS = /^(?:null|true|false|current_(?:date|time|timestamp))$/i;

/** Every name that an expression may mean a column by, folded. Keywords and functions are among them. */
export function namesIn(sql: string): Set<string> {
  const names = tokenize(sql).filter(({ kind }) => kind === 'word' || kind === 'quoted');
  return new Set(names.map((token) => foldName(unquoted(token))));
}

function isWord(token: Token | undefined, word: string): boolean {
  return token?.kind === 'word' && token.text.toUpperCase() === word;
}

function unquoted({ kind, text }: Token): string {
  if (kind !== 'quoted' && kind !== 'string') return text;
  const quote = text.at(-1)!;
  const inner = text.slice(1, -1);
  return quote === ']' ? inner : inner.replaceAll(quote + quote, quote);
}
