import { cpus } from 'node:os';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { readProcessMemory, resetPeakMemory } from './process-memory.js';
import { TARGET_LOADERS } from './targets/target-table.js';
import type { TrialRunResult, TrialRunSpec } from './trial-run.js';

const LOOP_DELAY_RESOLUTION_MS = 2;

/** The process of one run: loads one target, measures it once, prints what it found. */
async function runTrial({ program, context }: TrialRunSpec): Promise<TrialRunResult> {
  resetPeakMemory();
  const idle = readProcessMemory('self');
  const idleRssBytes = process.memoryUsage.rss();

  const target = await TARGET_LOADERS[program]();
  const prepared = await target.prepare(context);
  try {
    const loopDelay = monitorEventLoopDelay({ resolution: LOOP_DELAY_RESOLUTION_MS });
    loopDelay.enable();
    // It measures from its first tick on.
    await sleep(3 * LOOP_DELAY_RESOLUTION_MS);

    const machineBefore = machineCpuUs();
    const cpuBefore = process.cpuUsage();
    const start = performance.now();
    const rows = await prepared.run();
    const wallMs = performance.now() - start;
    const cpu = process.cpuUsage(cpuBefore);
    const cpuUs = cpu.user + cpu.system;
    const machineUs = machineCpuUs() - machineBefore;

    // A run that never let the loop turn shows as one delay of its whole length, but only once the loop turns.
    await sleep(2 * LOOP_DELAY_RESOLUTION_MS);
    loopDelay.disable();
    const peak = readProcessMemory('self');
    const delayMs = (nanoseconds: number): number =>
      Math.max(0, nanoseconds / 1e6 - LOOP_DELAY_RESOLUTION_MS);

    return {
      rows,
      rowsKept: prepared.countKept(),
      wallMs,
      cpuUs,
      otherCpuUs: Math.max(0, machineUs - cpuUs),
      idleRssBytes,
      idleAnonBytes: idle?.anonymousBytes ?? null,
      peakRssBytes: peak?.peakResidentBytes ?? process.resourceUsage().maxRSS * 1024,
      loopDelayP99Ms: delayMs(loopDelay.percentile(99)),
      loopDelayMaxMs: delayMs(loopDelay.max),
      sourceRows: prepared.sourceRows?.() ?? null,
      readPauseMs: prepared.readPauseMs?.() ?? null,
      parts: prepared.parts?.() ?? [],
    };
  } finally {
    await prepared.close();
  }
}

/** What all processes together have used since the machine started. */
function machineCpuUs(): number {
  return cpus().reduce((sum, { times }) => sum + 1000 * (times.user + times.nice + times.sys), 0);
}

const result = await runTrial(JSON.parse(process.argv[2] ?? '') as TrialRunSpec);
process.stdout.write(`${JSON.stringify(result)}\n`);
