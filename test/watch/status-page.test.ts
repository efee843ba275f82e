import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { CACHE_STATES, type CacheState } from '../../src/cache/status.js';
import { STATUS_PAGE } from '../../src/watch/status-page.js';
import { chromiumPath, launchChromium } from './chromium.js';
import {
  DRAWN_POINTS,
  FAINT_TEXTS,
  FOCUSED,
  FOCUS_IS_SEEN,
  OVERFLOW,
  UNNAMED,
} from './page-checks.js';
import {
  history,
  LOSS,
  OUTAGE,
  round,
  runningStatus,
  statusOf,
  table,
  type StatusChanges,
} from './status-fixtures.js';
import { StubWatch } from './stub-watch.js';

const TOKEN = 'a-token';
/** Where tests are held to be whole, none may be left out. */
const isLeftOut = chromiumPath() === null && process.env['CI'] === undefined;

const WORDS: Readonly<Record<CacheState, string>> = {
  empty: 'Empty',
  fresh: 'Fresh',
  stale: 'Stale',
  syncing: 'Fresh, syncing',
  rebuilding: 'Fresh, rebuilding',
  corrupt: 'Corrupt',
};

const EMPTY: StatusChanges = {
  history: [],
  rounds: 0,
  lastVerify: null,
  cache: {
    state: 'empty',
    isFresh: false,
    generation: null,
    lastSyncAt: null,
    ageMs: null,
    tables: {},
    snapshots: [],
  },
};

const EMPTY_SYNCING: StatusChanges = { ...EMPTY, cache: { ...EMPTY.cache, state: 'syncing' } };

const HOSTILE = '<img src=x onerror="document.title=\'taken\'"></td><script>1</script>';
const REORDERED = 'a\u202edesrever\u2066\u2069\u0007';

/** All that can go wrong, at once. */
function troubled(): StatusChanges {
  const now = Date.now();
  const { lastVerify } = statusOf();
  const failed = { outcome: 'failed', mode: null, rowsRead: 0, durationMs: 4100 } as const;
  return {
    history: [
      ...history(3, now - 60_000),
      round(4, now - 50_000, { outcome: 'aborted', mode: null }),
      round(5, now - 40_000, { outcome: 'differences', job: 'verify', mode: null }),
      round(6, now - 30_000, { ...failed, outcome: 'skipped', error: OUTAGE }),
      round(7, now - 20_000, { warnings: [`Validation of ${HOSTILE}: counts differ`] }),
      round(8, now - 10_000, { ...failed, error: { ...LOSS, message: HOSTILE } }),
    ],
    lastVerify: { ...lastVerify!, differences: 6, repaired: 2, left: 4, complete: false },
    cache: {
      state: 'stale',
      isFresh: false,
      failedSyncs: 2,
      ageMs: 4_000_000,
      rebuildDue: true,
      lastError: { at: new Date(now).toISOString(), code: 'SOURCE_TIMEOUT', message: HOSTILE },
      tables: {
        [HOSTILE]: table(12, { damagedRecords: 3 }),
        [REORDERED]: table(5, { checkpoint: null }),
      },
    },
  };
}

describe('the file of the status page', () => {
  it('is small, and names nothing outside', () => {
    assert.ok(Buffer.byteLength(STATUS_PAGE) < 120_000);
    const urls = [...STATUS_PAGE.matchAll(/https?:\/\/[\w.]+/g)].map(([url]) => url);
    assert.deepEqual([...new Set(urls)], ['http://www.w3.org']);
  });

  it('carries the licences of the packages of which it holds a copy', () => {
    assert.match(STATUS_PAGE, /^uplot \d+\.\d+\.\d+\n\n[^]*?copyright[^]*?permission notice/im);
  });
});

interface Opened {
  readonly page: Page;
  /** What the console, the policy and requests to elsewhere told of. */
  readonly complaints: string[];
}

