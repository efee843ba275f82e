import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs';
import { tryLock, unlock } from 'fs-native-extensions';
import { CacheError } from '../errors.js';
import { FILE_MODE, SAFELY } from './files.js';
import { damagePath } from './layout.js';

/**
 * Damage that a read met: a record whose checksum does not hold, or, without a table and a key, what is not of single
 * records. It is of one generation, and of no meaning for another.
 */
export interface DamageNote {
  readonly generation: number;
  readonly record: { readonly tableId: number; readonly key: Uint8Array } | null;
}

/** What is known of the damage of one generation. */
export interface NotedDamage {
  /** Keys of damaged records, by table. */
  readonly records: ReadonlyMap<number, readonly Uint8Array[]>;
  /** Whether there is damage that cannot be repaired record by record. */
  readonly beyondRecords: boolean;
}

/** Damaged records of one table from which on it is not repaired record by record any more. */
export const MAX_DAMAGED_RECORDS = 1000;
/** The file grows no further: room for more records than are repaired, with the longest keys. */
const MAX_FILE_BYTES = 4 * 1024 * 1024;
const MAX_KEY_TEXT = 4096;

/** Whoever holds the lock has it for an instant. */
const LOCK_TRIES = 20;
const LOCK_PAUSE_MS = 1;

/**
 * Notes damage that the reads of one process meet, in a file that the next sync looks at: one JSON object a line.
 *
 * Any process that reads may add a line, under a lock of the file. What is in it is taken for a remark: it says where
 * to look, and never what to write.
 */
export class DamageLog {
  readonly #cacheDir: string;
  /** Lines that this process has added to the file as it is. */
  readonly #noted = new Set<string>();
  #bytes = 0;

  constructor(cacheDir: string) {
    this.#cacheDir = cacheDir;
  }

  /** Never throws: who reads need not have the right to write. */
  note(note: DamageNote): void {
    const line = lineOf(note);
    try {
      withFile(this.#cacheDir, constants.O_CREAT, (fd) => {
        const { size } = fstatSync(fd);
        // A sync has emptied it since.
        if (size < this.#bytes) this.#noted.clear();
        this.#bytes = size;
        if (this.#noted.has(line) || size + line.length > MAX_FILE_BYTES) return;
        this.#bytes += writeSync(fd, line, size);
        this.#noted.add(line);
      });
    } catch {
      // The read's own error says all there is to say.
    }
  }
}

/** The damage of a generation that is known. None where the file is missing or cannot be understood. */
export function readDamage(cacheDir: string, generation: number): NotedDamage {
  const records = new Map<number, Map<string, Uint8Array>>();
  let beyondRecords = false;
  for (const note of readNotes(cacheDir)) {
    if (note.generation !== generation) continue;
    if (note.record === null) {
      beyondRecords = true;
      continue;
    }
    const { tableId, key } = note.record;
    const keys = records.get(tableId) ?? new Map<string, Uint8Array>();
    keys.set(hexOf(key), key);
    records.set(tableId, keys);
  }
  return {
    records: new Map([...records].map(([tableId, keys]) => [tableId, [...keys.values()]])),
    beyondRecords,
  };
}

/** Forgets notes. Killed half-way it leaves some that are of no use, which does no harm. */
export function forgetDamage(cacheDir: string, isDone: (note: DamageNote) => boolean): void {
  try {
    withFile(cacheDir, 0, (fd) => {
      const left = parse(readAll(fd))
        .filter((note) => !isDone(note))
        .map(lineOf)
        .join('');
      writeSync(fd, left, 0);
      ftruncateSync(fd, Buffer.byteLength(left));
    });
  } catch {
    // They stay: the next sync finds that there is nothing left to do about them.
  }
}

/** Damage that a sync cannot repair record by record. */
export function beyondRepair(cacheDir: string, what: string): CacheError {
  return new CacheError(
    'CACHE_CORRUPT',
    `Reads of the cache ${JSON.stringify(cacheDir)} ${what}.`,
    {
      context: { path: cacheDir },
      hint: 'Run `storage-sync rebuild`: the source has everything.',
    },
  );
}

export function hexOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('hex');
}

/** It begins with the end of a line: the one before may be that of a killed process. */
function lineOf({ generation, record }: DamageNote): string {
  const note = record
    ? { generation, table: record.tableId, key: hexOf(record.key) }
    : { generation };
  return `\n${JSON.stringify(note)}\n`;
}

function readNotes(cacheDir: string): DamageNote[] {
  try {
    return withFile(cacheDir, 0, (fd) => parse(readAll(fd)));
  } catch {
    return [];
  }
}

function parse(text: string): DamageNote[] {
  return text.split('\n').flatMap((line) => noteOf(line) ?? []);
}

function noteOf(line: string): DamageNote | null {
  if (line === '') return null;
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    return null;
  }
  if (typeof parsed !== 'object' || parsed === null) return null;
  const { generation, table, key } = parsed as Record<string, unknown>;
  if (!isNumber(generation)) return null;
  if (table === undefined && key === undefined) return { generation, record: null };
  if (!isNumber(table) || typeof key !== 'string') return null;
  if (key.length > MAX_KEY_TEXT || !/^([0-9a-f]{2})+$/.test(key)) return null;
  return { generation, record: { tableId: table, key: new Uint8Array(Buffer.from(key, 'hex')) } };
}

function isNumber(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function readAll(fd: number): string {
  const bytes = Buffer.alloc(Math.min(fstatSync(fd).size, MAX_FILE_BYTES));
  let end = 0;
  for (;;) {
    const read = readSync(fd, bytes, end, bytes.length - end, end);
    if (read === 0) return bytes.toString('utf8', 0, end);
    end += read;
  }
}

/** Opens the file, if it is one and no link to another, and runs `use` while nobody else has its lock. */
function withFile<T>(cacheDir: string, flags: number, use: (fd: number) => T): T {
  const fd = openSync(damagePath(cacheDir), constants.O_RDWR | SAFELY | flags, FILE_MODE);
  try {
    if (!fstatSync(fd).isFile()) throw new Error('It is not a file.');
    lock(fd);
    try {
      return use(fd);
    } finally {
      unlock(fd);
    }
  } finally {
    closeSync(fd);
  }
}

function lock(fd: number): void {
  for (let tries = 1; !tryLock(fd); tries++) {
    if (tries === LOCK_TRIES) throw new Error('It is locked.');
    Atomics.wait(pause, 0, 0, LOCK_PAUSE_MS);
  }
}

const pause = new Int32Array(new SharedArrayBuffer(4));
