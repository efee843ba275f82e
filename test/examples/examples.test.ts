import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { environment } from '../cli/command.js';
import { ROOT } from '../docs/pages.js';
import { TempDirectory } from '../support/temp.js';

/** What each example has to print, in order. */
const EXAMPLES: Readonly<Record<string, readonly RegExp[]>> = {
  'quick-start': [
    /full sync in \d+ ms/,
    /episodes +│ 1000 /,
    /validation passed/,
    /pattern_id: 'pattern-00042'/,
    /episode-01999 .*\n.*episode-01998/,
    /of type error_recovery; the best is pattern-/,
    /0\.809 episode-01142 fix the flaky login test/,
    /1 written, 999 unchanged/,
    /It was the cache after all\./,
    /the cache is fresh/,
  ],
  'any-database': [
    /^done \d+$/m,
    /ADA ada@example\.org/,
    /^300$/m,
    /id: 'e2'[^]*id: 'e3'/,
    /1 changed; 1 gone/,
    /'customers: 2', 'events: 2', 'order_lines: 2'/,
  ],
  'agent-memory': [
    /1000 episodes, 1300 embeddings, 1300 vectors/,
    /1\.000 episode-01162 fix the flaky login test of the web shop\n1\.000 episode-01585/,
    /a pattern for it: pattern-00166/,
    /learned: It was the cache after all\./,
  ],
  'nightly-rebuild': [
    /at start: generation 1/,
    /sync 1: full, 1 written\nsync 2: full, 1 written/,
    /rebuild 1: rebuild, generation 2/,
    /points of customer 2: 102/,
  ],
  'second-process': [
    /generation 1, customer 1 has 1/,
    /now 77\n.*in the snapshot 1/,
    /generation 2, customer 1 has 77/,
    /the cache is fresh/,
  ],
  'worker-threads': [
    /4 threads read 20000 rows/,
    /90000 points in all/,
    /200 rows were written meanwhile/,
  ],
  'web-backend/main': [
    /making a shop of 20000 products/,
    /round 1, a rebuild of \d+ ms/,
    /idle +[1-9]\d* requests, 0 failed/,
    /with a rebuild +[1-9]\d* requests, 0 failed/,
    /round 2, a rebuild of \d+ ms/,
  ],
};

/** Less of what takes a minute. */
const ARGUMENTS: Readonly<Record<string, readonly string[]>> = {
  'web-backend/main': ['--products=20000', '--rate=200', '--seconds=0.5', '--rounds=2'],
};

async function run(name: string, temporary: string): Promise<string> {
  const program = join(ROOT, `dist/examples/${name}.js`);
  const child = spawn(process.execPath, [program, ...(ARGUMENTS[name] ?? [])], {
    env: { ...environment(), TMPDIR: temporary, NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let printed = '';
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (printed += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const code = await new Promise((resolve) => child.on('close', resolve));
  assert.equal(code, 0, said);
  assert.equal(said, '');
  return printed;
}

void describe('the example', () => {
  for (const [name, expected] of Object.entries(EXAMPLES)) {
    void it(`${name} prints what it is there to show, and leaves nothing behind`, async () => {
      await using dir = await TempDirectory.make();
      const printed = await run(name, dir.path);
      let rest = printed;
      for (const pattern of expected) {
        const found = pattern.exec(rest);
        assert.ok(found, `there is no ${pattern} where it should be in:\n${printed}`);
        rest = rest.slice(found.index + found[0].length);
      }
      assert.deepEqual(readdirSync(dir.path), []);
    });
  }

  void it('is tried, whichever the table has', () => {
    const table = readFileSync(join(ROOT, 'examples/README.md'), 'utf8');
    const names = [...table.matchAll(/^\| \[`([\w-]+)(?:\.ts|\/)`\]/gm)].map(([, name]) => name!);
    assert.ok(names.length >= Object.keys(EXAMPLES).length);
    const directory = join(ROOT, 'test/examples');
    const tests = readdirSync(directory).map((file) => readFileSync(join(directory, file), 'utf8'));
    const untried = names.filter((name) => !tests.some((test) => test.includes(name)));
    assert.deepEqual(untried, []);
  });
});
