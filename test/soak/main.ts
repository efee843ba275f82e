import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { parseDuration } from '../../src/duration.js';
import { median, soak, type Sample } from './soak.js';

const { values } = parseArgs({
  options: {
    duration: { type: 'string', default: '1m' },
    'rounds-per-second': { type: 'string', default: '4' },
    way: { type: 'string', default: 'file' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    out: { type: 'string' },
  },
});

let toldAt = -Infinity;
const tell = ({ atMs, anonMb, threads, files }: Sample) => {
  if (atMs - toldAt < 10_000) return;
  toldAt = atMs;
  console.log(`${Math.round(atMs / 1000)} s: ${anonMb} MB, ${threads} threads, ${files} files`);
};

console.log(`seed ${values.seed}`);
const report = await soak({
  durationMs: parseDuration(values.duration),
  roundsPerSecond: Number(values['rounds-per-second']),
  way: values.way === 'http' ? 'http' : 'file',
  seed: Number(values.seed),
  onSample: tell,
});
const { durationMs, rounds, transactions, rowsWritten, reads, samples } = report;
const anon = samples.map(({ anonMb }) => anonMb);
const fifth = Math.ceil(anon.length / 5);
console.log(
  [
    `${rounds} rounds in ${Math.round(durationMs / 1000)} s, ${transactions} transactions of ${rowsWritten} rows, ${reads} reads`,
    `memory: median ${median(anon.slice(0, fifth))} MB in the first fifth, ${median(anon.slice(-fifth))} MB in the last, at most ${Math.max(...anon)} MB`,
    'nothing was lost, and a deep verify found no difference',
  ].join('\n'),
);
if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(report, null, 2)}\n`);
