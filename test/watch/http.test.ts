import assert from 'node:assert/strict';
import { request } from 'node:http';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { ConfigError, StorageSync, type WatchStatus } from '../../src/index.js';
import { SILENT_LOGGER } from '../../src/logger.js';
import { PrometheusMetrics } from '../../src/watch/prometheus.js';
import { serveWatch, type WatchServer } from '../../src/watch/serve.js';
import { changeDatabase, quote } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';

const TOKEN = 'open sesame';
const PAGE = { html: '<!doctype html><title>page</title>', policy: "default-src 'none'" };
/** A name that would end a line, a label or an attribute if it were not escaped. */
const HOSTILE = 'a"b\\c\n<img src=x onerror=alert(1)>';

/** A real watch of a small database, and its endpoints. */
class Served implements AsyncDisposable {
  readonly dir: TempDirectory;
  readonly storage: StorageSync;
  readonly watch;
  readonly server: WatchServer;

  private constructor(
    dir: TempDirectory,
    storage: StorageSync,
    watch: ReturnType<StorageSync['watch']>,
    server: WatchServer,
  ) {
    this.dir = dir;
    this.storage = storage;
    this.watch = watch;
    this.server = server;
  }

  static async begin({ token = TOKEN, syncs = true, host = '127.0.0.1' } = {}): Promise<Served> {
    const dir = await TempDirectory.make();
    changeDatabase(
      dir.join('source.db'),
      `CREATE TABLE t (id INTEGER PRIMARY KEY, v);
       INSERT INTO t VALUES (1, 'one'), (2, 'two');
       CREATE TABLE ${quote(HOSTILE)} (id INTEGER PRIMARY KEY)`,
    );
    const metrics = new PrometheusMetrics();
    const storage = await StorageSync.open({
      source: { url: `file:${dir.join('source.db')}` },
      cacheDir: dir.join('cache'),
      meterProvider: metrics.provider,
      readerThreads: 1,
    });
    const watch = storage.watch({ intervalMs: 1e9, syncOnStart: false });
    const common = { watch, metrics, page: PAGE, logger: SILENT_LOGGER };
    const server = await serveWatch({ ...common, host, port: 0, token: token || null });
    if (syncs) await watch.sync();
    return new Served(dir, storage, watch, server);
  }

  async get(path: string, init: RequestInit = {}): Promise<Response> {
    return await fetch(new URL(path, this.server.url), init);
  }

  async post(path: string, body = '', token: string | null = TOKEN): Promise<Response> {
    const headers = token === null ? {} : { Authorization: `Bearer ${token}` };
    return await this.get(path, { method: 'POST', body, headers });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
    await this.storage.close();
    await this.dir[Symbol.asyncDispose]();
  }
}

async function codeOf(response: Response): Promise<string> {
  return ((await response.json()) as { error: { code: string } }).error.code;
}

