import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Strike } from './faults.js';
import type { StatsCollector } from './stats.js';

/** Lets bytes already written reach the client before its end discards what is unread. */
export const FLUSH_MS = 20;

/**
 * The body of one response, with backpressure: a write waits until the client has taken enough.
 * Cuts the body where the exchange's fault says so.
 */
export class BodySink {
  readonly #res: ServerResponse;
  readonly #stats: StatsCollector;
  readonly #action: Strike['action'];
  readonly #limit: number;
  readonly #bytesPerMs: number;
  /** When the next byte may be sent. */
  #freeAt = 0;
  #sent = 0;
  #ended = false;

  constructor(
    res: ServerResponse,
    stats: StatsCollector,
    action: Strike['action'],
    bytesPerSecond = Infinity,
  ) {
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#res = res;
    this.#stats = stats;
    this.#action = action;
    this.#limit = cutAt(action);
  }

  /** False once nothing more can be sent: the client has left or the body was cut. */
  get isOpen(): boolean {
    return !this.#ended && !this.#res.destroyed;
  }

  head(status: number, headers: Readonly<Record<string, string>>, length?: number): void {
    const isEndedEarly = this.#action?.kind === 'end-after-bytes';
    this.#res.writeHead(status, {
      ...headers,
      ...(length === undefined || isEndedEarly ? {} : { 'content-length': String(length) }),
    });
  }

  async write(chunk: Uint8Array): Promise<void> {
    if (!this.isOpen) {
      return;
    }
    const room = this.#limit - this.#sent;
    const isCut = chunk.byteLength >= room;
    const bytes = isCut ? chunk.subarray(0, room) : chunk;
    this.#sent += bytes.byteLength;
    this.#stats.bytesSent += bytes.byteLength;
    await this.#turn(bytes.byteLength);
    const isFull = bytes.byteLength > 0 && !this.#res.write(bytes);
    if (isCut) {
      await this.#cut();
    } else if (isFull) {
      await drained(this.#res);
    }
  }

  /** Waits until so many bytes may follow those before. */
  async #turn(bytes: number): Promise<void> {
    if (this.#bytesPerMs === Infinity) return;
    const waitMs = this.#freeAt - performance.now();
    if (waitMs > 0) {
      await sleep(waitMs);
    }
    this.#freeAt = Math.max(this.#freeAt, performance.now()) + bytes / this.#bytesPerMs;
  }

  end(): void {
    if (this.isOpen) {
      this.#ended = true;
      this.#res.end();
    }
  }

  async #cut(): Promise<void> {
    this.#ended = true;
    switch (this.#action?.kind) {
      case 'reset-after-bytes':
        this.#res.flushHeaders();
        await sleep(FLUSH_MS);
        this.#res.socket?.resetAndDestroy();
        break;
      case 'end-after-bytes':
        this.#res.end();
        break;
      default:
        // A stall: the client sees the rest when it gives up, which is never.
        this.#res.flushHeaders();
    }
  }
}

/** Resolves when the response takes more, or never will. */
async function drained(res: ServerResponse): Promise<void> {
  if (res.destroyed) {
    return;
  }
  await new Promise<void>((resolve) => {
    const done = (): void => {
      res.off('drain', done);
      res.off('close', done);
      resolve();
    };
    res.on('drain', done);
    res.on('close', done);
  });
}

function cutAt(action: Strike['action']): number {
  switch (action?.kind) {
    case 'reset-after-bytes':
    case 'end-after-bytes':
      return action.bytes;
    case 'stall':
      return action.afterBytes ?? 0;
    default:
      return Infinity;
  }
}
