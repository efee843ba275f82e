import { inspect } from 'node:util';
import { StorageSyncError, type ErrorContext } from '../errors.js';
import { printable } from '../format.js';
import type { Secrets } from '../secrets.js';

export interface OutputFlags {
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/**
 * Results go to stdout; everything said about them goes to stderr, without secrets. With `--json`, stdout carries
 * exactly one JSON document.
 */
export class Output {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly #secrets: Secrets;
  #wroteResult = false;

  constructor(flags: OutputFlags, secrets: Secrets) {
    this.json = flags.json ?? false;
    this.quiet = flags.quiet ?? false;
    this.#secrets = secrets;
    // A write's own callback reports its failure; without listeners the event would end the process.
    process.stdout.on('error', () => {});
    process.stderr.on('error', () => {});
  }

  /** Writes part of a result. Settles when stdout has taken it: awaiting it is the backpressure. */
  write(text: string): Promise<void> {
    this.#wroteResult = true;
    return new Promise((resolve, reject) => {
      process.stdout.write(text, (error) => {
        if (!error) resolve();
        else reject(isBrokenPipe(error) ? error : new StdoutError(error));
      });
    });
  }

  /** Writes a result as one JSON document. */
  document(value: unknown): Promise<void> {
    const redact = (_: string, member: unknown) =>
      typeof member === 'string' ? this.#secrets.redact(member) : member;
    return this.write(`${JSON.stringify(value, redact, 2)}\n`);
  }

  /** Says something that `--quiet` leaves out. */
  note(line: string): void {
    if (!this.quiet) this.say(line);
  }

  warn(line: string): void {
    this.say(`warning: ${line}`);
  }

  /** Tells of a failure: what happened on one line, what to do next on another. */
  async failure(error: unknown): Promise<void> {
    const { code, message, hint, context } = failureOf(error);
    this.say(message);
    if (hint !== undefined) this.#print(printable(hint));
    if (debugging()) this.#print(inspect(error));
    // Half a result is already out: a second document behind it would help nobody.
    if (!this.json || this.#wroteResult) return;
    await this.document({ error: { code, message, hint: hint ?? null, context } });
  }

  /** Says a line under the command's name. */
  say(line: string): void {
    this.#print(`storage-sync: ${printable(line)}`);
  }

  #print(line: string): void {
    process.stderr.write(`${this.#secrets.redact(line)}\n`);
  }
}

/** True for the error of writing to a pipe that nobody reads any more. */
export function isBrokenPipe(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EPIPE';
}

class StdoutError extends Error {
  constructor(cause: Error) {
    super(`The result cannot be written to stdout: ${cause.message}`, { cause });
  }
}

interface Failure {
  readonly code: string;
  readonly message: string;
  readonly hint: string | undefined;
  readonly context: ErrorContext;
}

function failureOf(error: unknown): Failure {
  if (error instanceof StorageSyncError) return error;
  if (error instanceof StdoutError) {
    return { code: 'STDOUT_FAILED', message: error.message, hint: undefined, context: {} };
  }
  const message = error instanceof Error ? error.message || error.name : String(error);
  return {
    code: 'UNEXPECTED',
    message: `Unexpected failure: ${message}`,
    hint: debugging() ? undefined : 'Set STORAGE_SYNC_DEBUG=1 to see where it happened.',
    context: {},
  };
}

function debugging(): boolean {
  return Boolean(process.env['STORAGE_SYNC_DEBUG'] || process.env['DEBUG']);
}
