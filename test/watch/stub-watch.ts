import { SILENT_LOGGER } from '../../src/logger.js';
import { serveWatch, type WatchServer } from '../../src/watch/serve.js';
import { STATUS_PAGE, STATUS_PAGE_CSP } from '../../src/watch/status-page.js';
import type { Watch } from '../../src/watch/watch.js';
import type { WatchJob, WatchStatus } from '../../src/watch/watch-status.js';
import { statusOf } from './status-fixtures.js';

/** A round that somebody asked for. */
export interface Asked {
  readonly job: WatchJob;
  readonly options: unknown;
}

/** A watch that tells what it is told to tell, behind the endpoints of a real one. */
export class StubWatch implements AsyncDisposable {
  status: WatchStatus = statusOf();
  readonly asked: Asked[] = [];
  /** How often its status was asked for. */
  polls = 0;
  readonly #token: string | null;
  #server: WatchServer | null = null;
  #port = 0;

  constructor(token: string | null = null) {
    this.#token = token;
  }

  static async serve(token: string | null = null): Promise<StubWatch> {
    const watch = new StubWatch(token);
    await watch.start();
    return watch;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/`;
  }

  /** Listens, on the same port as before. */
  async start(): Promise<void> {
    this.#server = await serveWatch({
      host: '127.0.0.1',
      port: this.#port,
      logger: SILENT_LOGGER,
      metrics: null,
      token: this.#token,
      page: { html: STATUS_PAGE, policy: STATUS_PAGE_CSP },
      watch: this.#watch() as unknown as Watch,
    });
    this.#port = this.#server.address.port;
  }

  async stop(): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
    this.#server = null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #watch(): Pick<Watch, 'state' | 'status' | 'sync' | 'rebuild' | 'verify'> {
    const ask = (job: WatchJob) => (options: unknown) => {
      this.asked.push({ job, options });
      return new Promise<never>(() => undefined);
    };
    return {
      state: this.status.state,
      status: () => {
        this.polls++;
        return Promise.resolve(this.status);
      },
      sync: ask('sync'),
      rebuild: ask('rebuild'),
      verify: ask('verify'),
    };
  }
}