describe('the status page', { skip: isLeftOut && 'there is no Chromium' }, () => {
  let browser: Browser;

  before(async () => {
    browser = await launchChromium();
  });
  after(async () => {
    await browser.close();
  });

  async function open(watch: StubWatch, options: BrowserContextOptions = {}): Promise<Opened> {
    const context = await browser.newContext({ reducedMotion: 'reduce', ...options });
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on('pageerror', (error) => complaints.push(String(error)));
    page.on('console', (message) => complaints.push(message.text()));
    page.on('request', (request) => {
      const url = request.url();
      if (!url.startsWith(watch.url) && !url.startsWith('data:')) complaints.push(url);
    });
    await page.goto(watch.url);
    return { page, complaints };
  }

  /** Polls at once, as a page does that is looked at again. */
  async function pollNow(page: Page): Promise<void> {
    await page.evaluate(`document.dispatchEvent(new Event('visibilitychange'))`);
  }

  async function show(watch: StubWatch, page: Page, changes: StatusChanges): Promise<void> {
    watch.status = statusOf(changes);
    await pollNow(page);
  }

  it('tells each state by a word, a sign and a sentence, and complains of nothing', async () => {
    await using watch = await StubWatch.serve(TOKEN);
    const { page, complaints } = await open(watch);
    const signs: Record<string, string | null> = {};
    for (const state of CACHE_STATES) {
      const isFresh = state !== 'stale' && state !== 'corrupt';
      await show(watch, page, state === 'empty' ? EMPTY : { cache: { state, isFresh } });
      await page.locator('#headline', { hasText: new RegExp(`^${WORDS[state]}$`) }).waitFor();
      const [word] = WORDS[state].split(',');
      assert.match(await page.title(), new RegExp(`^\\S ${word} · storage-sync$`));
      assert.notEqual(await page.locator('#sentence').textContent(), '');
      signs[state] = await page.locator('#sign').getAttribute('href');
    }
    assert.deepEqual(signs, {
      empty: '#sign-warning',
      fresh: '#sign-good',
      stale: '#sign-warning',
      syncing: '#sign-busy',
      rebuilding: '#sign-busy',
      corrupt: '#sign-bad',
    });
    assert.deepEqual(complaints, []);
    await page.context().close();
  });

  it('runs no other script or style than its own', async () => {
    await using watch = await StubWatch.serve();
    const { page, complaints } = await open(watch);
    await page.evaluate(`(() => {
      const script = document.createElement('script');
      script.textContent = 'document.title = "taken"';
      const image = document.createElement('img');
      image.src = '//elsewhere.invalid/x.png';
      document.body.append(script, image);
    })()`);
    await page.locator('#headline', { hasText: 'Fresh' }).waitFor();
    assert.match(await page.title(), /Fresh/);
    assert.equal(complaints.filter((each) => each.includes('Content Security Policy')).length, 2);
    await page.context().close();
  });

  it('says at first sight what needs attention', async () => {
    await using watch = await StubWatch.serve();
    const { page } = await open(watch);
    await page.locator('#headline', { hasText: /^Fresh$/ }).waitFor();
    assert.equal(await page.locator('#attention').isVisible(), false);
    await show(watch, page, { cache: { tables: { t: table(9, { damagedRecords: 2 }) } } });
    await page.locator('#headline', { hasText: 'Fresh, but see below' }).waitFor();
    await page.locator('#attention', { hasText: '2 damaged records in t' }).waitFor();
    await show(watch, page, troubled());
    await page.locator('#headline', { hasText: 'Stale' }).waitFor();
    assert.equal(await page.locator('#attention li').count(), 4);
    assert.equal(await page.locator('#verdict').getAttribute('data-level'), 'bad');
    const announced = await page.locator('#announcer').textContent();
    assert.match(announced!, /^Stale\..*left 4 differences/);
    const problems = page.locator('#problems li');
    await problems.filter({ hasText: 'SOURCE_UNAVAILABLE' }).waitFor();
    await problems.filter({ hasText: LOSS.hint }).waitFor();
    await problems.filter({ hasText: 'SOURCE_TIMEOUT' }).waitFor();
    const count = await problems.count();
    const lastError = {
      ...OUTAGE,
      at: new Date().toISOString(),
      message: `${OUTAGE.message} Wait.`,
    };
    const again = troubled();
    await show(watch, page, { ...again, cache: { ...again.cache, state: 'syncing', lastError } });
    await page.locator('#headline', { hasText: 'Stale, syncing' }).waitFor();
    await problems.filter({ hasText: 'SOURCE_UNAVAILABLE' }).filter({ hasText: 'Wait.' }).waitFor();
    assert.equal(await problems.count(), count - 1);
    // Rounds that come and go are no news.
    assert.equal(await page.locator('#announcer').textContent(), announced);
    await show(watch, page, EMPTY_SYNCING);
    await page.locator('#headline', { hasText: /^Syncing$/ }).waitFor();
    await show(watch, page, { state: 'stopped', nextRoundAt: null });
    await page.locator('#attention', { hasText: 'The watch is stopped' }).waitFor();
    await page.context().close();
  });

  it('shows the progress of the round under way', async () => {
    await using watch = await StubWatch.serve();
    const { page, complaints } = await open(watch);
    const bar = page.locator('#round-bar');
    watch.status = runningStatus();
    await pollNow(page);
    await page
      .locator('#round-what', { hasText: /^rebuild \(asked for\), reading, for \d+ s$/ })
      .waitFor();
    assert.equal(await bar.getAttribute('value'), '0.5');
    await page.locator('#round-1 dd', { hasText: /^embeddings 52 %, episodes 1,200$/ }).waitFor();
    await page.locator('#round-3 dd', { hasText: '216,459 of 432,918' }).waitFor();
    await page.locator('#round-5 dd', { hasText: '27,400 rows/s' }).waitFor();
    await page.locator('#round-6 dd', { hasText: /^7 s$/ }).waitFor();
    const running = watch.status.running!;
    const progress = { ...running.progress!, table: null, rowsTotal: null, remainingMs: null };
    watch.status = { ...watch.status, running: { ...running, progress } };
    await pollNow(page);
    await page.locator('#round-3 dd', { hasText: /^216,459$/ }).waitFor();
    assert.equal(await bar.getAttribute('value'), null);
    watch.status = { ...watch.status, running: { ...running, progress: null } };
    await pollNow(page);
    await page.locator('#round-what', { hasText: /^rebuild \(asked for\), for \d+ s$/ }).waitFor();
    watch.status = statusOf();
    await page
      .locator('#round-what', { hasText: /^Number 864: sync \(on the interval\), ended .* ago\./ })
      .waitFor();
    assert.deepEqual(complaints, []);
    await page.context().close();
  });

  it('counts on by itself, asks more often during a round, and not at all while hidden', async () => {
    await using watch = await StubWatch.serve();
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.clock.install();
    await page.clock.pauseAt(Date.now() + 60_000);
    const polled = () => page.waitForResponse(/status\.json/).then((answer) => answer.finished());
    const first = polled();
    await page.goto(watch.url);
    await first;
    await page.locator('#age', { hasText: /^42 s$/ }).waitFor();
    // By the server's clock: the browser's is a minute ahead.
    await page.locator('#fact-next', { hasText: /^in 4 min/ }).waitFor();
    await page.clock.runFor(1900);
    await page.locator('#age', { hasText: /^43 s$/ }).waitFor();
    assert.equal(watch.polls, 1);
    watch.status = runningStatus();
    const second = polled();
    await page.clock.runFor(200);
    await second;
    await page.locator('#headline', { hasText: 'Fresh, rebuilding' }).waitFor();
    assert.equal(watch.polls, 2);
    const third = polled();
    await page.clock.runFor(600);
    await third;
    await page.locator('#headline', { hasText: 'Fresh, rebuilding' }).waitFor();
    assert.equal(watch.polls, 3);
    await page.evaluate(
      `Object.defineProperty(document, 'hidden', { value: true, writable: true })`,
    );
    await pollNow(page);
    await page.clock.runFor(600_000);
    assert.equal(watch.polls, 3);
    const back = polled();
    await page.evaluate('document.hidden = false');
    await pollNow(page);
    await back;
    assert.equal(watch.polls, 4);
    await context.close();
  });

  it('leaves alone what did not change, and moves nothing', async () => {
    await using watch = await StubWatch.serve();
    const { page } = await open(watch);
    await page.locator('#tables tbody tr').first().waitFor();
    await page.evaluate(`(() => {
      const cell = document.querySelector('#tables tbody th bdi');
      getSelection().selectAllChildren(cell);
      document.querySelector('#history tbody tr').id = 'kept';
      globalThis.changed = 0;
      new MutationObserver((records) => (changed += records.length)).observe(
        document.querySelector('main'),
        { subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ['class', 'hidden', 'href'] },
      );
      globalThis.shift = 0;
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) shift += entry.value;
      }).observe({ type: 'layout-shift' });
    })()`);
    watch.status = { ...watch.status, diskBytes: 413_000_000 };
    await pollNow(page);
    await page.locator('#fact-disk', { hasText: '413 MB' }).waitFor();
    const newest = round(865, Date.now());
    watch.status = { ...watch.status, history: [...watch.status.history, newest] };
    await pollNow(page);
    await page.locator('#history tbody tr', { hasText: '865' }).waitFor();
    assert.equal(await page.evaluate('getSelection().toString()'), 'episodes');
    const place = '[...document.querySelectorAll("#history tbody tr")].findIndex((row) => row.id)';
    assert.equal(await page.evaluate(place), 1);
    watch.status = { ...runningStatus(), history: watch.status.history };
    await pollNow(page);
    await page.locator('#round-1 dd', { hasText: 'embeddings' }).waitFor();
    assert.equal(await page.evaluate('shift'), 0);
    assert.ok((await page.evaluate<number>('changed')) < 80);
    await page.context().close();
  });

  it('asks for the token once, again when it is wrong, and keeps it with the tab only', async () => {
    await using watch = await StubWatch.serve(TOKEN);
    const { page } = await open(watch);
    await page.getByRole('button', { name: 'Sync now' }).click();
    const token = page.getByLabel('Token', { exact: true });
    await token.fill('wrong');
    await page.keyboard.press('Enter');
    await page.locator('#token-text', { hasText: 'The token is wrong.' }).waitFor();
    assert.equal(await token.inputValue(), '');
    await token.fill(TOKEN);
    await page.getByRole('button', { name: 'Go on' }).click();
    await page.locator('#action-result', { hasText: 'A sync was asked for.' }).waitFor();
    await page.getByLabel('Level').selectOption('deep');
    await page.getByLabel('Repair').check();
    await page.getByRole('button', { name: 'Verify' }).click();
    await page.locator('#action-result', { hasText: 'A verify was asked for.' }).waitFor();
    await page.getByRole('button', { name: 'Rebuild…' }).click();
    await page.getByRole('button', { name: 'Rebuild', exact: true }).click();
    await page.locator('#action-result', { hasText: 'A rebuild was asked for.' }).waitFor();
    assert.deepEqual(watch.asked, [
      { job: 'sync', options: {} },
      { job: 'verify', options: { level: 'deep', repair: true } },
      { job: 'rebuild', options: { allowLoss: false } },
    ]);
    const kept = '[JSON.stringify(localStorage), Object.values(sessionStorage), document.cookie]';
    assert.deepEqual(await page.evaluate(kept), ['{}', [TOKEN], '']);
    await page.reload();
    await page.getByRole('button', { name: 'Forget the token' }).click();
    await page.locator('#action-result', { hasText: 'The token is forgotten.' }).waitFor();
    assert.equal(await page.evaluate('sessionStorage.length'), 0);
    await page.getByRole('button', { name: 'Sync now' }).click();
    await page.keyboard.press('Escape');
    await page.locator('#action-result', { hasText: 'No token was given' }).waitFor();
    assert.equal(watch.asked.length, 3);
    await page.context().close();
  });

  it('has its buttons off where the watch has no token, and says why', async () => {
    await using watch = await StubWatch.serve(null);
    const { page } = await open(watch);
    await page.locator('#action-result', { hasText: 'STORAGE_SYNC_WATCH_TOKEN' }).waitFor();
    for (const name of ['Sync now', 'Verify', 'Rebuild…']) {
      assert.equal(await page.getByRole('button', { name }).isDisabled(), true, name);
    }
    await page.context().close();
  });

  it('says when the watch gives no answer, and goes on when it is back', async () => {
    await using watch = await StubWatch.serve(TOKEN);
    const { page } = await open(watch);
    await page.locator('#headline', { hasText: 'Fresh' }).waitFor();
    await watch.stop();
    await pollNow(page);
    await page.locator('#headline', { hasText: 'No answer' }).waitFor();
    await page.locator('#sentence', { hasText: 'It cannot be reached. Asking again' }).waitFor();
    await page.locator('#sentence', { hasText: 'What is below was said' }).waitFor();
    assert.equal(await page.locator('#tables tbody tr').count(), 4);
    await page.getByRole('button', { name: 'Sync now' }).click();
    await page.getByLabel('Token', { exact: true }).fill(TOKEN);
    await page.keyboard.press('Enter');
    await page.locator('#action-result', { hasText: 'the watch gave no answer' }).waitFor();
    await watch.start();
    await pollNow(page);
    await page.locator('#headline', { hasText: 'Fresh' }).waitFor();
    for (const body of ['<html>', 'null', '{}']) {
      await page.route('**/status.json', (route) => route.fulfill({ body }));
      await pollNow(page);
      await page.locator('#sentence', { hasText: 'something that is no status' }).waitFor();
      await page.unroute('**/status.json');
      await pollNow(page);
      await page.locator('#headline', { hasText: 'Fresh' }).waitFor();
    }
    await page.route('**/status.json', (route) => route.fulfill({ status: 502 }));
    await pollNow(page);
    await page.locator('#sentence', { hasText: 'with status 502' }).waitFor();
    await page.context().close();
  });

  it('takes names and messages for text', async () => {
    await using watch = await StubWatch.serve();
    watch.status = statusOf({ ...troubled(), source: HOSTILE, cacheDir: REORDERED });
    const { page, complaints } = await open(watch);
    await page.locator('#tables th', { hasText: HOSTILE }).waitFor();
    await page
      .locator('#tables th', { hasText: 'a\\u202edesrever\\u2066\\u2069\\u0007' })
      .waitFor();
    await page.locator('#problems', { hasText: HOSTILE }).waitFor();
    assert.equal(await page.locator('img').count(), 0);
    assert.equal(await page.locator('script').count(), 1);
    assert.match(await page.title(), /Stale/);
    assert.deepEqual(complaints, []);
    await page.context().close();
  });

  it('is used by the keyboard alone', async () => {
    await using watch = await StubWatch.serve(TOKEN);
    const { page } = await open(watch);
    await page.locator('#sync:enabled').waitFor();
    const walked: unknown[] = [];
    for (let i = 0; i < 13; i++) {
      await page.keyboard.press('Tab');
      walked.push(await page.evaluate(FOCUSED));
      assert.equal(await page.evaluate(FOCUS_IS_SEEN), true, String(walked.at(-1)));
    }
    const controls = ['skip', 'theme', 'sync', 'rebuild', 'verify', 'level', 'repair'];
    const tables = ['summary', 'summary', 'summary', 'scroll', 'scroll', 'scroll'];
    assert.deepEqual(walked, [...controls, ...tables]);
    await page.locator('#rebuild').focus();
    await page.keyboard.press('Enter');
    assert.equal(await page.locator('#rebuild-dialog').isVisible(), true);
    // The harmless answer comes first.
    assert.equal(await page.evaluate(FOCUSED), 'rebuild-cancel');
    await page.keyboard.press('Escape');
    assert.equal(await page.locator('#rebuild-dialog').isVisible(), false);
    assert.equal(await page.evaluate(FOCUSED), 'rebuild');
    assert.deepEqual(watch.asked, []);
    await page.locator('.skip').focus();
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(FOCUSED), 'main');
    await page.context().close();
  });

  for (const colorScheme of ['light', 'dark'] as const) {
    it(`can be read in ${colorScheme} colours, and by a screen reader`, async () => {
      await using watch = await StubWatch.serve(TOKEN);
      const { page } = await open(watch, { colorScheme });
      assert.equal(await page.locator('html').getAttribute('data-theme'), colorScheme);
      for (const status of [statusOf(), statusOf(EMPTY), statusOf(troubled()), runningStatus()]) {
        watch.status = status;
        await pollNow(page);
        await page.locator('#headline', { hasText: WORDS[status.cache.state] }).waitFor();
        assert.deepEqual(await page.evaluate(FAINT_TEXTS), []);
        assert.deepEqual(await page.evaluate(UNNAMED), []);
      }
      await page.getByRole('button', { name: 'Rebuild…' }).click();
      assert.deepEqual(await page.evaluate(FAINT_TEXTS), []);
      await page.context().close();
    });
  }

  it('moves nothing for who wants less motion', async () => {
    await using watch = await StubWatch.serve();
    watch.status = runningStatus();
    const { page } = await open(watch);
    await page.locator('#verdict[data-level="busy"]').waitFor();
    const motion = 'getComputedStyle(document.querySelector("#verdict > .sign")).animationName';
    assert.equal(await page.evaluate(motion), 'none');
    await page.emulateMedia({ reducedMotion: 'no-preference' });
    assert.equal(await page.evaluate(motion), 'turn');
    await page.context().close();
  });

  it('keeps the theme that was chosen', async () => {
    await using watch = await StubWatch.serve();
    const { page } = await open(watch, { colorScheme: 'light' });
    await page.getByLabel('Theme').selectOption('dark');
    await page.locator('html[data-theme="dark"]').waitFor();
    await page.reload();
    await page.locator('html[data-theme="dark"]').waitFor();
    await page.getByLabel('Theme').selectOption('system');
    await page.locator('html[data-theme="light"]').waitFor();
    await page.emulateMedia({ colorScheme: 'dark' });
    await page.locator('html[data-theme="dark"]').waitFor();
    await page.context().close();
  });

  it('fits windows of 360 to 2,560 pixels', async () => {
    await using watch = await StubWatch.serve(TOKEN);
    const { page } = await open(watch, { viewport: { width: 2560, height: 900 } });
    const long = `libsql://${'a-very-long-name-'.repeat(12)}.turso.io`;
    for (const changes of [{}, EMPTY, troubled()]) {
      await show(watch, page, { ...changes, source: long, cacheDir: `/${'d'.repeat(200)}` });
      await page.locator('#source', { hasText: long }).waitFor();
      for (const width of [2560, 1280, 900, 561, 360]) {
        await page.setViewportSize({ width, height: 900 });
        assert.equal(await page.evaluate(OVERFLOW), 0, `${width}`);
      }
    }
    await page.context().close();
  });

  it('plots no round, one and 500, with the same as a table', async () => {
    await using watch = await StubWatch.serve();
    const { page, complaints } = await open(watch);
    await show(watch, page, EMPTY);
    await page.locator('#lag .canvas', { hasText: 'No round has ended yet.' }).waitFor();
    await show(watch, page, { history: history(1) });
    await page.locator('#duration .read-out', { hasText: 'sync: done in' }).waitFor();
    await page.locator('#lag .legend', { hasText: 'stale from 15 min' }).waitFor();
    for (const drawn of await page.evaluate<number[]>(DRAWN_POINTS)) assert.ok(drawn > 500);
    await show(watch, page, { history: history(500), rounds: 500 });
    await page.locator('#fact-rounds', { hasText: /^500,/ }).waitFor();
    for (const summary of await page.locator('.plot summary').all()) await summary.click();
    const counts = ['#lag', '#rate', '#duration'].map((id) =>
      page.locator(`${id} tbody tr`).count(),
    );
    assert.deepEqual(await Promise.all(counts), [1001, 495, 500]);
    assert.equal(await page.locator('#history tbody tr').count(), 50);
    const last = await page.locator('#rate .read-out').textContent();
    await page.locator('#rate .u-over').hover({ position: { x: 5, y: 20 } });
    await page.locator('#rate .read-out', { hasNotText: last! }).waitFor();
    await page.setViewportSize({ width: 500, height: 800 });
    await page.locator('#lag .u-wrap[style*="width: 4"]').waitFor();
    assert.deepEqual(complaints, []);
    await page.context().close();
  });
});
