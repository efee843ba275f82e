import { createHash, timingSafeEqual } from 'node:crypto';
import { Hono, type Context, type MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import * as v from 'valibot';
import { ConfigError, StorageSyncError, SyncAbortedError } from '../errors.js';
import { checkOptions, flag, verifyLevel } from '../check-options.js';
import { PROMETHEUS_TYPE, type PrometheusMetrics } from './prometheus.js';
import type { StatusDocument } from './status-document.js';
import type { RequestedSync, RequestedVerify, Watch } from './watch.js';
import type { WatchJob } from './watch-status.js';

/** What the endpoints of a watch are made of. */
export interface WatchAppOptions {
  readonly watch: Watch;
  /** What `/metrics` tells, or null where there are none. */
  readonly metrics: PrometheusMetrics | null;
  /** Who sends it may ask for syncs, verifies and rebuilds; null where nobody may. */
  readonly token: string | null;
  /** The page, and its Content-Security-Policy. */
  readonly page: { readonly html: string; readonly policy: string };
  /**
   * Names by which requests may call this server, or null for any. A page of another site cannot make a browser ask by a
   * name that it points at this machine (DNS rebinding).
   */
  readonly hosts: readonly string[] | null;
}

const MAX_BODY_BYTES = 4096;

const syncBody = v.strictObject({
  full: v.optional(flag),
  allowLoss: v.optional(flag),
});
const rebuildBody = v.strictObject({
  allowLoss: v.optional(flag),
});
const verifyBody = v.strictObject({
  level: v.optional(verifyLevel),
  repair: v.optional(flag),
  allowLoss: v.optional(flag),
});

/**
 * The endpoints of a watch:
 *
 * | request                                | answer                                                                   |
 * |----------------------------------------|--------------------------------------------------------------------------|
 * | `GET /`                                | the status page                                                          |
 * | `GET /status.json`                     | {@link StatusDocument}                                                   |
 * | `GET /healthz`                         | 200 while the watch goes on, else 503                                    |
 * | `GET /readyz`                          | 200 while the cache can be read, else 503; `?fresh=1`: while it is fresh |
 * | `GET /metrics`                         | metrics in Prometheus's text format                                      |
 * | `POST /sync`, `/rebuild`, `/verify`    | 202; with `?wait=1` 200 and the report. They need the bearer token       |
 */
export function watchApp(options: WatchAppOptions): Hono {
  const { watch, metrics, token, page, hosts } = options;
  const app = new Hono();
  app.use(async (c, next) => {
    await next();
    c.header('X-Content-Type-Options', 'nosniff');
    c.header('Referrer-Policy', 'no-referrer');
    c.header('Cache-Control', 'no-store');
  });
  if (hosts) app.use(knownHost(hosts));
  app.get('/', (c) => {
    c.header('Content-Security-Policy', page.policy);
    return c.html(page.html);
  });
  app.get('/status.json', async (c) => {
    const status: StatusDocument = { ...(await watch.status()), actions: token !== null };
    return c.json(status);
  });
  app.get('/healthz', (c) => {
    const isAlive = watch.state === 'waiting' || watch.state === 'running';
    return c.json({ status: isAlive ? 'ok' : watch.state }, isAlive ? 200 : 503);
  });
  app.get('/readyz', async (c) => {
    const { cache } = await watch.status();
    const isReady =
      cache.generation !== null &&
      cache.state !== 'corrupt' &&
      (c.req.query('fresh') === undefined || cache.isFresh);
    const { state, generation, ageMs } = cache;
    return c.json({ ready: isReady, state, generation, ageMs }, isReady ? 200 : 503);
  });
  if (metrics) {
    app.get('/metrics', async (c) => {
      return c.body(await metrics.text(), 200, { 'Content-Type': PROMETHEUS_TYPE });
    });
  }
  app.use('*', bodyLimit({ maxSize: MAX_BODY_BYTES, onError: tooLarge }));
  const allowed = bearer(token);
  const run = async <T>(
    c: Context,
    job: WatchJob,
    body: v.GenericSchema<unknown, T>,
    start: (asked: T) => Promise<object>,
  ) => {
    const asked = await readBody(c, body);
    const report = start(asked);
    if (c.req.query('wait') !== undefined) return c.json(await report);
    // Its failure is told by the status, and by the log.
    report.catch(() => undefined);
    return c.json({ job }, 202);
  };
  app.post('/sync', allowed, async (c) => {
    return await run(c, 'sync', syncBody, (asked: RequestedSync) => watch.sync(asked));
  });
  app.post('/rebuild', allowed, async (c) => {
    return await run(c, 'rebuild', rebuildBody, (asked: RequestedSync) => watch.rebuild(asked));
  });
  app.post('/verify', allowed, async (c) => {
    return await run(c, 'verify', verifyBody, (asked: RequestedVerify) => watch.verify(asked));
  });
  app.notFound((c) => {
    return c.json(failure('NOT_FOUND', 'There is nothing here.', 'See GET /.'), 404);
  });
  app.onError((error, c) => {
    if (!(error instanceof StorageSyncError)) {
      return c.json(failure('UNEXPECTED', 'Unexpected failure.', 'See the log.'), 500);
    }
    const { code, message, hint } = error;
    const status =
      error instanceof ConfigError ? 400 : error instanceof SyncAbortedError ? 503 : 502;
    return c.json(failure(code, message, hint), status);
  });
  return app;
}

function knownHost(hosts: readonly string[]): MiddlewareHandler {
  return async (c, next) => {
    const name = hostName(c.req.header('host') ?? '');
    if (hosts.includes(name)) return await next();
    const said = 'This server is not known by the name that the request calls it.';
    return c.json(failure('FORBIDDEN', said, 'Call it by the address it listens on.'), 403);
  };
}

function hostName(host: string): string {
  return URL.canParse(`http://${host}`) ? new URL(`http://${host}`).hostname : '';
}

function bearer(token: string | null): MiddlewareHandler {
  return async (c, next) => {
    if (token === null) {
      const hint = 'Start the watch with STORAGE_SYNC_WATCH_TOKEN set.';
      return c.json(
        failure('FORBIDDEN', 'This watch takes no requests: it has no token.', hint),
        403,
      );
    }
    const given = /^Bearer (.*)$/i.exec(c.req.header('authorization') ?? '')?.[1];
    if (given !== undefined && isSame(given, token)) return await next();
    c.header('WWW-Authenticate', 'Bearer');
    const said = given === undefined ? 'The token is missing.' : 'The token is wrong.';
    return c.json(failure('UNAUTHORIZED', said, 'Send it as Authorization: Bearer <token>.'), 401);
  };
}

/** Compares in a time that does not tell how much is right. */
function isSame(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

async function readBody<T>(c: Context, body: v.GenericSchema<unknown, T>): Promise<T> {
  const text = await c.req.text();
  let value: unknown = {};
  try {
    if (text.trim() !== '') value = JSON.parse(text);
  } catch (error) {
    throw new ConfigError('The body of the request is no JSON.', { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ConfigError('The body of the request is no JSON object.');
  }
  return checkOptions('The body of the request is wrong', body, value);
}

function tooLarge(c: Context): Response {
  return c.json(failure('TOO_LARGE', 'The body of the request is too large.'), 413);
}

function failure(code: string, message: string, hint?: string): object {
  return { error: { code, message, hint: hint ?? null } };
}
