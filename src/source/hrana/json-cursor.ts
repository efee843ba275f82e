import { isUtf8 } from 'node:buffer';
import { field } from '../hrana-answer.js';
import { answerTooLarge } from '../http-errors.js';
import { refusedStatement } from '../refused-statement.js';
import {
  CURSOR_END,
  CURSOR_MORE,
  CURSOR_ROW,
  type CursorDecoder,
  type CursorEncoding,
  type CursorState,
  type StreamHead,
} from './cursor-decoder.js';
import { jsonStatement, readJsonValue } from './json-values.js';
import { readPlainRow } from './json-row.js';
import { malformed } from './protocol-error.js';
import { UnreadBytes } from './unread-bytes.js';
import { WireRow } from './wire-row.js';

const NEWLINE = 0x0a;
/** An entry in JSON may take so many times the bytes of its values: a control character takes six. */
const GROWTH = 6;

/**
 * Cursors of Hrana 3 in JSON: each entry is a line
 * (https://github.com/tursodatabase/libsql/blob/main/docs/HRANA_3_SPEC.md, "Create a cursor").
 */
export const JSON_CURSOR: CursorEncoding = {
  transport: 'http-json-cursor',
  path: 'v3/cursor',
  pipelinePath: 'v3/pipeline',
  contentType: 'application/json',
  losesInfinities: true,
  request: (statement) =>
    Buffer.from(
      JSON.stringify({ baton: null, batch: { steps: [{ stmt: jsonStatement(statement) }] } }),
    ),
  closing: (baton) => Buffer.from(JSON.stringify({ baton, requests: [{ type: 'close' }] })),
  decoder: (maxEntryBytes) => new JsonCursor(GROWTH * maxEntryBytes),
};

class JsonCursor implements CursorDecoder {
  row = new WireRow();
  previous = new WireRow();
  head: StreamHead | null = null;
  readonly #maxLineBytes: number;
  readonly #unread = new UnreadBytes();
  /** Bytes behind `#unread.at` that are known to hold no end of a line. */
  #searched = 0;

  constructor(maxLineBytes: number) {
    this.#maxLineBytes = maxLineBytes;
  }

  /** The row to fill next. */
  #turn(): WireRow {
    const row = this.previous;
    this.previous = this.row;
    this.row = row;
    return row;
  }

  feed(bytes: Buffer): void {
    this.#unread.add(bytes);
  }

  next(): CursorState {
    const unread = this.#unread;
    for (;;) {
      const { bytes, at, end } = unread;
      const lineEnd = bytes.indexOf(NEWLINE, at + this.#searched);
      if (lineEnd < 0 || lineEnd >= end) {
        this.#searched = end - at;
        if (this.#searched > this.#maxLineBytes) throw answerTooLarge(this.#maxLineBytes);
        return CURSOR_MORE;
      }
      this.#searched = 0;
      unread.at = lineEnd + 1;
      if (lineEnd - at > this.#maxLineBytes) throw answerTooLarge(this.#maxLineBytes);
      if (lineEnd === at) continue;
      if (this.head !== null && readPlainRow(this.previous, bytes, at, lineEnd)) {
        this.#turn();
        return CURSOR_ROW;
      }
      const state = this.#entry(bytes.subarray(at, lineEnd));
      if (state !== CURSOR_MORE) return state;
    }
  }

  #entry(line: Buffer): CursorState {
    const entry = parseLine(line);
    if (this.head === null) {
      this.head = { baton: textOrNull(entry, 'baton'), baseUrl: textOrNull(entry, 'base_url') };
      return CURSOR_MORE;
    }
    switch (field(entry, 'type')) {
      case 'row': {
        const cells = field(entry, 'row');
        if (!Array.isArray(cells)) throw malformed('a row is no list');
        this.#turn().setCells(cells.map(readJsonValue));
        return CURSOR_ROW;
      }
      case 'step_end':
        return CURSOR_END;
      case 'step_error':
      case 'error':
        throw readError(field(entry, 'error'));
      default:
        return CURSOR_MORE;
    }
  }
}

function parseLine(line: Buffer): unknown {
  if (!isUtf8(line)) throw malformed('it is not UTF-8');
  let entry: unknown;
  try {
    entry = JSON.parse(line.toString());
  } catch (error) {
    throw malformed('it is not valid JSON', error);
  }
  if (typeof entry !== 'object' || entry === null) throw malformed('an entry is no object');
  return entry;
}

/** The error that a server tells in JSON. */
export function readError(error: unknown): Error {
  return refusedStatement(textOrNull(error, 'code') ?? '', textOrNull(error, 'message') ?? '');
}

export function textOrNull(object: unknown, name: string): string | null {
  const value = field(object, name);
  if (value === undefined || value === null) return null;
  if (typeof value !== 'string') throw malformed(`${JSON.stringify(name)} is no text`);
  return value;
}
