import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { drawChart } from '../../bench/chart.js';
import { ensureDataFile } from '../../bench/data/data-file.js';
import { describeMachine } from '../../bench/machine.js';
import { reportTable } from '../../bench/report-table.js';
import { runTrialProcess } from '../../bench/trial-process.js';
import { runRounds, type Run } from '../../bench/trial-rounds.js';
import { summarizeTrial } from '../../bench/trial-summary.js';
import { rowsOf, TRIALS, type Trial } from '../../bench/trials.js';
import { benchFigures } from '../support/bench-figures.js';

const ROWS = 60;

// The bench keeps its data in the temporary directory: here it gets one that goes away.
const directory = mkdtempSync(join(tmpdir(), 'bench-trials-'));
process.env['TMPDIR'] = directory;
after(() => rmSync(directory, { recursive: true, force: true }));

for (const trial of TRIALS.filter(({ source }) => source === 'file')) {
  void test(`${trial.id}: a tiny round of every target keeps every row`, async () => {
    const runs = await runOnce({ ...trial, rows: ROWS });
    assert.deepEqual(
      runs.map(({ target, figures }) => [target.id, figures.rows]),
      trial.targets.map((target) => [target.id, rowsOf({ ...trial, rows: ROWS }, target)]),
    );
    for (const { figures } of runs) {
      assert.ok(figures.wallMs > 0 && figures.cpuUsPerRow > 0 && figures.peakRssBytes > 0);
    }
    const summary = summarizeTrial(trial, runs);
    assert.equal(summary.ratios.length, trial.targets.length - 1);
    assert.equal(summary.goals.length, trial.goals.length);
    const report = reportTable(summary);
    for (const { title } of trial.targets) assert.match(report, new RegExp(title));
    for (const { name } of summary.parts) assert.match(report, new RegExp(name));
    if (trial.id === 'scale') assert.match(report, / rows {2}.* 60 .*\n.* 6 .*\n.* 1 /);
    if (trial.id === 'writes') assert.equal(summary.parts.length, 10);
  });
}

for (const program of ['hand-tuned-loop', 'bare-append', 'cache-get', 'native-raw'] as const) {
  void test(`${program}: a run that misses a row fails`, async () => {
    const { path, tables } = ensureDataFile({ kind: 'records', rows: 10, seed: 1 });
    await assert.rejects(
      runTrialProcess({
        program,
        url: pathToFileURL(path).href,
        tables: tables.map((table) => ({ ...table, rows: 11 })),
      }),
      new RegExp(`${program} read 10 and kept .* of 11 rows`),
    );
  });
}

void test('the picture shows every trial and target, and what is in it cannot break it', () => {
  const trials = TRIALS.map((trial) =>
    summarizeTrial(
      { ...trial, title: `${trial.title} <&>` },
      trial.targets.map((target) => ({ round: 1, target, figures: benchFigures() })),
    ),
  );
  const time = new Date(0).toISOString();
  const machine = describeMachine();
  const svg = drawChart({ startedAt: time, finishedAt: time, arguments: [], machine, trials });
  assert.match(svg, /^<svg /);
  assert.doesNotMatch(svg, /<&>|undefined|NaN/);
  for (const { title, targets } of TRIALS) {
    assert.ok(svg.includes(`${title} &lt;&amp;&gt;`), title);
    for (const target of targets) assert.ok(svg.includes(target.title), target.title);
  }
});

void test('ratios are of runs of the same round, and the warm-up does not count', () => {
  const [trial] = TRIALS.filter(({ id }) => id === 'file');
  assert.ok(trial);
  const [own, other] = trial.targets;
  assert.ok(other);
  const run = (round: number, target: Run['target'], rowsPerSecond: number): Run => ({
    round,
    target,
    figures: benchFigures({ rowsPerSecond, wallMs: 10_000 / rowsPerSecond }),
  });
  const summary = summarizeTrial({ ...trial, targets: [own, other] }, [
    run(0, own, 1),
    run(0, other, 1000),
    run(1, own, 100),
    run(1, other, 50),
    run(2, own, 600),
    run(2, other, 100),
    run(3, own, 300),
    run(3, other, 100),
  ]);
  assert.deepEqual(summary.ratios[0]?.figures.rowsPerSecond, { median: 3, min: 2, max: 6 });
  assert.equal(summary.ratios[0]?.figures.peakAnonBytes, null);
  assert.deepEqual(
    summary.goals
      .filter(({ figure }) => figure === 'rowsPerSecond')
      .map(({ value, isMet }) => [value, isMet]),
    [[3, false]],
  );
});

/** One round of a trial, without its warm-up: nothing is measured here. */
async function runOnce(trial: Trial): Promise<Run[]> {
  const runs: Run[] = [];
  for await (const run of runRounds(trial, { rounds: 1, warmsUp: true, seed: 1 })) {
    if (run.round > 0) break;
    runs.push({ ...run, round: 1 });
    if (runs.length === trial.targets.length) break;
  }
  return runs;
}