void describe('the endpoints of a watch', () => {
  void it('tell its state, its health and the page', async () => {
    await using served = await Served.begin();
    const page = await served.get('/');
    assert.equal(await page.text(), PAGE.html);
    assert.equal(page.headers.get('content-security-policy'), PAGE.policy);
    assert.equal(page.headers.get('x-content-type-options'), 'nosniff');
    const status = (await (await served.get('/status.json')).json()) as WatchStatus & {
      actions: boolean;
    };
    assert.deepEqual(
      [status.state, status.rounds, status.cache.state, status.actions],
      ['waiting', 1, 'fresh', true],
    );
    assert.ok(status.diskBytes > 0);
    assert.equal((await served.get('/healthz')).status, 200);
    assert.equal((await served.get('/readyz')).status, 200);
    assert.equal((await served.get('/readyz?fresh=1')).status, 200);
    assert.equal((await served.get('/nothing')).status, 404);
    assert.equal((await served.get('/sync')).status, 404);
    await served.watch.stop();
    assert.equal((await served.get('/healthz')).status, 503);
    assert.equal((await served.get('/readyz')).status, 200, 'reads go on');
  });

  void it('say that it is not ready before there is anything to read', async () => {
    await using served = await Served.begin({ syncs: false });
    const ready = await served.get('/readyz');
    assert.equal(ready.status, 503);
    assert.deepEqual(await ready.json(), {
      ready: false,
      state: 'empty',
      generation: null,
      ageMs: null,
    });
    assert.equal((await served.get('/healthz')).status, 200);
  });

  void it('tell metrics that Prometheus can read, whatever tables are called', async () => {
    await using served = await Served.begin();
    const response = await served.get('/metrics');
    assert.match(response.headers.get('content-type')!, /^text\/plain; version=0\.0\.4/);
    const text = await response.text();
    assert.match(text, /^storage_sync_cache_rows\{[^}]*storage_sync_table="t"\} 2$/m);
    assert.match(text, /^storage_sync_cache_status\{[^}]*storage_sync_state="fresh"\} 1$/m);
    assert.match(text, /^storage_sync_job_duration_seconds_count\{[^}]*\} 1$/m);
    assert.match(text, /^storage_sync_rows_total\{[^}]*storage_sync_change="written"\} 2$/m);
    assert.ok(text.includes('a\\"b\\\\c\\n<img'), 'the name is escaped');
    // https://prometheus.io/docs/instrumenting/exposition_formats/
    const sample = /^[a-zA-Z_:][\w:]*(\{([a-zA-Z_]\w*="([^"\\\n]|\\["\\n])*",?)*\})? \S+$/;
    for (const line of text.split('\n')) {
      assert.ok(line === '' || line.startsWith('#') || sample.test(line), line);
    }
    const scrapes = await Promise.all(
      Array.from({ length: 50 }, async () => (await served.get('/metrics')).status),
    );
    assert.deepEqual(new Set(scrapes), new Set([200]));
  });

  void it('do what they are asked to by who has the token', async () => {
    await using served = await Served.begin();
    changeDatabase(served.dir.join('source.db'), "UPDATE t SET v = 'new' WHERE id = 1");
    const synced = await served.post('/sync?wait=1');
    assert.equal(synced.status, 200);
    assert.equal(served.storage.cache.table('t').get(1)?.['v'], 'new');
    const verified = await served.post('/verify?wait', '{"level":"deep","repair":true}');
    assert.equal(((await verified.json()) as { left: number }).left, 0);
    const rebuilt = await served.post('/rebuild', '{"allowLoss":false}');
    assert.deepEqual([rebuilt.status, await rebuilt.json()], [202, { job: 'rebuild' }]);
    await served.watch.sync();
    assert.equal(served.storage.cache.generation, 2);
  });

  void it('refuse all others, and say why', async () => {
    await using served = await Served.begin();
    for (const path of ['/sync', '/verify', '/rebuild']) {
      const missing = await served.post(path, '', null);
      assert.deepEqual([missing.status, await codeOf(missing)], [401, 'UNAUTHORIZED']);
      assert.equal(missing.headers.get('www-authenticate'), 'Bearer');
      for (const token of ['', 'open', `${TOKEN} `, 'open sesame!', '\u00e9']) {
        const wrong = await served.post(path, '', token).catch(() => null);
        // fetch itself strips spaces at the end.
        if (token.trimEnd() !== TOKEN) assert.equal(wrong?.status ?? 401, 401, token);
      }
    }
    await using closed = await Served.begin({ token: '' });
    const off = await closed.post('/sync', '', 'anything');
    assert.deepEqual([off.status, await codeOf(off)], [403, 'FORBIDDEN']);
  });

  void it('name what is wrong with a body', async () => {
    await using served = await Served.begin();
    const wrong: readonly (readonly [string, string, number])[] = [
      ['/sync', '{"ful":true}', 400],
      ['/sync', '{"full":"yes"}', 400],
      ['/sync', '[]', 400],
      ['/verify', '{"level":"all"}', 400],
      ['/rebuild', '{', 400],
      ['/rebuild', `{"allowLoss":${' '.repeat(10_000)}true}`, 413],
    ];
    for (const [path, body, status] of wrong) {
      const response = await served.post(path, body);
      assert.equal(response.status, status, body.slice(0, 40));
    }
    const { rounds } = await served.watch.status();
    assert.equal(rounds, 1, 'nothing was begun');
  });

  void it('are not to be called by a name that another site points here', async () => {
    await using served = await Served.begin();
    const { port } = served.server.address;
    for (const [host, status] of [
      ['evil.example', 403],
      [`evil.example:${port}`, 403],
      ['127.0.0.1.evil.example', 403],
      [`localhost:${port}`, 200],
      [`127.0.0.1:${port}`, 200],
      ['[::1]', 200],
    ] as const) {
      assert.equal(await statusBy(port, host), status, host);
    }
  });

  void it('let go of clients that never end their requests, as they close', async () => {
    const served = await Served.begin();
    const { port } = served.server.address;
    const slow = connect(port, '127.0.0.1');
    slow.on('error', () => undefined).resume();
    const gone = new Promise((resolve) => slow.on('close', resolve));
    slow.write('POST /sync HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{');
    await served.get('/healthz');
    await served[Symbol.asyncDispose]();
    await gone;
  });

  void it('say who has the port', async () => {
    await using served = await Served.begin();
    const { port } = served.server.address;
    const again = serveWatch({
      watch: served.watch,
      metrics: null,
      page: PAGE,
      logger: SILENT_LOGGER,
      token: null,
      host: '127.0.0.1',
      port,
    });
    await assert.rejects(again, (error: unknown) => {
      assert.ok(error instanceof ConfigError);
      assert.match(error.message, /another process listens there/);
      return /--port/.test(error.hint ?? '');
    });
  });
});

async function statusBy(port: number, host: string): Promise<number | undefined> {
  return await new Promise((resolve, reject) => {
    const asked = request(
      { port, host: '127.0.0.1', path: '/healthz', headers: { Host: host } },
      (response) => {
        response.resume();
        resolve(response.statusCode);
      },
    );
    asked.on('error', reject);
    asked.end();
  });
}
