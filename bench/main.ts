import { writeFileSync } from 'node:fs';
import { drawChart } from './chart.js';
import { compareResults } from './compare.js';
import { figureText } from './figure-text.js';
import { describeMachine } from './machine.js';
import { profileSummary } from './profile-summary.js';
import { reportTable } from './report-table.js';
import { defaultResultPath, writeResult } from './result-file.js';
import { parseSettings, type Settings } from './settings.js';
import { type Run, runRounds } from './trial-rounds.js';
import { summarizeTrial, type TrialSummary } from './trial-summary.js';

const args = process.argv.slice(2);
const settings = parseSettings(args);
if (settings.compared) console.log(compareResults(...settings.compared));
else await runBench(settings);

async function runBench(settings: Settings): Promise<void> {
  const machine = describeMachine();
  const startedAt = new Date().toISOString();
  const path = settings.out ?? defaultResultPath(startedAt);
  const stem = path.replace(/\.json$/, '');
  const profileDirectory = settings.isProfiling ? `${stem}-profiles` : undefined;

  const trials: TrialSummary[] = [];
  for (const trial of settings.trials) {
    const runs: Run[] = [];
    for await (const run of runRounds(trial, { ...settings, profileDirectory })) {
      runs.push(run);
      console.error(progressLine(trial.id, run, settings.rounds));
    }
    const summary = summarizeTrial(trial, runs);
    trials.push(summary);
    console.log(`\n${reportTable(summary)}\n`);
  }

  const finishedAt = new Date().toISOString();
  const result = { startedAt, finishedAt, arguments: args, machine, trials };
  writeResult(path, result);
  writeFileSync(`${stem}.svg`, drawChart(result));
  if (profileDirectory !== undefined) console.log(`${profileSummary(profileDirectory)}\n`);
  console.log(`Figures: ${path}\nPicture: ${stem}.svg`);
}

function progressLine(trial: string, { round, target, figures }: Run, rounds: number): string {
  const turn = round === 0 ? 'warm-up' : `round ${round}/${rounds}`;
  return (
    `${trial}  ${turn}  ${target.title}: ${figureText('wallMs', figures.wallMs)} s, ` +
    `${figureText('rowsPerSecond', figures.rowsPerSecond)} rows/s`
  );
}
