import { readFileSync, writeFileSync } from 'node:fs';

export interface ProcessMemory {
  readonly residentBytes: number;
  readonly peakResidentBytes: number;
  /** Without the pages of mapped files. */
  readonly anonymousBytes: number;
}

/** The memory of a process as Linux tells it; null elsewhere, or when the process is gone. */
export function readProcessMemory(pid: number | 'self'): ProcessMemory | null {
  let status: string;
  try {
    status = readFileSync(`/proc/${pid}/status`, 'latin1');
  } catch {
    return null;
  }
  const bytes = (name: string): number | null => {
    const match = new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status);
    return match ? Number(match[1]) * 1024 : null;
  };
  const residentBytes = bytes('VmRSS');
  const peakResidentBytes = bytes('VmHWM');
  const anonymousBytes = bytes('RssAnon');
  if (residentBytes === null || peakResidentBytes === null || anonymousBytes === null) return null;
  return { residentBytes, peakResidentBytes, anonymousBytes };
}

/** Lets the peak of this process start from its present memory, where the system allows it. */
export function resetPeakMemory(): void {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
  } catch {
    // Then the peak since the start of the process counts: a little more than it should.
  }
}
