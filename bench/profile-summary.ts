import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { textTable } from '../src/cli/text-table.js';

const SHOWN_FUNCTIONS = 15;
/** A thread that did less than this has no hot spots worth a table. */
const LEAST_BUSY_US = 50_000;

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: {
      readonly functionName: string;
      readonly url: string;
      readonly lineNumber: number;
    };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** The functions that took the most time themselves, for each thread that a profile in the directory is of. */
export function profileSummary(directory: string): string {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.cpuprofile'))
    .toSorted()
    .map((name) => ({ name, ...hotSpots(join(directory, name)) }))
    .filter(({ busyUs }) => busyUs >= LEAST_BUSY_US)
    .map(
      ({ name, busyUs, rows }) =>
        `${name}: busy ${(busyUs / 1e6).toFixed(2)} s\n` +
        textTable(
          [{ title: 'self ms', align: 'right' }, { title: 'share', align: 'right' }, { title: '' }],
          rows,
        ),
    )
    .join('\n\n');
}

function hotSpots(path: string): { busyUs: number; rows: string[][] } {
  const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(path, 'utf8')) as CpuProfile;
  const places = new Map(
    nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => [
      id,
      url === ''
        ? functionName
        : `${functionName || '(anonymous)'} ${shortUrl(url)}:${lineNumber + 1}`,
    ]),
  );
  const selfUs = new Map<string, number>();
  for (const [i, sample] of samples.entries()) {
    const place = places.get(sample) ?? 'unknown';
    if (place !== '(idle)') selfUs.set(place, (selfUs.get(place) ?? 0) + (timeDeltas[i] ?? 0));
  }
  const busyUs = Array.from(selfUs.values()).reduce((sum, us) => sum + us, 0);
  const rows = Array.from(selfUs)
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, SHOWN_FUNCTIONS)
    .map(([place, us]) => [(us / 1000).toFixed(0), `${((100 * us) / busyUs).toFixed(1)} %`, place]);
  return { busyUs, rows };
}

function shortUrl(url: string): string {
  return url.split('/').slice(-2).join('/');
}
