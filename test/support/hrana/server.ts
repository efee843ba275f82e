import { Worker } from 'node:worker_threads';
import type { FaultSpec } from './faults.js';
import {
  type CallMessage,
  type HranaServerOptions,
  type ReplyMessage,
  resolveOptions,
  type ServerCalls,
} from './options.js';
import type { HranaStats } from './stats.js';

export type { FaultAction, FaultSpec, FaultTransport } from './faults.js';
export type { HranaServerOptions, HranaVersions } from './options.js';
export type { HranaStats } from './stats.js';

/** A fault that was ordered. */
export interface FaultHandle {
  /** How often it has struck. */
  fired(): Promise<number>;
  clear(): Promise<void>;
}

/**
 * A libSQL server for tests: Hrana 2 and 3 over HTTP and WebSocket in front of a real database
 * file. It runs in its own thread, so that it does not disturb the event loop under test.
 */
export interface HranaServer extends AsyncDisposable {
  readonly port: number;
  readonly httpUrl: string;
  readonly wsUrl: string;
  fault(spec: FaultSpec): Promise<FaultHandle>;
  clearFaults(): Promise<void>;
  stats(): Promise<HranaStats>;
  resetStats(): Promise<void>;
  /** Goes down: connections break, streams are lost, new connections are refused. */
  stop(): Promise<void>;
  /** Comes up again on the same port; faults and statistics are kept. */
  start(): Promise<void>;
  /** Ends the server and its thread. */
  close(): Promise<void>;
}

export async function startHranaServer(options: HranaServerOptions): Promise<HranaServer> {
  const thread = new ServerThread(options);
  try {
    return new ServerHandle(thread, await thread.call('start', undefined));
  } catch (error) {
    await thread.end();
    throw error;
  }
}

/** Calls into the server's thread and matches the replies. */
class ServerThread {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, PromiseWithResolvers>();
  #nextId = 1;
  #failure: Error | undefined;

  constructor(options: HranaServerOptions) {
    this.#worker = new Worker(new URL('./server-worker.js', import.meta.url), {
      workerData: resolveOptions(options),
    });
    this.#worker.on('message', (reply: ReplyMessage) => {
      const waiting = this.#waiting.get(reply.id);
      this.#waiting.delete(reply.id);
      if ('error' in reply) {
        waiting?.reject(reply.error);
      } else {
        waiting?.resolve(reply.result);
      }
    });
    this.#worker.on('error', (error) => this.#fail(error));
    this.#worker.on('exit', () => this.#fail(new Error('the Hrana server has ended')));
  }

  call<M extends keyof ServerCalls>(
    method: M,
    argument: ServerCalls[M]['argument'],
  ): Promise<ServerCalls[M]['result']> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure);
        return;
      }
      const message: CallMessage = { id: this.#nextId++, method, argument };
      this.#waiting.set(message.id, {
        resolve: resolve as (result: unknown) => void,
        reject,
      });
      this.#worker.postMessage(message);
    });
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#waiting.values()) {
      reject(error);
    }
    this.#waiting.clear();
  }
}

interface PromiseWithResolvers {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
}

class ServerHandle implements HranaServer {
  readonly port: number;
  readonly httpUrl: string;
  readonly wsUrl: string;
  readonly #thread: ServerThread;
  #isClosed = false;

  constructor(thread: ServerThread, port: number) {
    this.#thread = thread;
    this.port = port;
    this.httpUrl = `http://127.0.0.1:${port}`;
    this.wsUrl = `ws://127.0.0.1:${port}`;
  }

  async fault(spec: FaultSpec): Promise<FaultHandle> {
    const id = await this.#thread.call('addFault', spec);
    return {
      fired: () => this.#thread.call('firedBy', id),
      clear: () => this.#thread.call('removeFault', id),
    };
  }

  async clearFaults(): Promise<void> {
    await this.#thread.call('clearFaults', undefined);
  }

  stats(): Promise<HranaStats> {
    return this.#thread.call('stats', undefined);
  }

  async resetStats(): Promise<void> {
    await this.#thread.call('resetStats', undefined);
  }

  async stop(): Promise<void> {
    await this.#thread.call('stop', undefined);
  }

  async start(): Promise<void> {
    await this.#thread.call('start', undefined);
  }

  async close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      await this.#thread.call('stop', undefined);
      await this.#thread.end();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
