import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { compareResults } from '../../bench/compare.js';
import type { Figures } from '../../bench/figures.js';
import { describeMachine } from '../../bench/machine.js';
import { type BenchResult, readResult, writeResult } from '../../bench/result-file.js';
import { parseSettings } from '../../bench/settings.js';
import { summarizeTrial } from '../../bench/trial-summary.js';
import { TRIALS } from '../../bench/trials.js';
import { benchFigures } from '../support/bench-figures.js';

const directory = mkdtempSync(join(tmpdir(), 'bench-compare-'));
after(() => rmSync(directory, { recursive: true, force: true }));

void test('medians are divided, and ranges told apart', () => {
  const before = result({ file: [{ rowsPerSecond: 90 }, { rowsPerSecond: 110 }] });
  const faster = result({ file: [{ rowsPerSecond: 190 }, { rowsPerSecond: 210 }] });
  const similar = result({ file: [{ rowsPerSecond: 95 }, { rowsPerSecond: 145 }] });
  assert.match(lineOf(compareResults(before, faster), 'rows/s'), / 100 +200 +2\.00x +apart$/);
  assert.match(lineOf(compareResults(before, similar), 'rows/s'), / 100 +120 +1\.20x +overlap$/);
});

void test('ranges that touch overlap, in either order', () => {
  const low = result({ file: [{ cpuUsPerRow: 1 }, { cpuUsPerRow: 2 }] });
  const high = result({ file: [{ cpuUsPerRow: 2 }, { cpuUsPerRow: 3 }] });
  assert.match(lineOf(compareResults(low, high), 'CPU us/row'), / overlap$/);
  assert.match(lineOf(compareResults(high, low), 'CPU us/row'), / 0\.60x +overlap$/);
});

void test('single rounds have no ranges', () => {
  const one = result({ file: [{ rowsPerSecond: 100 }] });
  const two = result({ file: [{ rowsPerSecond: 190 }, { rowsPerSecond: 210 }] });
  assert.match(lineOf(compareResults(one, two), 'rows/s'), / 2\.00x +-$/);
  assert.match(lineOf(compareResults(two, one), 'rows/s'), / 0\.50x +-$/);
});

void test('only what both results have is compared', () => {
  const both = compareResults(
    result({ file: [{}], http: [{}] }),
    result({ http: [{}], wide: [{}] }),
  );
  assert.deepEqual(new Set(bodyOf(both).map((line) => line.split(' ')[0])), new Set(['http']));
  // No run has this figure.
  assert.doesNotMatch(both, /anon MB/);
  assert.match(
    compareResults(result({ file: [{}] }), result({ wide: [{}] })),
    /no target of a trial in common/,
  );
});

void test('targets with other rows are marked', () => {
  const text = compareResults(
    result({ file: [{ rows: 1000 }] }),
    result({ file: [{ rows: 2000 }] }),
  );
  assert.match(lineOf(text, 'rows/s'), / 1,000 and 2,000 /);
});

void test('results are read back as they were written, also one without a figure of today', () => {
  const path = join(directory, 'written.json');
  const written = result({ file: [{ readPauseMs: 3 }] });
  writeResult(path, written);
  assert.deepEqual(readResult(path), JSON.parse(JSON.stringify(written)));

  const text = JSON.stringify(written).replaceAll('"readPauseMs"', '"anotherFigure"');
  const older = join(directory, 'older.json');
  writeFileSync(older, text);
  assert.doesNotMatch(compareResults(readResult(older), written), /read pause/);
  assert.match(compareResults(written, written), /read pause/);
});

void test('what is no result is refused', () => {
  for (const [name, text, message] of [
    ['text.json', 'no JSON', /is no JSON/],
    ['null.json', 'null', /is no result of the bench/],
    ['other.json', '{"trials": 3, "machine": {}}', /is no result of the bench/],
  ] as const) {
    const path = join(directory, name);
    writeFileSync(path, text);
    assert.throws(() => readResult(path), message);
  }
  assert.throws(() => readResult(join(directory, 'missing.json')), /ENOENT/);
});

void test('the command line names two results to compare', () => {
  const path = join(directory, 'named.json');
  writeResult(path, result({ file: [{}] }));
  assert.deepEqual(parseSettings(['--compare', path, path]).compared, [
    readResult(path),
    readResult(path),
  ]);
  assert.equal(parseSettings([]).compared, undefined);
});

void test('rows are lowered where that is asked for, and never raised', () => {
  const rowsWith = (...args: string[]) => parseSettings(args).trials.map(({ rows }) => rows);
  const all = TRIALS.map(({ rows }) => rows);
  assert.deepEqual(rowsWith(), all);
  assert.deepEqual(
    rowsWith('--max-rows', '50000'),
    all.map((rows) => Math.min(rows, 50_000)),
  );
  assert.ok(rowsWith('--quick').every((rows, i) => rows <= 100_000 && rows <= all[i]! / 20));
  assert.ok(rowsWith('--rows', '7').every((rows) => rows === 7));
});

/** A result of the first target of some trials, given what its rounds came to. */
function result(rounds: Readonly<Record<string, readonly Partial<Figures>[]>>): BenchResult {
  const time = new Date(0).toISOString();
  const trials = TRIALS.filter(({ id }) => id in rounds).map((trial) => {
    const [target] = trial.targets;
    return summarizeTrial(
      { ...trial, targets: [target], goals: [] },
      rounds[trial.id]!.map((figures, i) => ({
        round: i + 1,
        target,
        figures: benchFigures(figures),
      })),
    );
  });
  return { startedAt: time, finishedAt: time, arguments: [], machine: describeMachine(), trials };
}

function bodyOf(text: string): readonly string[] {
  const lines = text.split('\n');
  return lines.slice(lines.findIndex((line) => line.startsWith('trial ')) + 1);
}

function lineOf(text: string, figure: string): string {
  return bodyOf(text).find((line) => line.includes(` ${figure} `)) ?? assert.fail(text);
}
