import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { runTarget } from './run-target.js';
import { TARGET_NAMES, TARGETS, type TargetName } from './targets.js';

const USAGE = `npm run fuzz -- [options]

  --seed N       decides every case (default: random)
  --cases N      in all (default: 100000)
  --target NAME  only this one: ${TARGET_NAMES.join(', ')}
  --from N       the first case (default: 0)
`;

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    cases: { type: 'string', default: '100000' },
    target: { type: 'string' },
    from: { type: 'string', default: '0' },
    help: { type: 'boolean', default: false },
  },
});
const numbers = [values.seed ?? randomInt(2 ** 31), values.cases, values.from].map(Number);
const isTarget = values.target === undefined || TARGET_NAMES.includes(values.target as TargetName);
if (values.help || !isTarget || !numbers.every((each) => Number.isSafeInteger(each) && each >= 0)) {
  process.stderr.write(USAGE);
  process.exit(values.help ? 0 : 2);
}
const [seed, all, from] = numbers as [number, number, number];
process.stdout.write(`seed ${seed}\n`);
const only = values.target as TargetName | undefined;
for (const target of only ? [only] : TARGET_NAMES) {
  const cases = only ? all : Math.ceil(all * TARGETS[target].share);
  const begun = performance.now();
  const failure = await runTarget({ target, seed, from, cases });
  if (failure !== null) {
    process.stdout.write(`${failure}\n`);
    process.exitCode = 1;
    continue;
  }
  const seconds = (performance.now() - begun) / 1000;
  const rate = Math.round(cases / seconds);
  process.stdout.write(`${target}: ${cases} cases in ${seconds.toFixed(1)} s, ${rate}/s\n`);
}
