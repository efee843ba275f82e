import { readFileSync } from 'node:fs';

/**
 * What distinguishes this run of the machine from every other, or a value that equals no other where the system does
 * not tell. Data that were not forced to disk survive a killed process, but not another boot.
 */
export function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return `process:${process.pid}:${process.hrtime.bigint()}`;
  }
}
