import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'libsql';
import { launchChromium } from '../test/watch/chromium.js';
import { ROOT } from './package/command.js';

/**
 * Takes the picture of the progress bar that the documentation shows: a sync is typed into a terminal (`tmux`), and what
 * stands on its screen is taken twice, in the middle of the sync and at its end.
 *
 * ```
 * node dist/scripts/progress-picture.js
 * ```
 */
const PICTURE = join(ROOT, 'docs/images/progress-bar.png');
const COLUMNS = 100;
const LINES = 12;
const LONGEST_WAIT_MS = 120_000;
/** Four tables, so that there is something to see of each; the second is what takes long. */
const SHOP = `
  CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, city TEXT);
  CREATE TABLE orders (id TEXT PRIMARY KEY NOT NULL, customer INTEGER NOT NULL, note TEXT NOT NULL);
  CREATE TABLE products (sku TEXT PRIMARY KEY NOT NULL, cents INTEGER NOT NULL);
  CREATE TABLE prices (sku TEXT NOT NULL, day INTEGER NOT NULL, cents INTEGER NOT NULL, PRIMARY KEY (sku, day));
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
  INSERT INTO customers SELECT i, 'customer ' || i, iif(i % 3, NULL, 'city ' || i % 100) FROM n;
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000)
  INSERT INTO orders
  SELECT printf('%08x', (i * 2654435761) % 4294967296), i % 20000, 'an order of things, number ' || i FROM n;
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
  INSERT INTO products SELECT 'sku' || i, 100 + i FROM n;
  INSERT INTO prices SELECT sku, day, cents + day FROM products, (SELECT 1 AS day UNION SELECT 2 UNION SELECT 3);
`;
const PAGE = `
  body { margin: 0; padding: 16px; width: max-content; background: #f4f5f7; }
  pre {
    margin: 0; padding: 14px 18px; border-radius: 8px; background: #11151a; color: #e6e9ee;
    font: 14px/1.4 'DejaVu Sans Mono', monospace;
  }
  pre + pre { margin-top: 12px; }
`;

/** A terminal in which a shell runs. */
class Terminal implements Disposable {
  readonly #socket = `storage-sync-${process.pid}`;

  constructor(directory: string) {
    const shell = ['env', 'PS1=$ ', `PATH=${directory}/bin:${process.env['PATH']}`, 'bash'];
    const size = ['-x', String(COLUMNS), '-y', String(LINES)];
    this.#tmux('new-session', '-d', ...size, '-c', directory, ...shell, '--norc', '--noprofile');
  }

  type(line: string): void {
    this.#tmux('send-keys', '-l', line);
    this.#tmux('send-keys', 'Enter');
  }

  /** Waits until the screen shows what is looked for, and gives it. */
  async until(sought: RegExp): Promise<string> {
    const deadline = performance.now() + LONGEST_WAIT_MS;
    for (;;) {
      const screen = this.#tmux('capture-pane', '-p').trimEnd();
      if (sought.test(screen)) return screen;
      if (performance.now() > deadline) throw new Error(`There is no ${sought} in:\n${screen}`);
      await sleep(5);
    }
  }

  [Symbol.dispose](): void {
    this.#tmux('kill-server');
  }

  #tmux(...args: readonly string[]): string {
    const all = ['-L', this.#socket, '-f', '/dev/null', ...args];
    return execFileSync('tmux', all, {
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C.UTF-8' },
    });
  }
}

const directory = mkdtempSync(join(tmpdir(), 'storage-sync-picture-'));
try {
  makeShop(directory);
  using terminal = new Terminal(directory);
  await terminal.until(/^\$/);
  terminal.type('storage-sync sync --source file:shop.db --cache ./cache');
  const during = await terminal.until(/█░.* (5|6|7)\d %  orders/);
  const after = await terminal.until(/\n\$$/);
  await draw([during, after]);
} finally {
  rmSync(directory, { recursive: true, force: true });
}

function makeShop(into: string): void {
  const database = new Database(join(into, 'shop.db'));
  database.exec(SHOP);
  database.close();
  const command = join(into, 'bin/storage-sync');
  mkdirSync(join(into, 'bin'));
  const main = join(ROOT, 'dist/src/cli/main.js');
  writeFileSync(command, `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`);
  chmodSync(command, 0o755);
}

async function draw(screens: readonly string[]): Promise<void> {
  const browser = await launchChromium();
  try {
    const page = await browser.newPage({ viewport: { width: 1200, height: 100 } });
    const shown = screens.map((screen) => `<pre>${escaped(screen)}</pre>`).join('');
    await page.setContent(`<style>${PAGE}</style><body>${shown}</body>`);
    await page.locator('body').screenshot({ path: PICTURE });
  } finally {
    await browser.close();
  }
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
